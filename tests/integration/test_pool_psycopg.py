"""psycopg_pool before a real PostgreSQL."""

from __future__ import annotations

import threading
import time

import psycopg
import pytest

pytest.importorskip("psycopg_pool", reason="pip install 'quantum-control[postgres]'")

from integration.pool_load import Clients, backends, eventually, postgres, settle, stalled, steer
from psycopg_pool import ConnectionPool, TooManyRequests

from quantum_control.core.controller import QuantumController
from quantum_control.core.errors import SafetyError
from quantum_control.resources.connections import ConnectionPoolResource

pytestmark = pytest.mark.integration

CLIENTS = 12


@pytest.fixture
def pool(server):
    with ConnectionPool(
        server.dsn + " application_name=pooled", min_size=2, max_size=4, timeout=5.0, open=True
    ) as pool:
        pool.wait()
        yield pool


def sleeper(pool, seconds=0.01):
    def work():
        with pool.connection() as connection:
            connection.execute("SELECT pg_sleep(%s)", [seconds])

    return work


def test_the_size_is_enforced_under_load_as_the_server_sees_it(server, pool):
    with (
        ConnectionPoolResource(pool, spare_seconds=0.0) as resource,
        Clients(sleeper(pool), CLIENTS) as clients,
    ):
        for size in (9, 2, 6):
            resource.apply_control(size)
            eventually(lambda size=size: backends(server) == size, f"{size} connections at the server")
            for _ in range(20):
                assert backends(server) <= size
        assert resource.measure_state().size == 6
    assert not clients.errors


def test_growing_after_growth_on_demand_does_not_pass_the_maximum(server, pool):
    with ConnectionPoolResource(pool, spare_seconds=0.0) as resource, Clients(sleeper(pool), CLIENTS):
        for size in (3, 10, 1, 10):
            resource.apply_control(size)
            eventually(lambda size=size: backends(server) == size, f"{size} connections at the server")


def test_a_size_that_comes_back_opens_nothing_anew_and_what_is_too_many_is_closed_after_a_while(server, pool):
    now = [0.0]
    with ConnectionPoolResource(pool, spare_seconds=10.0, clock=lambda: now[0]) as resource:
        with Clients(sleeper(pool), CLIENTS) as clients:
            resource.apply_control(9)
            eventually(lambda: backends(server) == 9, "9 connections at the server")
            opened = pool.get_stats()["connections_num"]
            resource.apply_control(2)
            done = clients.done
            eventually(lambda: clients.done > done + 50, "work with two connections")
            assert (backends(server), resource._pool.reading().busy <= 2) == (9, True)
            resource.apply_control(9)
            eventually(lambda: resource._pool.reading().busy > 6, "9 connections in use")
            assert pool.get_stats()["connections_num"] == opened
            resource.apply_control(3)
        now[0] = 25.0
        assert resource.measure_state().size == 3
        assert resource.get_metrics()["held"] == 3.0
        eventually(lambda: backends(server) == 3, "what rests too long is closed")
    assert not clients.errors


def test_those_that_are_too_many_rest(server, pool):
    def session():
        with pool.connection() as connection:
            return connection.info.backend_pid

    with ConnectionPoolResource(pool):
        assert len({session() for _ in range(6)}) == 1


def test_release_closes_what_the_pool_could_not_have_by_itself(server, pool):
    with ConnectionPoolResource(pool) as resource, Clients(sleeper(pool), CLIENTS):
        resource.apply_control(9)
        eventually(lambda: backends(server) == 9, "9 connections at the server")
    eventually(lambda: backends(server) == 4, "the pool's own 4")


