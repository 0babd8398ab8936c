"""What is left of the control in a pool of the application's own once it is given back; without a server."""

from __future__ import annotations

import asyncio
import os
import threading

import pytest
from forked import in_child

pytest.importorskip("psycopg_pool", reason="pip install 'quantum-control[postgres]'")
pytest.importorskip("redis", reason="pip install 'quantum-control[redis]'")
pytest.importorskip("sqlalchemy", reason="pip install 'quantum-control[sqlalchemy]'")

import redis
import redis.asyncio
from psycopg_pool import AsyncConnectionPool, ConnectionPool
from sqlalchemy import create_engine
from sqlalchemy.pool import QueuePool

from quantum_control.core.errors import ActuatorError
from quantum_control.resources.connections import ConnectionPoolResource


class Wire:
    """A connection to nowhere."""

    opened = 0  # at this moment

    def __init__(self, **_):
        self.pid = os.getpid()
        self._sock = None

    def connect(self):
        if self._sock is None:
            Wire.opened += 1
            self._sock = object()

    def disconnect(self, *_):
        if self._sock is not None:
            Wire.opened -= 1
            self._sock = None

    def can_read(self, *_):
        return False

    def should_reconnect(self):
        return False

    def re_auth(self):
        """Nothing: nobody has to."""


class AsyncWire(Wire):
    """The same for asyncio."""

    is_connected = property(lambda self: self._sock is not None)

    async def connect(self):
        super().connect()

    async def disconnect(self, *_):
        super().disconnect()

    async def can_read(self, *_):
        return False

    async def re_auth(self):
        """Nothing: nobody has to."""


@pytest.fixture(autouse=True)
def _nothing_open(monkeypatch):
    monkeypatch.setattr(Wire, "opened", 0)


def blocking(size=4):
    return redis.BlockingConnectionPool(max_connections=size, timeout=0.01, connection_class=Wire)


def refusing(size=4):
    return redis.ConnectionPool(max_connections=size, connection_class=Wire)


def psycopg_pool(kind):
    pool = kind(open=False, min_size=2, max_size=4)
    pool._lock = threading.RLock()  # an asyncio pool has none before it is opened, and none is taken here

    def by_hand(size):
        pool._min_size, pool._max_size = 1, size  # as resize() does, which for asyncio is a coroutine

    return pool, by_hand, lambda: pool.max_size


def redis_pool(pool):
    def by_hand(size):
        pool.max_connections = size

    return pool, by_hand, lambda: pool.max_connections


def engine():
    engine = create_engine("sqlite://", poolclass=QueuePool, pool_size=2, max_overflow=2)
    pool = engine.pool

    def by_hand(size):
        pool._max_overflow = size - pool.size()

    return engine, by_hand, lambda: pool.size() + pool._max_overflow


KINDS = {
    "psycopg": lambda: psycopg_pool(ConnectionPool),
    "psycopg asyncio": lambda: psycopg_pool(AsyncConnectionPool),
    "sqlalchemy": engine,
    "redis": lambda: redis_pool(refusing()),
    "redis blocking": lambda: redis_pool(blocking()),
}


@pytest.fixture(params=KINDS)
def found(request):
    """A pool of 4, how somebody else sets its size, and its size."""
    return KINDS[request.param]()


@pytest.mark.parametrize("noticed", [True, False])
def test_a_size_that_somebody_else_has_set_stays(found, noticed):
    pool, by_hand, size = found
    resource = ConnectionPoolResource(pool)
    resource.apply_control(6)
    by_hand(3)
    if noticed:
        assert resource.measure_state().size == 3
    resource.release()
    assert size() == 3


def test_a_size_that_was_steered_again_since_is_put_back(found):
    pool, by_hand, size = found
    now = [0.0]
    resource = ConnectionPoolResource(pool, hands_off=60.0, clock=lambda: now[0])
    resource.apply_control(6)
    by_hand(3)
    resource.measure_state()
    now[0] = 61.0
    resource.apply_control(7)
    resource.release()
    assert size() == 4


