"""A gunicorn that somebody else changes, reloads, replaces or ends while it is steered."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from integration.gunicorns import Gunicorn, until
from integration.requirements import require

from quantum_control import QuantumController
from quantum_control.core.errors import ActuatorError, ConfigError, GoneError, SafetyError, SensorError
from quantum_control.resources.gunicorn import GunicornResource
from quantum_control.resources.gunicorn_master import Master

pytestmark = pytest.mark.integration


@pytest.fixture
def server(tmp_path):
    with Gunicorn(tmp_path) as server:
        yield server


@pytest.fixture
def resource(server):
    resource = GunicornResource(pidfile=str(server.pidfile), max_workers=12)
    resource.measure_state()
    return resource


def sized(resource, size):
    """Wait for a size as it is measured."""
    until(lambda: measurable(resource) == size)


def measurable(resource):
    try:
        return resource.measure_state().size
    except SensorError:
        return None


class TestRefused:
    def test_what_is_no_master(self, server):
        with pytest.raises(ConfigError, match=f"process {os.getpid()} is no gunicorn master"):
            GunicornResource(os.getpid())
        with pytest.raises(ConfigError, match=f"is a worker of gunicorn; its master is process {server.pid}"):
            GunicornResource(server.children()[0])
        with pytest.raises(SensorError, match=r"no process 99999999; is gunicorn running\?"):
            GunicornResource(99_999_999)

    def test_a_pidfile_that_is_not_there(self, tmp_path):
        with pytest.raises(SensorError, match=r"no process id can be read from .*; is gunicorn running"):
            GunicornResource(pidfile=str(tmp_path / "nowhere"))

    def test_sizes_that_are_none(self, resource, server):
        with pytest.raises(ConfigError):
            resource.apply_control(0)
        server.comes_to(2)

    def test_without_the_privilege(self, server):
        require(os.geteuid() == 0, "another user is needed, and so root")
        assert as_nobody(lambda: GunicornResource(server.pid)) == (
            f"SensorError: the open files of process {server.pid} may not be seen:"
            " it takes the same user, or CAP_SYS_PTRACE"
        )
        master = Master(server.pid)
        assert as_nobody(lambda: master.send(signal.SIGTTIN)) == (
            f"ActuatorError: sending SIGTTIN to gunicorn, process {server.pid}: not permitted;"
            " it takes the same user, or CAP_KILL"
        )
        server.comes_to(2)


def as_nobody(what):
    """What a call raises in a process of a user without rights."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setuid(65_534)
            what()
        except Exception as error:  # noqa: BLE001 - told to the parent
            os.write(writing, f"{type(error).__name__}: {error}".encode())
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(pid, 0)
    with os.fdopen(reading) as told:
        return told.read()


class TestSomebodyElse:
    def test_a_worker_that_dies_is_replaced_and_nothing_is_ordered(self, resource, server):
        resource.apply_control(4)
        sized(resource, 4)
        os.kill(server.children()[0], signal.SIGKILL)
        sizes = {resource.measure_state().size for _ in range(60)}
        until(lambda: len(server.children()) == 4)
        assert sizes == {4}
        server.comes_to(4)
        resource.apply_control(5)
        server.comes_to(5)

    @pytest.mark.parametrize(("number", "size"), [(signal.SIGTTIN, 4), (signal.SIGTTOU, 2)])
    def test_signals_of_others_are_noticed_and_gone_on_from(self, resource, server, caplog, number, size):
        resource.apply_control(3)
        sized(resource, 3)
        os.kill(server.pid, number)
        until(lambda: len(server.children()) == size)
        with pytest.raises(SafetyError, match=f"has {size} workers, not 3: somebody else"):
            resource.apply_control(6)
        server.comes_to(size)
        sized(resource, size)
        assert "somebody else has changed that" in caplog.text
        resource.apply_control(5)
        server.comes_to(5)

    def test_a_reload_brings_the_number_of_the_configuration(self, resource, server, caplog):
        resource.apply_control(6)
        sized(resource, 6)
        before = set(server.children())
        os.kill(server.pid, signal.SIGHUP)
        sized(resource, 2)
        assert not before & set(server.children())
        assert "has reloaded it; going on from there" in caplog.text
        resource.apply_control(3)
        server.comes_to(3)
        until(lambda: len(server.children()) == 3)

    def test_a_reload_under_requests_is_not_taken_for_more_workers(self, resource, server):
        resource.apply_control(4)
        sized(resource, 4)
        began = time.monotonic()
        server.occupy(4, "sleep=5")
        until(lambda: resource.measure_state() and resource.get_metrics()["busy"] == 4)
        os.kill(server.pid, signal.SIGHUP)
        until(lambda: len(server.children()) == 6)
        sizes = set()
        while len(server.children()) == 6 and time.monotonic() < began + 4.0:  # before the requests end
            sizes.add(measurable(resource))
            with pytest.raises(SafetyError):
                resource.apply_control(5)
        assert sizes <= {4, None}
        sized(resource, 2)
        server.comes_to(2)