def test_measurements_follow_littles_law(server, pool):
    with ConnectionPoolResource(pool) as resource, Clients(sleeper(pool, 0.02), 3):
        eventually(lambda: pool.get_stats()["requests_num"] > 20, "requests")
        resource.measure_state()
        time.sleep(1.0)
        state = resource.measure_state()
        metrics = resource.get_metrics()
    # Three clients, four connections: nobody waits, and busy = rate x time in use.
    assert state.demand == pytest.approx(metrics["throughput"] * metrics["service_seconds"], rel=0.15)
    assert 2.0 < state.demand <= 3.1
    assert metrics["service_seconds"] > 0.02
    assert metrics["wait_seconds"] < 0.02
    assert metrics["errors"] == metrics["drops"] == 0.0


def test_a_controller_grows_a_pool_that_is_too_small_and_shrinks_it_again(server, pool):
    with ConnectionPoolResource(pool, max_connections=30, spare_seconds=0.0) as resource:
        controller = QuantumController(resource, interval=0.1)
        with Clients(sleeper(pool, 0.02), CLIENTS):
            steer(controller, lambda: resource.get_metrics().get("busy", 0) > 9, "a pool that keeps up")
        steer(controller, lambda: controller.size <= 2, "a small pool without load")
        eventually(lambda: backends(server) <= 2, "surplus connections closed")


def test_who_times_out_in_line_is_dropped_and_the_pool_may_still_grow(server):
    with (
        ConnectionPool(server.dsn, min_size=1, max_size=1, timeout=0.05, open=True) as pool,
        ConnectionPoolResource(pool) as resource,
    ):
        controller = QuantumController(resource, interval=0.1)
        with Clients(sleeper(pool, 0.1), 4) as clients:
            eventually(lambda: len(clients.errors) > 5, "time-outs")
            controller.optimize()
            assert resource.get_metrics()["drops"] > 0
            assert resource.get_metrics()["errors"] == 0
            steer(controller, lambda: controller.size >= 4, "a pool with room for all")
        assert all(error.startswith("PoolTimeout") for error in clients.errors)


def test_the_longest_line_of_the_pool_is_kept(server):
    with (
        ConnectionPool(server.dsn, min_size=1, max_size=1, max_waiting=1, open=True) as pool,
        ConnectionPoolResource(pool),
    ):
        inside, go = threading.Event(), threading.Event()

        def hold():
            with pool.connection():
                inside.set()
                go.wait(20)

        holder = threading.Thread(target=hold)
        holder.start()
        assert inside.wait(20)
        waiter = threading.Thread(target=hold)
        waiter.start()
        eventually(lambda: len(vars(pool)["getconn"].__self__._gate) == 1, "one in line")
        with pytest.raises(TooManyRequests):
            pool.getconn()
        go.set()
        holder.join(20)
        waiter.join(20)


def test_release_gives_the_pool_back_as_it_was_found(pool):
    found = set(vars(pool))
    resource = ConnectionPoolResource(pool)
    with pytest.raises(SafetyError, match="steered already"):
        ConnectionPoolResource(pool)
    resource.apply_control(1)
    resource.release()
    resource.release()
    assert set(vars(pool)) == found
    assert (pool.min_size, pool.max_size) == (2, 4)
    with pool.connection() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_forgotten_resource_lets_go_of_the_pool(pool):
    resource = ConnectionPoolResource(pool)
    resource.apply_control(1)
    del resource
    assert "getconn" not in vars(pool)
    assert pool.max_size == 4


def test_a_size_set_by_hand_is_noticed_respected_and_reported(pool, caplog):
    now = [0.0]
    with ConnectionPoolResource(pool, hands_off=60.0, clock=lambda: now[0]) as resource:
        resource.apply_control(6)
        pool.resize(1, 9)
        now[0] = 1.0
        assert resource.measure_state().size == 9
        assert "changed from 6 to 9 by somebody else" in caplog.text
        assert resource.get_metrics()["set_by_hand"] == 1.0
        with pytest.raises(SafetyError, match="set to 9 by somebody else"):
            resource.apply_control(5)
        assert pool.max_size == 9
        now[0] = 62.0
        resource.apply_control(5)
        assert pool.max_size == 5