def test_what_was_released_is_set_no_more(found):
    pool, _, size = found
    with ConnectionPoolResource(pool) as resource:
        resource.apply_control(6)
    with pytest.raises(ActuatorError, match="given back by release"):
        resource.apply_control(6)
    resource.apply_control(4)  # it is that
    assert size() == 4


@pytest.mark.parametrize("in_use", [0, 3, 9])
@pytest.mark.parametrize("kind", [blocking, refusing])
def test_a_redis_pool_gives_out_no_more_connections_than_before(kind, in_use):
    pool = kind()
    before = set(vars(pool))
    resource = ConnectionPoolResource(pool)
    resource.apply_control(9)
    held = [pool.get_connection() for _ in range(9)]
    for connection in held[in_use:]:
        pool.release(connection)
    resource.release()
    for connection in held[:in_use]:
        pool.release(connection)
    assert set(vars(pool)) == before
    assert Wire.opened <= 4
    again = [pool.get_connection() for _ in range(4)]
    with pytest.raises(redis.ConnectionError):
        pool.get_connection()
    assert Wire.opened == 4
    for connection in again:
        pool.release(connection)
    assert pool.get_connection() is again[-1]


@pytest.mark.parametrize("kind", [redis.asyncio.BlockingConnectionPool, redis.asyncio.ConnectionPool])
def test_an_asyncio_redis_pool_is_back_to_its_size_once_it_was_used(kind):
    async def scenario():
        pool = kind(max_connections=4, connection_class=AsyncWire)
        pool.timeout = 0.01
        before = set(vars(pool))
        resource = ConnectionPoolResource(pool)
        resource.apply_control(9)
        held = [await pool.get_connection() for _ in range(9)]
        for connection in held[6:]:
            await pool.release(connection)
        resource.release()
        assert pool.max_connections == 4
        for connection in held[:6]:
            await pool.release(connection)
        assert set(vars(pool)) == before
        assert Wire.opened == 4
        for _ in range(4):
            await pool.get_connection()
        with pytest.raises(redis.ConnectionError):
            await pool.get_connection()

    asyncio.run(scenario())


def test_what_is_closed_for_a_lower_size_is_out_of_reach_meanwhile():
    pool = blocking(9)
    with ConnectionPoolResource(pool) as resource:
        held = [pool.get_connection() for _ in range(9)]
        in_reach = []

        def watched(connection):
            def disconnect():
                in_reach.append(connection in pool.pool.queue)
                Wire.disconnect(connection)

            return disconnect

        for connection in held:
            connection.disconnect = watched(connection)
            pool.release(connection)
        resource.apply_control(3)
        assert Wire.opened == 3
        assert in_reach == [False] * 6
        assert pool.pool.qsize() == 9


def test_threads_that_find_a_new_pool_at_once_take_it_over_once(monkeypatch):
    made = create_engine("sqlite://", poolclass=QueuePool)
    with ConnectionPoolResource(made) as resource:
        adopted = resource._pool
        attach = adopted._attach
        other = threading.Thread(target=adopted.reading)

        def slowly():
            monkeypatch.undo()
            other.start()
            other.join(0.2)  # without waiting for its turn it would be quicker
            return attach()

        made.dispose()
        monkeypatch.setattr(adopted, "_attach", slowly)
        resource.measure_state()
        other.join(10)
        assert adopted.pool is made.pool
        resource.apply_control(7)
        assert made.pool._max_overflow == 2


def test_a_forked_child_that_lets_go_of_a_pool_closes_no_connection_of_its_parent():
    pool, _, _ = psycopg_pool(ConnectionPool)
    resource = ConnectionPoolResource(pool)
    wires = [Wire() for _ in range(6)]
    for each in wires:
        each.connect()
        each.close = each.disconnect
    pool._pool.extend(wires)
    pool._nconns = 6

    def child():
        resource.release()
        assert pool.max_size == 4
        assert Wire.opened == 6

    assert in_child(child) == 0
    resource.release()
    assert Wire.opened == 4
