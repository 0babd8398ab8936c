"""redis-py's four kinds of pool before a real Redis."""

from __future__ import annotations

import asyncio
from math import sqrt
from queue import Queue

import pytest

pytest.importorskip("redis", reason="pip install 'quantum-control[redis]'")

import redis.asyncio
from integration.pool_load import Clients, eventually, redis_server, settle, stalled, steer

from quantum_control.core.controller import QuantumController
from quantum_control.core.errors import ConfigError, SafetyError
from quantum_control.resources.connections import ConnectionPoolResource

pytestmark = pytest.mark.integration

CLIENTS = 12


@pytest.fixture(scope="module")
def server():
    with redis_server() as running:
        yield running


@pytest.fixture
def admin(server):
    with redis.Redis(port=server.port, client_name="admin") as client:
        client.flushall()
        yield client


def blocking(server, size=4, **options):
    return redis.BlockingConnectionPool(
        port=server.port, max_connections=size, client_name="pooled", **({"timeout": 5} | options)
    )


def connected(admin, name="pooled"):
    """Connections as the server itself counts them."""
    return sum(client["name"] == name for client in admin.client_list())


def waiter(pool, seconds=0.02):
    """Holds a connection for a while: a blocking command on a list that stays empty."""
    client = redis.Redis(connection_pool=pool)

    def work():
        client.blpop("nothing", timeout=seconds)

    return work


def test_the_size_is_enforced_under_load_as_the_server_sees_it(server, admin):
    pool = blocking(server)
    with ConnectionPoolResource(pool) as resource, Clients(waiter(pool), CLIENTS) as clients:
        for size in (9, 2, 6):
            resource.apply_control(size)
            eventually(lambda size=size: connected(admin) == size, f"{size} connections at the server")
            for _ in range(20):
                assert connected(admin) <= size
    assert not clients.errors
    pool.disconnect()


def test_a_controller_grows_a_pool_that_is_too_small_and_shrinks_it_again(server, admin):
    pool = blocking(server, 2)
    with ConnectionPoolResource(pool, max_connections=30) as resource:
        controller = QuantumController(resource, interval=0.1)
        with Clients(waiter(pool), CLIENTS):
            steer(controller, lambda: resource.get_metrics().get("busy", 0) > 9, "a pool that keeps up")
        steer(controller, lambda: controller.size <= 2, "a small pool without load")
        eventually(lambda: connected(admin) <= 2, "surplus connections closed")
    pool.disconnect()


def test_a_pool_that_does_not_wait_refuses_as_before_and_may_grow(server, admin):
    pool = redis.ConnectionPool(port=server.port, max_connections=2, client_name="pooled")
    with ConnectionPoolResource(pool) as resource:
        controller = QuantumController(resource, interval=0.1)
        with Clients(waiter(pool), CLIENTS) as clients:
            steer(controller, lambda: (controller.size or 0) >= CLIENTS - 2, "a pool with room for most")
        assert clients.errors
        assert all(error.startswith("MaxConnectionsError") for error in clients.errors)
    pool.disconnect()


def test_an_outage_is_an_error_and_not_demand(server, admin):
    pool = blocking(server)
    with ConnectionPoolResource(pool) as resource, Clients(waiter(pool), CLIENTS) as clients:
        controller = QuantumController(resource, interval=0.1)
        steer(controller, lambda: resource.get_metrics().get("busy", 0) > 6, "work")
        before = controller.size
        server.stop(15)
        seen = len(clients.errors)
        end = controller.steps + 10
        sizes = steer(
            controller, lambda: controller.steps > end and len(clients.errors) > seen + 20, "errors"
        )
        assert max(sizes) <= before
        server.start()
        done = clients.done
        steer(controller, lambda: clients.done > done + 50, "work after the restart")
    pool.disconnect()


