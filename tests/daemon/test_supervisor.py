"""The supervisor from within: whom it takes for dead, and what must not be in it when it forks."""

import os
import signal
from types import SimpleNamespace

import pytest

from quantum_control.config import Config
from quantum_control.daemon import supervisor


class Watched:
    """A controller that does nothing, and a supervisor for which time passes as it is told."""

    def __init__(self, folder, monkeypatch, script):
        self.now = 0.0
        self.script = iter(script)
        before = signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it hangs
        self.child = os.fork()
        if self.child == 0:
            signal.pause()
            os._exit(0)
        signal.signal(signal.SIGTERM, before)
        self.reading, self.writing = os.pipe()
        monkeypatch.setattr(signal, "sigtimedwait", self.turn)
        monkeypatch.setattr(supervisor, "time", SimpleNamespace(monotonic=lambda: self.now))
        config = Config(state_directory=folder, watchdog=10.0)
        self.watch = supervisor._Watch(config, self.child, self.reading, ())

    def turn(self, numbers, seconds):
        """Let seconds pass until the next turn, with a sign of life at their end or not."""
        try:
            seconds, beat = next(self.script)
        except StopIteration:
            os.kill(self.child, signal.SIGKILL)
            os.waitid(os.P_PID, self.child, os.WEXITED | os.WNOWAIT)
            return
        self.now += seconds
        if beat:
            os.write(self.writing, b"beat\n")

    def run(self):
        try:
            return self.watch.run()
        finally:
            os.close(self.reading)
            os.close(self.writing)


STOPPED = (100.0, False)
"""By SIGSTOP or `docker pause`, together with its controller, which has not come to itself yet."""


def test_a_supervisor_that_was_stopped_itself_gives_the_controller_its_time_anew(
    tmp_path, monkeypatch, caplog
):
    script = [(0.5, True), STOPPED, *[(0.5, False)] * 4, *[(0.5, True)] * 40]
    assert Watched(tmp_path, monkeypatch, script).run() == supervisor.DIED
    assert "no sign of life" not in caplog.text


def test_and_ends_one_that_does_not_come_to_itself(tmp_path, monkeypatch, caplog):
    watched = Watched(tmp_path, monkeypatch, [(0.5, True), STOPPED, *[(0.5, False)] * 22])
    watched.run()
    assert "no sign of life" in caplog.text


def test_one_that_was_told_to_end_has_its_time_anew_too(tmp_path, monkeypatch, caplog):
    watched = Watched(tmp_path, monkeypatch, [STOPPED, *[(0.5, False)] * 4])
    watched.watch._end(0.0)
    watched.run()
    assert "no sign of life" not in caplog.text


@pytest.fixture
def signals_as_before():
    yield
    signal.pthread_sigmask(signal.SIG_UNBLOCK, supervisor._WATCHED)


def test_what_is_put_back_before_the_fork_is_put_back_by_a_process_of_its_own(
    tmp_path, monkeypatch, signals_as_before
):
    """Java, which JMX takes, has no threads left in a fork of the process that has started it."""
    told = tmp_path / "told"
    monkeypatch.setattr(supervisor, "_kept", lambda config: ["an original"])

    def put_back(config):
        with told.open("a", encoding="ascii") as file:
            file.write(f"{os.getpid()}\n")
        return []

    monkeypatch.setattr(supervisor, "put_back", put_back)
    assert supervisor.watched(Config(state_directory=tmp_path), lambda report: 0) == 0
    before, after = map(int, told.read_text(encoding="ascii").split())
    assert before != os.getpid()
    assert after == os.getpid()
