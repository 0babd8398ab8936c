"""The workers of a real gunicorn, counted, measured and steered."""

from __future__ import annotations

from math import isnan

import pytest
from integration.gunicorns import Clients, Gunicorn, answer, until

from quantum_control import QuantumController
from quantum_control.resources.gunicorn import GunicornResource

pytestmark = pytest.mark.integration


@pytest.fixture
def server(tmp_path):
    with Gunicorn(tmp_path) as server:
        yield server


def measured(resource):
    """A state and its figures."""
    return resource.measure_state(), resource.get_metrics()


class TestSize:
    def test_it_is_the_number_of_workers_and_set_by_signals(self, server):
        resource = GunicornResource(server.pid, max_workers=30)
        assert resource.measure_state().size == 2
        for size in (3, 20, 4, 1, 2):
            resource.apply_control(size)
            server.comes_to(size)  # none of up to twenty equal signals was lost
            until(lambda size=size: len(server.children()) == size)
            until(lambda size=size: resource.measure_state().size == size)

    def test_a_worker_counts_once_it_serves(self, tmp_path):
        with Gunicorn(tmp_path, loading=1.5) as server:
            until(lambda: server.ask() == b"ok")
            resource = GunicornResource(pidfile=str(server.pidfile))
            until(lambda: resource.measure_state().size == 2 and not resource.get_metrics()["starting"])
            resource.apply_control(4)
            state, figures = measured(resource)
            assert (state.size, figures["workers"], figures["starting"]) == (2, 4, 2)
            until(lambda: resource.measure_state().size == 4)
            server.comes_to(4)  # it was ordered once

    def test_those_that_leave_end_their_requests_and_are_no_part_of_size_or_demand(self, server):
        resource = GunicornResource(server.pid, max_workers=8)
        resource.apply_control(4)
        until(lambda: resource.measure_state().size == 4)
        clients = server.occupy(4, "sleep=3")
        until(lambda: resource.measure_state() and resource.get_metrics()["busy"] == 4)
        resource.apply_control(1)
        state, figures = measured(resource)
        assert (state.size, state.demand) == (1, 1)
        assert (figures["workers"], figures["leaving"], figures["busy"]) == (4, 3, 1)
        assert [answer(each) for each in clients] == [b"ok"] * 4
        until(lambda: len(server.children()) == 1)
        assert resource.measure_state().size == 1

    def test_more_may_be_ordered_while_some_leave(self, server):
        resource = GunicornResource(server.pid, max_workers=8)
        clients = server.occupy(2, "sleep=2")
        until(lambda: resource.measure_state() and resource.get_metrics()["busy"] == 2)
        resource.apply_control(1)
        resource.apply_control(5)
        server.comes_to(5)
        assert [answer(each) for each in clients] == [b"ok"] * 2
        until(lambda: resource.measure_state().size == 5)
        server.comes_to(5)
        assert len(server.children()) == 5


class TestDemand:
    @pytest.mark.parametrize("unix", [False, True], ids=["tcp", "unix"])
    def test_it_is_what_is_worked_on_and_what_waits_in_the_kernel(self, tmp_path, unix):
        with Gunicorn(tmp_path, unix=unix) as server:
            resource = GunicornResource(server.pid)
            assert resource.measure_state().demand == 0.0
            server.occupy(7, "sleep=2")
            until(lambda: measured(resource)[1]["busy"] == 2)
            state, figures = measured(resource)
            assert (figures["busy"], figures["connections"], figures["queue_depth"]) == (2, 2, 5)
            assert 2 < state.demand <= 7

    def test_what_waits_counts_by_the_age_of_requests(self, server):
        clock = iter((0.0, 0.0, 100.0, 101.0, 1e9)).__next__
        resource = GunicornResource(server.pid, clock=clock)
        server.occupy(6, "sleep=3")
        until(lambda: GunicornResource(server.pid).measure_state().demand > 2)
        young = measured(resource)
        assert 0 < young[1]["age_seconds"] < 3
        assert young[0].demand == pytest.approx(2 + 4 * young[1]["age_seconds"] / 100)
        old = measured(resource)
        assert old[1]["age_seconds"] >= young[1]["age_seconds"]

    def test_of_workers_with_threads_connections_are_counted(self, tmp_path):
        with Gunicorn(tmp_path, "--threads", "4") as server:
            resource = GunicornResource(server.pid, threads=4)
            server.occupy(10, "sleep=2")
            until(lambda: measured(resource)[1]["connections"] == 10)
            state, figures = measured(resource)
            assert (state.demand, figures["queue_depth"]) == (2.5, 0)
            assert isnan(figures["age_seconds"])

    def test_workers_that_keep_the_processors_busy_are_not_multiplied(self, server):
        resource = GunicornResource(server.pid, max_workers=50)
        with Clients(server, 12, "spin=0.05"):
            until(lambda: measured(resource)[1]["processors"] > 0.5)
            for _ in range(10):
                until(lambda: measured(resource)[1]["queue_depth"])
            state, figures = measured(resource)
        assert figures["useful_size"] < 50
        assert state.demand <= figures["useful_size"]


class TestSteered:
    @pytest.mark.timeout(120)
    def test_under_load_it_grows_serves_all_and_is_put_back(self, server):
        resource = GunicornResource(server.pid, max_workers=10)
        controller = QuantumController(resource, interval=0.2)
        with Clients(server, 12, "sleep=0.05") as clients:
            with controller:
                until(lambda: (controller.size or 0) > 5)
                number = server.number()
                before = len(clients.answers)
                until(lambda: len(clients.answers) > before + 200)
            assert number > 5
            server.comes_to(2)
        until(lambda: len(server.children()) == 2)
        assert set(clients.answers) == {b"ok"}

    def test_without_load_it_shrinks(self, tmp_path):
        with Gunicorn(tmp_path, workers=6) as server:
            resource = GunicornResource(server.pid)
            with QuantumController(resource, interval=0.1) as controller:
                until(lambda: controller.size == 1)
                server.comes_to(1)
            server.comes_to(6)