def test_a_stalled_server_is_survived_and_does_not_make_it_grow(server, admin):
    pool = blocking(server)
    with (
        ConnectionPoolResource(pool, max_connections=40) as resource,
        Clients(waiter(pool), 24, 0.05) as clients,
    ):
        controller = QuantumController(resource, interval=0.1)
        before = settle(controller)
        admin.client_pause(2500)
        stalled(resource)
        end = controller.steps + 10
        sizes = steer(controller, lambda: controller.steps >= end, "steps during the stall")
        assert resource.get_metrics()["throughput"] == 0.0
        assert max(sizes) <= before
        done = clients.done
        steer(controller, lambda: clients.done > done + 100, "work after the stall")
    pool.disconnect()


def test_killed_connections_give_it_no_more_than_its_clients_can_use(server, admin):
    pool = blocking(server)
    with (
        ConnectionPoolResource(pool, max_connections=40) as resource,
        Clients(waiter(pool), 2 * CLIENTS, 0.05) as clients,
    ):
        controller = QuantumController(resource, interval=0.1)
        # On a busy machine all clients may wait at once, and the law adds its headroom to what they want.
        most = max(settle(controller), 2 * CLIENTS + 2.0 * sqrt(2 * CLIENTS))
        end = controller.steps + 15

        def kill():
            admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            return controller.steps >= end

        # The client connects anew without an error: what is killed reads as work that takes longer.
        assert max(steer(controller, kill, "steps while connections are killed")) <= most
        done = clients.done
        steer(controller, lambda: clients.done > done + 100, "work with new connections")
    pool.disconnect()


def test_release_gives_the_pool_back_as_it_was_found(server):
    pool = blocking(server)
    found = set(vars(pool))
    resource = ConnectionPoolResource(redis.Redis(connection_pool=pool))
    with pytest.raises(SafetyError, match="steered already"):
        ConnectionPoolResource(pool)
    resource.apply_control(9)
    resource.release()
    assert set(vars(pool)) == found
    assert pool.max_connections == 4
    assert redis.Redis(connection_pool=pool).ping()
    pool.disconnect()


def test_a_pool_that_goes_round_its_connections_is_refused(server):
    with pytest.raises(ConfigError, match="use the default, LifoQueue"):
        ConnectionPoolResource(blocking(server, queue_class=Queue))


def test_a_size_set_by_hand_is_respected(server):
    pool = blocking(server)
    with ConnectionPoolResource(pool) as resource:
        resource.apply_control(8)
        pool.max_connections = 5
        assert resource.measure_state().size == 5
        with pytest.raises(SafetyError, match="set to 5 by somebody else"):
            resource.apply_control(3)


@pytest.mark.parametrize("waits", [True, False])
def test_an_asyncio_pool_is_steered(server, admin, waits):
    async def scenario():
        kind = redis.asyncio.BlockingConnectionPool if waits else redis.asyncio.ConnectionPool
        pool = kind(port=server.port, max_connections=2, client_name="tasks")
        resource = ConnectionPoolResource(pool)
        controller = QuantumController(resource, interval=0.05)
        stop = asyncio.Event()
        client = redis.asyncio.Redis(connection_pool=pool)

        async def work():
            while not stop.is_set():
                try:
                    await client.blpop("nothing", timeout=0.02)
                except redis.exceptions.MaxConnectionsError:
                    assert not waits
                    await asyncio.sleep(0.02)

        tasks = [asyncio.create_task(work()) for _ in range(CLIENTS)]
        steering = asyncio.create_task(controller.run())
        async with asyncio.timeout(20):
            while (controller.size or 0) < 9:
                await asyncio.sleep(0.05)
        controller.stop(restore=False)
        await steering
        resource.apply_control(3)
        async with asyncio.timeout(20):
            while await asyncio.to_thread(connected, admin, "tasks") != 3:
                await asyncio.sleep(0.05)
        stop.set()
        await asyncio.gather(*tasks)
        resource.release()
        await pool.disconnect()

    asyncio.run(scenario())
