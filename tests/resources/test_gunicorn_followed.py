"""A gunicorn that is started anew while it is steered, and what is left of one that has ended."""

from __future__ import annotations

import itertools
import os

import pytest

from quantum_control.core.errors import GoneError, SafetyError
from quantum_control.resources import gunicorn
from quantum_control.resources.gunicorn import GunicornResource
from quantum_control.resources.gunicorn_load import Sight
from quantum_control.resources.gunicorn_master import PROC, Crew, Worker, look
from quantum_control.resources.gunicorn_setting import Seen


class Server:
    """The gunicorn that there is now."""

    def __init__(self, folder):
        self.net, self.pidfile = folder, folder / "pid"
        self.signals = []
        self.start(1, 2)

    def start(self, pid, workers):
        self.pid, self.workers = pid, workers
        self.pidfile.write_text(str(pid))

    def overflowed(self, connections):
        (self.net / "netstat").write_text(f"TcpExt: ListenOverflows\nTcpExt: {connections}\n")

    def sight(self, _):
        pids = range(100, 100 + self.workers)
        workers = tuple(Worker(pid, 1, frozenset(), 0.0, serves=True) for pid in pids)
        seen = [Seen(pid, serves=True, busy=False, beat=0.0) for pid in pids]
        return Sight(Crew(workers, 0), seen, dict.fromkeys(pids, 0), 0)

    def begun(self, _):
        self.overflowed(500)  # while nobody accepts yet
        return self.sight(_)

    def master(self, pid):
        return Master(self, pid)


class Master:
    started = 1

    def __init__(self, server, pid):
        self.server, self.pid, self.net = server, pid, server.net

    @property
    def alive(self):
        return self.server.pid == self.pid

    def children(self):
        return list(range(self.server.workers))

    def processor_seconds(self, _):
        return 0.0

    def send(self, number):
        self.server.signals.append(number)
        self.server.workers += 1

    def wait(self, *_):
        """It is taken at once."""


@pytest.fixture
def server(tmp_path, monkeypatch):
    server = Server(tmp_path)
    server.overflowed(0)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr(gunicorn, "Master", server.master)
    monkeypatch.setattr(gunicorn, "sight", server.sight)
    monkeypatch.setattr(gunicorn, "begun", server.begun)
    return server


@pytest.fixture
def resource(server):
    ticks = itertools.count()
    resource = GunicornResource(pidfile=str(server.pidfile), clock=lambda: next(ticks) / 100.0)
    resource.measure_state()
    return resource


def test_until_it_is_measured_only_what_was_found_before_it_may_be_ordered_and_changes_nothing(
    resource, server
):
    resource.apply_control(4)
    server.signals.clear()
    server.start(2, 3)
    with pytest.raises(SafetyError, match="has come in place of the one that 5 was meant for"):
        resource.apply_control(5)
    server.start(3, 1)
    for same in (2, 1):  # the first as `stop()` orders it
        resource.apply_control(same)
    assert server.signals == []
    assert resource.measure_state().size == 1
    resource.apply_control(2)
    assert server.workers == 2


def test_what_the_next_one_began_with_is_told_whatever_was_set_since(resource, server):
    server.start(2, 3)
    resource.measure_state()
    resource.apply_control(5)
    assert resource.started_anew == (1, 3)


def test_what_overflowed_while_it_began_is_not_counted_in_the_moment_after(resource, server):
    server.overflowed(0)
    server.start(2, 3)
    resource.measure_state()
    assert resource.get_metrics()["listen_overflows"] == 0.0


@pytest.mark.parametrize("options", [{"pidfile": "/nowhere/pid"}, {"process_id": os.getpid()}])
def test_of_one_that_has_ended_nothing_is_left_whatever_became_of_its_file_and_its_number(options):
    there = look(PROC / str(os.getpid()))
    snapshot = {"pid": os.getpid(), "started": there.started - 1, "workers": 2}
    with pytest.raises(GoneError, match=f"there is no process {os.getpid()} any more that was"):
        GunicornResource.again(options, snapshot)


def test_one_that_runs_is_made_anew_though_its_pidfile_is_gone(server):
    there = look(PROC / str(os.getpid()))
    server.start(os.getpid(), 2)
    snapshot = {"pid": os.getpid(), "started": there.started, "workers": 2}
    made = GunicornResource.again({"pidfile": "/nowhere/pid", "min_workers": 1}, snapshot)
    assert made.measure_state().size == 2
