"""redis-py: its four kinds of pool, gated and measured."""

from __future__ import annotations

import time
from collections.abc import Callable
from queue import LifoQueue
from typing import Any

from redis import BlockingConnectionPool
from redis.asyncio import BlockingConnectionPool as AsyncBlockingConnectionPool
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MaxConnectionsError

from quantum_control.core.errors import ConfigError, SafetyError
from quantum_control.resources.connection_kinds import check_known
from quantum_control.resources.reading import PoolReading
from quantum_control.resources.turnstile import NoPlaceError, Turnstile

LOCK_SECONDS = 1.0
"""Until the queue of a blocking pool is left as it is: `release` may come, with a collection of garbage,
from the very thread that holds its lock."""

USED = ("_lock", "get_connection", "max_connections", "release")
"""Attributes of a pool that are used below, of every kind."""


class RedisPool:
    """A `redis.ConnectionPool`, blocking or not, with a size that is enforced, and a reading.

    `get_connection` and `release` go through a turnstile of `size` places. A
    pool that blocks waits there, for its `timeout`; one that does not raises
    `MaxConnectionsError` as before. `max_connections`, which the pool reads
    when it opens a connection, follows the size. Sockets that are idle above
    a lower size are closed. Given back, the pool has room for as many
    connections as it was found with; those in use above that are closed as they
    come back, until when `release` stays in our hands.

    Parameters
    ----------
    pool
        The pool, or a client that has one.
    clock
        Any callable that returns seconds and does not run backwards.

    Raises
    ------
    ConfigError
        A blocking pool that does not use the last connection first.
    SafetyError
        The pool is steered already.
    """

    def __init__(self, pool: Any, *, clock: Callable[[], float] = time.monotonic) -> None:
        pool = getattr(pool, "connection_pool", pool)
        check_known(pool, USED, "redis 5 to 8")
        if "get_connection" in vars(pool):
            raise SafetyError("this pool is steered already; release() the other resource first")
        if isinstance(pool, BlockingConnectionPool) and not isinstance(pool.pool, LifoQueue):
            raise ConfigError(
                f"a BlockingConnectionPool with queue_class={type(pool.pool).__name__} goes round all the"
                " connections that it ever had, so that a lower size would open and close them all the time;"
                " use the default, LifoQueue"
            )
        self.pool = pool
        self.found: int = pool.max_connections
        """`max_connections` as found."""
        self._ordered = self.found
        self._theirs = False  # whether somebody else has set the size in force
        self._attached = True
        self._gate = Turnstile(self.found, clock=clock)
        self._began: dict[int, float] = {}  # when each connection in hand was handed out, by its id
        pool.get_connection = self._get_connection
        pool.release = self._release

    def reading(self) -> PoolReading:
        """Measure now."""
        pool = self.pool
        if pool.max_connections != self._ordered:  # set by somebody else: theirs is in force
            self._ordered = pool.max_connections
            self._theirs = True
            self._gate.resize(self._ordered)
        return self._gate.reading(size=self._ordered, alive=self._gate.busy + len(self._idle()))

    def resize(self, size: int, /) -> None:
        """Let `size` connections be used at once; what is idle above that is disconnected."""
        pool = self.pool
        if isinstance(pool, BlockingConnectionPool):
            _enlarge(pool, size)
        pool.max_connections = self._ordered = size
        self._theirs = False
        self._gate.resize(size)
        self._trim()

    def release(self) -> None:
        """Give the pool back as it was found, or as somebody else has set it; any number of times."""
        pool = self.pool
        if not self._attached:
            return
        self._attached = False
        del pool.get_connection
        if pool.max_connections == self._ordered and not self._theirs:
            pool.max_connections = self.found
        self._leave()
        self._gate.resize(1 << 30)  # whoever still stands there goes on to the pool's own line

    def _leave(self) -> None:
        """Take out what the pool, given back, has too much."""
        for connection in self._shorten():
            connection.disconnect()
        self._unhook()

    def _unhook(self) -> None:
        """Let go of the pool's `release` once it has no more room than it may have."""
        pool = self.pool
        if self._room() <= pool.max_connections and vars(pool).get("release") == self._release:
            vars(pool).pop("release", None)  # several threads may return the last ones

    def _room(self) -> int:
        """Connections that the pool can give out at once: it looks at its maximum for new ones only."""
        pool = self.pool
        return int(
            pool.pool.maxsize if isinstance(pool, BlockingConnectionPool) else pool._created_connections
        )

    def _shorten(self) -> list[Any]:
        """Take room above the maximum from the pool, as far as it is not in use, with what is idle there."""
        pool = self.pool
        if isinstance(pool, BlockingConnectionPool):
            return _take_places(pool, pool.max_connections)
        if not pool._lock.acquire(timeout=LOCK_SECONDS):  # collected by a thread that holds it
            return []
        try:
            surplus = max(0, pool._created_connections - pool.max_connections)
            gone = pool._available_connections[:surplus]
            del pool._available_connections[: len(gone)]
            pool._created_connections -= len(gone)
        finally:
            pool._lock.release()
        return list(gone)

    def _idle(self) -> list[Any]:
        """List what is connected and not in use; the one that will be used next is the last."""
        pool = self.pool
        blocking = isinstance(pool, BlockingConnectionPool)
        held = list(pool.pool.queue) if blocking else pool._available_connections
        return [each for each in held if each is not None and self._connected(each)]

    @staticmethod
    def _connected(connection: Any) -> bool:
        """Whether there is a socket; redis-py has a property for it only since version 8."""
        inner = getattr(connection, "_conn", connection)  # with client-side caching it is wrapped
        return inner._sock is not None

    def _surplus(self) -> list[Any]:
        """Idle connections above the size, the longest idle first."""
        idle = self._idle()
        return idle[: max(0, self._gate.busy + len(idle) - self._ordered)]

    def _trim(self) -> None:
        pool = self.pool
        if isinstance(pool, BlockingConnectionPool):
            _close_idle(pool, self._surplus)
            return
        with pool._lock:
            for connection in self._surplus():
                connection.disconnect()

    def _timeout(self) -> float | None:
        timeout: float | None = getattr(self.pool, "timeout", 0.0)
        return timeout

    def _refusal(self) -> Exception:
        if isinstance(self.pool, (BlockingConnectionPool, AsyncBlockingConnectionPool)):
            return RedisConnectionError("No connection available.")
        return MaxConnectionsError("Too many connections")

    def _get_connection(self, *args: Any, **options: Any) -> Any:
        try:
            arrived = self._gate.enter(self._timeout())
        except NoPlaceError:
            raise self._refusal() from None
        try:
            connection = type(self.pool).get_connection(self.pool, *args, **options)
        except BaseException as error:
            self._gate.fail(arrived) if isinstance(error, Exception) else self._gate.withdraw()
            raise
        self._began[id(connection)] = self._gate.begin(arrived)
        return connection

    def _release(self, connection: Any) -> Any:
        began = self._began.pop(id(connection), None)
        broken = not self._connected(connection)
        try:
            type(self.pool).release(self.pool, connection)
        finally:
            if began is not None:
                self._gate.end(began, failed=broken)
        if not self._attached:
            self._leave()
        elif self._surplus():
            self._trim()


