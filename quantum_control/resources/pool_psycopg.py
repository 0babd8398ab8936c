"""psycopg_pool: a pool of the application's own, gated and measured."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from psycopg import AsyncConnection, Connection
from psycopg_pool import AsyncConnectionPool, ConnectionPool, PoolTimeout, TooManyRequests

from quantum_control.core.errors import ConfigError, SafetyError
from quantum_control.resources.connection_kinds import check_known
from quantum_control.resources.reading import PoolReading
from quantum_control.resources.spare import Spare
from quantum_control.resources.turnstile import LineFullError, NoPlaceError, Turnstile

PRIVATE = ("_lock", "_min_size", "_max_size", "_nconns", "_nconns_min", "_pool", "_waiting")
"""Attributes of a pool that are used below; the same in psycopg_pool 3.1 to 3.3."""

Pool = TypeVar("Pool", ConnectionPool[Any], AsyncConnectionPool[Any])


class _Adopted(Generic[Pool]):
    """What the pools of threads and of tasks have in common.

    The pool's `getconn` and `putconn` (and with them `connection()`) go
    through a turnstile of `size` places until `release()`. The turnstile is
    what enforces a lower size under load; the pool's own `max_size` follows
    it. Connections above it are closed after a while (see `Spare`), since the
    pool by itself closes one per `max_idle` (600 s).
    The one given back last is given out first, not last as the pool does it:
    so those that are too many rest, and those in use find the server's caches
    warm.

    `min_size` is lowered where it is above the size, and never raised before
    `release()`: `resize` would then open connections on top of those that have
    been opened on demand, past the maximum.
    """

    def __init__(self, pool: Pool, *, clock: Callable[[], float] = time.monotonic) -> None:
        if not hasattr(pool, "_lock"):  # an asyncio pool has it from its opening on
            raise ConfigError(f"pool {pool.name!r} was not opened yet: await its open() first")
        check_known(pool, PRIVATE, "psycopg_pool 3.1 to 3.3")
        if pool.max_size < 1:
            raise ConfigError(
                f"pool {pool.name!r} has no limit (a NullConnectionPool without a max_size): create it with"
                " one, so that there is a size to begin with"
            )
        if "getconn" in vars(pool):
            raise SafetyError(f"pool {pool.name!r} is steered already; release() the other resource first")
        self.pool: Pool = pool
        self.found = (pool.min_size, pool.max_size)
        """Minimum and maximum as found."""
        self._ordered = pool.max_size
        self._theirs = False  # whether somebody else has set the size in force
        self.spare = Spare()
        """How long those above the size stay open."""
        self._kept = pool.max_size  # connections that may be open
        self._gate = Turnstile(pool.max_size, clock=clock)
        self._clock = clock
        self._process = os.getpid()  # in a forked child all connections are the parent's
        self._began: dict[int, float] = {}  # when each connection in hand was handed out, by its id
        pool.getconn = self._getconn  # type: ignore[method-assign]
        pool.putconn = self._putconn  # type: ignore[method-assign]

    def reading(self) -> PoolReading:
        """Measure now. `alive` is what the server has given: less than the size while clients wait for it."""
        pool = self.pool
        if pool.max_size != self._ordered:  # resize() by somebody else: theirs is in force
            self._order(pool.max_size)
            self._theirs = True
        self._keep()
        self._trim()
        # Whoever is past the turnstile is due a connection; who waits inside the pool has not got one.
        missing = len(pool._waiting)
        alive = min(pool._nconns, self._ordered - missing) if missing else pool._nconns
        return self._gate.reading(size=self._ordered, alive=max(0, alive))

    def release(self) -> None:
        """Give the pool back as it was found, or as somebody else has set it; any number of times."""
        pool = self.pool
        if vars(pool).get("getconn") != self._getconn:
            return
        del pool.getconn, pool.putconn
        if pool.max_size == self._ordered and not self._theirs:
            # Set, not resized: resize() would open connections that the pool may have already.
            pool._min_size, pool._max_size = self.found
        self._kept = pool.max_size
        if os.getpid() == self._process:
            # Without waiting: a collection of garbage may have come here from within the pool.
            self._trim(wait=False)
        self._gate.resize(1 << 30)  # whoever still stands there goes on to the pool's own line

    def _trim(self, *, wait: bool = True) -> None:
        """Close what is too much, as far as that can be done from any thread."""

    def _order(self, size: int) -> None:
        """Note a size; what was in force until now counts for what may be open."""
        self._keep()
        self._ordered = size
        self._gate.resize(size)
        self._keep()

    def _keep(self) -> None:
        self._kept = self.spare.most(self._ordered, self._clock())

    def _rest(self, conn: Any) -> None:
        """Put a connection that came back to where the next is taken from; under the pool's lock."""
        resting = self.pool._pool
        if resting and resting[-1] is conn:
            resting.rotate(1)

    def _take_surplus(self) -> list[Any]:
        """Take out those that are too many and rest, the longest resting first; under the pool's lock."""
        pool = self.pool
        resting = pool._pool
        taken = [resting.pop() for _ in range(max(0, min(len(resting), pool._nconns - self._kept)))]
        pool._nconns -= len(taken)
        pool._nconns_min = min(pool._nconns_min, len(resting))
        return taken

    def _refusal(self, error: NoPlaceError, timeout: float) -> Exception:
        if isinstance(error, LineFullError):
            return TooManyRequests(
                f"the pool {self.pool.name!r} has already {self.pool.max_waiting} requests waiting"
            )
        return PoolTimeout(f"couldn't get a connection after {timeout:.2f} sec")

    def _getconn(self, timeout: float | None = None) -> Any:
        raise NotImplementedError

    def _putconn(self, conn: Any) -> Any:
        raise NotImplementedError


