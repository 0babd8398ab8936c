"""psycopg_pool for asyncio before a real PostgreSQL."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

pytest.importorskip("psycopg_pool", reason="pip install 'quantum-control[postgres]'")

from integration.pool_load import backends
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from quantum_control.core.controller import QuantumController
from quantum_control.resources.connections import ConnectionPoolResource

pytestmark = pytest.mark.integration

CLIENTS = 12


async def run_clients(pool, number, seconds, stop, counts):
    async def loop():
        while not stop.is_set():
            try:
                async with pool.connection() as connection:
                    await connection.execute("SELECT pg_sleep(%s)", [seconds])
                counts["done"] += 1
            except (psycopg.Error, PoolTimeout):
                counts["errors"] += 1
                await asyncio.sleep(0.02)

    await asyncio.gather(*(loop() for _ in range(number)))


def test_an_asyncio_pool_is_steered_in_its_own_event_loop(server):
    async def scenario():
        dsn = server.dsn + " application_name=tasks"
        async with AsyncConnectionPool(dsn, min_size=1, max_size=2, open=False) as pool:
            resource = ConnectionPoolResource(pool, spare_seconds=0.0)
            controller = QuantumController(resource, interval=0.05)
            stop, counts = asyncio.Event(), {"done": 0, "errors": 0}
            clients = asyncio.create_task(run_clients(pool, CLIENTS, 0.02, stop, counts))
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
            await clients
            assert counts["errors"] == 0
            resource.release()
            assert "getconn" not in vars(pool)
            assert (pool.min_size, pool.max_size) == (1, 2)

    asyncio.run(scenario())


def test_a_cancelled_task_gives_its_place_to_the_next(server):
    async def scenario():
        async with AsyncConnectionPool(server.dsn, min_size=1, max_size=1, open=False) as pool:
            with ConnectionPoolResource(pool) as resource:
                held = await pool.getconn()
                waiting = asyncio.create_task(pool.getconn())
                await asyncio.sleep(0.05)
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting
                await pool.putconn(held)
                async with asyncio.timeout(20), pool.connection() as connection:
                    await connection.execute("SELECT 1")
                assert resource.measure_state().size == 1

    asyncio.run(scenario())