class AsyncRedisPool(RedisPool):
    """A `redis.asyncio.ConnectionPool`, blocking or not; otherwise as `RedisPool`.

    It may be measured and resized from any thread; what is idle above a lower
    size is disconnected when the pool is used next.
    """

    @staticmethod
    def _connected(connection: Any) -> bool:
        return bool(connection.is_connected)

    def _trim(self) -> None:
        """Nothing: a connection can only be disconnected in its own event loop."""

    def _leave(self) -> None:
        """As `_trim`: what is too much goes when the pool is used next."""
        self._unhook()

    def _room(self) -> int:
        pool = self.pool
        return len(pool._available_connections) + len(pool._in_use_connections)

    def _shorten(self) -> list[Any]:
        pool = self.pool
        surplus = max(0, self._room() - pool.max_connections)
        gone = pool._available_connections[:surplus]
        del pool._available_connections[: len(gone)]
        return list(gone)

    async def _get_connection(self, *args: Any, **options: Any) -> Any:
        try:
            arrived = await self._gate.enter_async(self._timeout())
        except NoPlaceError:
            raise self._refusal() from None
        try:
            connection = await type(self.pool).get_connection(self.pool, *args, **options)
        except BaseException as error:
            self._gate.fail(arrived) if isinstance(error, Exception) else self._gate.withdraw()
            raise
        self._began[id(connection)] = self._gate.begin(arrived)
        return connection

    async def _release(self, connection: Any) -> None:
        began = self._began.pop(id(connection), None)
        broken = not self._connected(connection)
        try:
            await type(self.pool).release(self.pool, connection)
        finally:
            if began is not None:
                self._gate.end(began, failed=broken)
        for surplus in self._surplus() if self._attached else self._shorten():
            await surplus.disconnect()
        if not self._attached:
            self._unhook()


def _enlarge(pool: BlockingConnectionPool, size: int) -> None:
    """Make room for `size` connections in the queue of a blocking pool, which has a fixed length."""
    line = pool.pool
    with line.mutex:
        more = size - line.maxsize
        if more > 0:
            line.maxsize = size
            # Below those that are there: a placeholder on top would open a connection while others idle.
            line.queue[:0] = [None] * more
            line.not_empty.notify(more)


def _take_places(pool: BlockingConnectionPool, size: int) -> list[Any]:
    """Take what places above `size` are free from the queue, the longest idle first, with what is there."""
    line = pool.pool
    if not line.mutex.acquire(timeout=LOCK_SECONDS):
        return []
    try:
        places = line.queue[: max(0, line.maxsize - size)]
        del line.queue[: len(places)]
        line.maxsize -= len(places)
    finally:
        line.mutex.release()
    gone = [connection for connection in places if connection is not None]
    for connection in gone:
        pool._connections.remove(connection)
    return gone


def _close_idle(pool: BlockingConnectionPool, surplus: Callable[[], list[Any]]) -> None:
    """Disconnect what `surplus` finds idle, out of reach of those who look for a connection meanwhile."""
    line = pool.pool
    with line.mutex:
        taken = surplus()
        for connection in taken:
            line.queue.remove(connection)
    try:
        for connection in taken:
            connection.disconnect()
    finally:
        with line.mutex:
            line.queue[:0] = taken
            line.not_empty.notify(len(taken))