class PsycopgPool(_Adopted[ConnectionPool[Any]]):
    """A `psycopg_pool.ConnectionPool` with a size that is enforced, and a reading.

    Raises
    ------
    ConfigError
        A version of psycopg_pool that is not known, or a pool without limit.
    SafetyError
        The pool is steered already.
    """

    def resize(self, size: int, /) -> None:
        """Let `size` connections be used at once; those that are open above that are left to rest."""
        pool = self.pool
        pool.resize(min(pool.min_size, size), size)
        self._order(size)
        self._theirs = False
        self._trim()

    def _getconn(self, timeout: float | None = None) -> Connection[Any]:
        pool = self.pool
        timeout = pool.timeout if timeout is None else timeout
        try:
            arrived = self._gate.enter(timeout, pool.max_waiting)
        except NoPlaceError as error:
            raise self._refusal(error, timeout) from None
        try:
            left = max(0.001, timeout - (self._clock() - arrived))
            conn: Connection[Any] = type(pool).getconn(pool, left)
        except BaseException as error:
            self._gate.fail(arrived) if isinstance(error, Exception) else self._gate.withdraw()
            raise
        self._began[id(conn)] = self._gate.begin(arrived)
        return conn

    def _putconn(self, conn: Connection[Any]) -> None:
        broken = conn.broken
        began = self._began.pop(id(conn), None)
        try:
            type(self.pool).putconn(self.pool, conn)
            with self.pool._lock:
                self._rest(conn)
            self._trim()
        finally:
            if began is not None:
                self._gate.end(began, failed=broken)

    def _trim(self, *, wait: bool = True) -> None:
        pool = self.pool
        if pool._nconns <= self._kept or not pool._lock.acquire(blocking=wait):
            return
        try:
            surplus = self._take_surplus()
        finally:
            pool._lock.release()
        for conn in surplus:
            conn.close()


class AsyncPsycopgPool(_Adopted[AsyncConnectionPool[Any]]):
    """A `psycopg_pool.AsyncConnectionPool` with a size that is enforced, and a reading.

    It may be measured and resized from any thread. What is idle above a lower
    size is closed when the pool is used next.

    Raises
    ------
    ConfigError
        A version of psycopg_pool that is not known, a pool without limit, or one
        that was never open.
    SafetyError
        The pool is steered already.
    """

    def resize(self, size: int, /) -> None:
        """Let `size` connections be used at once."""
        # The pool's own resize() is a coroutine of its loop, which may be the one that we block. It
        # does these assignments, under a lock of that loop, and opens connections for a raised minimum.
        self.pool._min_size = min(self.pool.min_size, size)
        self.pool._max_size = size
        self._order(size)
        self._theirs = False

    async def _getconn(self, timeout: float | None = None) -> AsyncConnection[Any]:
        pool = self.pool
        timeout = pool.timeout if timeout is None else timeout
        try:
            arrived = await self._gate.enter_async(timeout, pool.max_waiting)
        except NoPlaceError as error:
            raise self._refusal(error, timeout) from None
        try:
            left = max(0.001, timeout - (self._clock() - arrived))
            conn: AsyncConnection[Any] = await type(pool).getconn(pool, left)
        except BaseException as error:
            self._gate.fail(arrived) if isinstance(error, Exception) else self._gate.withdraw()
            raise
        self._began[id(conn)] = self._gate.begin(arrived)
        return conn

    async def _putconn(self, conn: AsyncConnection[Any]) -> None:
        broken = conn.broken
        began = self._began.pop(id(conn), None)
        try:
            await type(self.pool).putconn(self.pool, conn)
            async with self.pool._lock:
                self._rest(conn)
                surplus = self._take_surplus()
            for each in surplus:
                await each.close()
        finally:
            if began is not None:
                self._gate.end(began, failed=broken)