def test_a_server_restart_is_survived_and_does_not_make_the_pool_grow(server):
    with (
        ConnectionPool(server.dsn, min_size=2, max_size=4, timeout=0.3, open=True) as pool,
        ConnectionPoolResource(pool) as resource,
        Clients(sleeper(pool, 0.02), CLIENTS) as clients,
    ):
        controller = QuantumController(resource, interval=0.1)
        before = settle(controller)
        server.stop()
        resource.measure_state()  # no step sees the interval in which it stops, which has a load of its own
        seen = len(clients.errors)
        sizes = steer(controller, lambda: len(clients.errors) > seen + 20, "errors")
        server.start()
        assert max(sizes) <= before
        done = clients.done
        steer(controller, lambda: clients.done > done + 50, "work after the restart")


def test_killed_connections_are_errors_and_not_demand(server, pool):
    with ConnectionPoolResource(pool) as resource, Clients(sleeper(pool, 0.02), 4) as clients:
        eventually(lambda: clients.done > 20, "work")
        resource.measure_state()
        with psycopg.connect(server.dsn, autocommit=True) as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pooled'"
            )
        eventually(lambda: clients.errors, "errors")
        state = resource.measure_state()
        assert resource.get_metrics()["errors"] > 0
        assert state.position <= 0.0
        with pytest.raises(SafetyError, match="check-outs failed"):
            resource.apply_control(20)
        assert pool.max_size == 4
        done = clients.done
        eventually(lambda: clients.done > done + 20, "work with new connections")


def test_a_server_without_connections_to_give_does_not_make_the_pool_grow():
    with (
        postgres(max_connections=8, superuser_reserved_connections=0) as server,
        ConnectionPool(server.dsn, min_size=1, max_size=16, timeout=2.0, open=True) as pool,
        ConnectionPoolResource(pool) as resource,
        Clients(sleeper(pool, 0.05), 40),
    ):
        controller = QuantumController(resource, interval=0.2)
        steer(
            controller, lambda: (controller.size or 99) <= 12, "what the server cannot give is given up", 0.2
        )
        sizes = steer(controller, lambda: controller.steps > 12, "more steps", 0.2)
        assert max(sizes) <= 16


def test_a_stalled_server_is_survived_and_does_not_make_it_grow(server, pool):
    with psycopg.connect(server.dsn, autocommit=True) as admin:
        admin.execute("CREATE TABLE IF NOT EXISTS stalled (x int)")

    def work():
        with pool.connection() as connection:
            connection.execute("INSERT INTO stalled VALUES (1)")
            connection.execute("SELECT pg_sleep(0.02)")

    with ConnectionPoolResource(pool, max_connections=40) as resource, Clients(work, 24, 0.05) as clients:
        controller = QuantumController(resource, interval=0.1)
        before = settle(controller)
        with psycopg.connect(server.dsn) as locker:
            locker.execute("LOCK TABLE stalled IN ACCESS EXCLUSIVE MODE")
            stalled(resource)
            end = controller.steps + 10
            sizes = steer(controller, lambda: controller.steps >= end, "steps during the stall")
            assert max(sizes) <= before
            locker.rollback()
        done = clients.done
        steer(controller, lambda: clients.done > done + 100, "work after the stall")


def test_the_servers_own_figures_are_measured(server, pool):
    with (
        ConnectionPoolResource(pool, server=server.dsn) as resource,
        Clients(sleeper(pool, 0.02), 4),
    ):

        def told():
            resource.measure_state()
            # Backends report at most once a second, and not all at once: wait for those that work.
            return resource.get_metrics().get("server_statement_seconds", 0.0) > 0.0

        eventually(told, "statements timed by the server")
        metrics = resource.get_metrics()
    assert metrics["server_connections"] >= 4
    assert metrics["server_connection_limit"] == 97
    assert metrics["server_throughput"] > 0.0
