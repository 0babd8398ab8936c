"""SQLAlchemy engines before a real PostgreSQL."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import psycopg
import pytest

pytest.importorskip("sqlalchemy", reason="pip install 'quantum-control[sqlalchemy]'")

from integration.pool_load import Clients, backends, eventually, postgres, settle, stalled, steer
from sqlalchemy import create_engine, exc, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from quantum_control.core.controller import QuantumController
from quantum_control.core.errors import ConfigError, SafetyError
from quantum_control.resources.connections import ConnectionPoolResource

pytestmark = pytest.mark.integration

CLIENTS = 12


def url(server, application="engine"):
    return f"postgresql+psycopg://postgres@127.0.0.1:{server.port}/postgres?application_name={application}"


@pytest.fixture
def engine(server):
    engine = create_engine(url(server), pool_size=4, max_overflow=2, pool_timeout=5)
    yield engine
    engine.dispose()


def sleeper(engine, seconds=0.01):
    def work():
        with engine.connect() as connection:
            connection.execute(text(f"SELECT pg_sleep({seconds})"))

    return work


def test_the_size_found_is_pool_size_and_overflow(engine):
    with ConnectionPoolResource(engine) as resource:
        assert resource.measure_state().size == 6


def test_the_size_is_enforced_under_load_as_the_server_sees_it(server, engine):
    with ConnectionPoolResource(engine) as resource, Clients(sleeper(engine), CLIENTS) as clients:
        for size in (9, 2, 5):
            resource.apply_control(size)
            eventually(
                lambda size=size: backends(server, "engine") == size, f"{size} connections at the server"
            )
            for _ in range(20):
                assert backends(server, "engine") <= size
    assert not clients.errors


def test_a_shrink_drops_no_connection_that_is_checked_out(server, engine):
    with ConnectionPoolResource(engine) as resource:
        held = [engine.connect() for _ in range(6)]
        for connection in held:
            connection.execute(text("CREATE TEMPORARY TABLE mine (x int)"))
        resource.apply_control(2)
        for connection in held:
            connection.execute(text("INSERT INTO mine VALUES (1)"))
            connection.commit()
            connection.close()
        eventually(lambda: backends(server, "engine") == 2, "two connections at the server")
        assert resource.measure_state().size == 2


def test_idle_connections_above_a_lower_size_are_closed_at_once(server, engine):
    with ConnectionPoolResource(engine) as resource:
        for connection in [engine.connect() for _ in range(4)]:
            connection.close()
        resource.apply_control(1)
        eventually(lambda: backends(server, "engine") == 1, "one connection at the server")


def test_a_controller_grows_a_pool_that_is_too_small_and_shrinks_it_again(server, engine):
    with ConnectionPoolResource(engine, max_connections=30) as resource:
        controller = QuantumController(resource, interval=0.1)
        with Clients(sleeper(engine, 0.02), CLIENTS):
            steer(controller, lambda: resource.get_metrics().get("busy", 0) > 9, "a pool that keeps up")
        steer(controller, lambda: controller.size <= 2, "a small pool without load")
        eventually(lambda: backends(server, "engine") <= 2, "surplus connections closed")


def test_disposing_of_the_pool_does_not_end_the_control(server, engine):
    with ConnectionPoolResource(engine) as resource, Clients(sleeper(engine), CLIENTS):
        resource.apply_control(3)
        engine.dispose()
        assert resource.measure_state().size == 3
        resource.apply_control(2)
        eventually(lambda: backends(server, "engine") == 2, "two connections at the server")
    assert engine.pool._max_overflow == 2


def test_an_outage_is_an_error_and_not_demand(server, engine):
    with ConnectionPoolResource(engine) as resource, Clients(sleeper(engine), CLIENTS) as clients:
        controller = QuantumController(resource, interval=0.1)
        steer(controller, lambda: resource.get_metrics().get("busy", 0) > 4, "work")
        before = controller.size
        server.stop()
        seen = len(clients.errors)
        end = controller.steps + 10
        sizes = steer(
            controller, lambda: controller.steps > end and len(clients.errors) > seen + 50, "errors"
        )
        assert max(sizes) <= before
        assert resource.get_metrics()["errors"] > 0
        server.start()
        done = clients.done
        steer(controller, lambda: clients.done > done + 50, "work after the restart")


def test_a_stalled_server_is_survived_and_does_not_make_it_grow(server, engine):
    with psycopg.connect(server.dsn, autocommit=True) as admin:
        admin.execute("CREATE TABLE IF NOT EXISTS stalled (x int)")

    def work():
        with engine.connect() as connection:
            connection.execute(text("INSERT INTO stalled VALUES (1)"))
            connection.execute(text("SELECT pg_sleep(0.02)"))

    with ConnectionPoolResource(engine, max_connections=40) as resource, Clients(work, 24, 0.05) as clients:
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


def test_killed_connections_are_errors_and_give_it_no_more_than_its_clients_can_use(server, engine):
    with (
        ConnectionPoolResource(engine, max_connections=40) as resource,
        Clients(sleeper(engine, 0.02), 2 * CLIENTS, 0.05) as clients,
        psycopg.connect(server.dsn, autocommit=True) as admin,
    ):
        controller = QuantumController(resource, interval=0.1)
        most = max(settle(controller), 2 * CLIENTS)
        end = controller.steps + 15
        told = []

        def kill():
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'engine'"
            )
            told.append(resource.get_metrics()["errors"])
            return controller.steps >= end

        assert max(steer(controller, kill, "steps while connections are killed")) <= most
        assert max(told) > 0
        done = clients.done
        steer(controller, lambda: clients.done > done + 100, "work with new connections")


def test_a_server_without_connections_to_give_does_not_make_the_pool_grow():
    with postgres(max_connections=8, superuser_reserved_connections=0) as server:
        engine = create_engine(url(server), pool_size=1, max_overflow=15, pool_timeout=2)
        with ConnectionPoolResource(engine) as resource, Clients(sleeper(engine, 0.05), 40) as clients:
            controller = QuantumController(resource, interval=0.1)
            course = []

            def seen():
                figures = resource.get_metrics()
                course.append(
                    (figures.get("errors", 0) > 0.2 * figures.get("throughput", 0), controller.size)
                )
                return controller.steps > 40

            steer(controller, seen, "steps at the server's limit")
            refused = [(before, size) for (_, before), (bad, size) in pairwise(course) if bad]
            assert refused
            # What was found may come back in any case.
            assert all(size <= max(before or 16, 16) for before, size in refused)
            assert any("too many clients" in error for error in clients.errors)
            done = clients.done
            steer(controller, lambda: clients.done > done + 50, "work by what the server gives")
        engine.dispose()


def test_who_waits_too_long_gets_the_librarys_own_error(server):
    engine = create_engine(url(server), pool_size=1, max_overflow=0, pool_timeout=0.05)
    with ConnectionPoolResource(engine) as resource, engine.connect():
        with pytest.raises(exc.TimeoutError, match="QueuePool limit"):
            engine.connect()
        resource.measure_state()
        assert resource.get_metrics()["drops"] > 0
    engine.dispose()


def test_release_gives_the_pool_back_as_it_was_found(engine):
    found = set(vars(engine.pool))
    resource = ConnectionPoolResource(engine)
    with pytest.raises(SafetyError, match="steered already"):
        ConnectionPoolResource(engine.pool)
    resource.apply_control(20)
    assert engine.pool._max_overflow == 16
    resource.release()
    assert set(vars(engine.pool)) == found
    assert engine.pool._max_overflow == 2


def test_a_size_set_by_hand_is_respected(engine):
    with ConnectionPoolResource(engine) as resource:
        resource.apply_control(8)
        engine.pool._max_overflow = 5
        assert resource.measure_state().size == 9
        with pytest.raises(SafetyError, match="set to 9 by somebody else"):
            resource.apply_control(3)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"poolclass": NullPool}, "has no size"), ({"max_overflow": -1}, "has no limit")],
)
def test_a_pool_without_a_size_is_refused(server, options, message):
    with pytest.raises(ConfigError, match=message):
        ConnectionPoolResource(create_engine(url(server), **options))


def test_an_asyncio_engine_is_steered(server):
    async def scenario():
        engine = create_async_engine(url(server, "tasks"), pool_size=2, max_overflow=0)
        resource = ConnectionPoolResource(engine)
        controller = QuantumController(resource, interval=0.05)
        stop = asyncio.Event()

        async def client():
            while not stop.is_set():
                async with engine.connect() as connection:
                    await connection.execute(text("SELECT pg_sleep(0.02)"))

        clients = [asyncio.create_task(client()) for _ in range(CLIENTS)]
        steering = asyncio.create_task(controller.run())
        async with asyncio.timeout(20):
            while resource.get_metrics().get("busy", 0) < 9:
                await asyncio.sleep(0.05)
        controller.stop(restore=False)
        await steering
        resource.apply_control(3)
        async with asyncio.timeout(20):
            while await asyncio.to_thread(backends, server, "tasks") != 3:
                await asyncio.sleep(0.05)
        stop.set()
        await asyncio.gather(*clients)
        resource.release()
        await engine.dispose()

    asyncio.run(scenario())