class TestMaster:
    def test_one_that_ends_is_told_and_leaves_nothing_to_restore(self, server):
        resource = GunicornResource(server.pid)
        controller = QuantumController(resource, interval=0.1)
        controller.optimize()
        resource.apply_control(4)
        kept = resource.snapshot()
        server.stop()
        with pytest.raises(SensorError, match=f"gunicorn, process {server.pid}, has ended"):
            resource.measure_state()
        with pytest.raises(ActuatorError, match="has ended"):
            resource.apply_control(2)
        assert "has ended" in str(controller.optimize())
        resource.restore(kept)

    def test_one_that_comes_back_is_followed_by_its_pidfile(self, resource, server, caplog):
        resource.apply_control(5)
        sized(resource, 5)
        kept, before = resource.snapshot(), server.pid
        server.stop()
        with pytest.raises(SensorError, match="no process id can be read"):
            resource.measure_state()
        server.start()
        sized(resource, 2)
        assert f"gunicorn {before} has ended and is followed by gunicorn {server.pid}" in caplog.text
        resource.apply_control(3)
        server.comes_to(3)
        resource.restore(kept)
        server.comes_to(2)
        GunicornResource(pidfile=str(server.pidfile)).restore(kept)
        server.comes_to(2)

    def test_one_that_came_anew_is_left_with_its_own_number(self, resource, server):
        kept = resource.snapshot()
        server.stop()
        server.workers = 4
        server.set_workers(4)
        server.start()
        with pytest.raises(
            SafetyError, match=f"gunicorn {server.pid} has come in place of the one that 3 was"
        ):
            resource.apply_control(3)
        resource.apply_control(2)  # as `stop()` orders it
        assert resource.measure_state().size == 4
        assert (resource.found_anew, resource.snapshot()["workers"]) == (1, 4)
        options = {"pidfile": str(server.pidfile)}
        for each in (resource, GunicornResource(**options)):
            each.restore(kept)
        assert server.number() == 4
        with pytest.raises(GoneError, match=f"there is no process {kept['pid']} any more that was"):
            GunicornResource.again(options, kept)
        resource.apply_control(3)
        server.comes_to(3)

    def test_one_that_is_replaced_is_left_alone_until_it_is_gone(self, resource, server):
        resource.apply_control(4)
        sized(resource, 4)
        os.kill(server.pid, signal.SIGUSR2)
        new = until(lambda: resource._master.crew().successor)
        until(lambda: len(server.children(new)) == 2)
        with pytest.raises(SafetyError, match=rf"is being replaced by process {new} \(SIGUSR2\)"):
            resource.apply_control(6)
        assert resource.measure_state().size == 4  # the new master is none of the workers
        os.kill(server.pid, signal.SIGQUIT)
        server.process.wait()
        sized(resource, 2)
        resource.apply_control(3)
        until(lambda: len(server.children(new)) == 3)
        server.comes_to(3)

    def test_one_that_is_stopped_takes_no_signals(self, resource, server):
        os.kill(server.pid, signal.SIGSTOP)
        with pytest.raises(ActuatorError, match="it is stopped; SIGCONT lets it go on"):
            resource.apply_control(6)
        os.kill(server.pid, signal.SIGCONT)
        assert resource.measure_state().size == 2
        resource.apply_control(3)
        server.comes_to(3)

    def test_one_that_is_still_beginning_its_workers_is_waited_for(self, tmp_path):
        server = Gunicorn(tmp_path, workers=8)
        try:
            with ThreadPoolExecutor(1) as beside:
                started = beside.submit(server.start)
                until(lambda: server.pidfile.exists() and server.children(int(server.pidfile.read_text())))
                resource = GunicornResource(pidfile=str(server.pidfile))
                started.result()
            assert resource.snapshot()["workers"] == 8
        finally:
            server.stop()


class TestRestored:
    def test_by_another_process_also_while_orders_are_on_their_way(self, resource, server):
        kept = resource.snapshot()
        for _ in range(4):
            os.kill(server.pid, signal.SIGTTIN)  # as of one that was killed at that
        GunicornResource(pidfile=str(server.pidfile)).restore(kept)
        server.comes_to(2)
        until(lambda: len(server.children()) == 2)

    def test_also_where_workers_leave_slowly(self, resource, server):
        resource.apply_control(5)
        sized(resource, 5)
        kept = {**resource.snapshot(), "workers": 4}
        with ThreadPoolExecutor(5) as clients:
            answers = [clients.submit(server.ask, "sleep=2.5") for _ in range(5)]
            until(lambda: resource.measure_state() and resource.get_metrics()["busy"] == 5)
            resource.apply_control(2)
            GunicornResource(pidfile=str(server.pidfile)).restore(kept)  # sees five, though two are set
            server.comes_to(4)
        assert {each.result() for each in answers} == {b"ok"}

    def test_not_by_guess(self, resource, server):
        resource.apply_control(3)
        sized(resource, 3)
        kept = resource.snapshot()
        server.occupy(3, "sleep=12")
        until(lambda: resource.measure_state() and resource.get_metrics()["busy"] == 3)
        with pytest.raises(ActuatorError, match="it cannot be told whether it is about to leave"):
            GunicornResource(pidfile=str(server.pidfile)).restore(kept)
        server.comes_to(3)
        resource.restore(kept)  # who has ordered it knows
        server.comes_to(2)
