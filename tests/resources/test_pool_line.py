"""What clients of an application's own pool are told in line; without a server."""

from __future__ import annotations

import asyncio
import threading

import pytest

pytest.importorskip("psycopg_pool", reason="pip install 'quantum-control[postgres]'")

from psycopg_pool import AsyncConnectionPool, ConnectionPool, PoolTimeout, TooManyRequests

from quantum_control.resources.connections import ConnectionPoolResource
from quantum_control.resources.turnstile import LineFullError, NoPlaceError


@pytest.mark.parametrize("kind", [ConnectionPool, AsyncConnectionPool])
@pytest.mark.parametrize(
    ("refused", "told"), [(NoPlaceError("late"), PoolTimeout), (LineFullError("many"), TooManyRequests)]
)
def test_who_has_waited_is_told_so_however_full_the_line_is_meanwhile(monkeypatch, kind, refused, told):
    pool = kind(open=False, min_size=1, max_size=1, max_waiting=1)
    pool._lock = threading.RLock()  # an asyncio pool has none before it is opened, and none is taken here
    with ConnectionPoolResource(pool) as resource:
        gate = resource._pool._gate

        def enter(*_):
            if refused.args == ("late",):
                gate._line[object()] = None  # another one takes the place in line that has become free
            raise refused

        async def enter_async(*_):
            enter()

        monkeypatch.setattr(gate, "enter", enter)
        monkeypatch.setattr(gate, "enter_async", enter_async)
        connect = pool.getconn if kind is ConnectionPool else lambda limit: asyncio.run(pool.getconn(limit))
        with pytest.raises(told):
            connect(0.5)
        gate._line.clear()
