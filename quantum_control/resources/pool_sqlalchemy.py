"""SQLAlchemy: the QueuePool of an engine, gated, measured and resized while in use."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from queue import Empty
from typing import Any

from sqlalchemy import Engine, exc
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import ConnectionPoolEntry, Pool, QueuePool
from sqlalchemy.util import await_only
from sqlalchemy.util import queue as sqlalchemy_queue

from quantum_control.core.errors import ConfigError, SafetyError
from quantum_control.resources.connection_kinds import check_known
from quantum_control.resources.reading import PoolReading
from quantum_control.resources.turnstile import NoPlaceError, Turnstile

PRIVATE = ("_dec_overflow", "_do_get", "_do_return_conn", "_max_overflow", "_pool", "_timeout")
"""Attributes of a pool that are used below; the same in SQLAlchemy 2.0 and 2.1."""


class SqlalchemyPool:
    """The pool of an engine, with a size that is enforced, and a reading.

    SQLAlchemy has no public way to resize. What is done here: check-outs go
    through a turnstile of `size` places; `_max_overflow`, which is read at
    every check-out, lets the pool open that many; connections above a lower
    size are closed as they come back, none while it is in use. `pool_size`
    stays what it is. `engine.dispose()` makes a new pool, which is taken over
    at the next measurement.

    Parameters
    ----------
    engine
        A synchronous or asyncio engine, or its pool.
    clock
        Any callable that returns seconds and does not run backwards.

    Raises
    ------
    ConfigError
        A pool of another kind, or one without limit.
    SafetyError
        The pool is steered already.
    """

    def __init__(
        self, engine: Engine | AsyncEngine | Pool, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._engine = engine.sync_engine if isinstance(engine, AsyncEngine) else engine
        self._clock = clock
        self._began: dict[int, float] = {}  # when each entry in hand was handed out, by its id
        self._attached = True
        # Of threads that find a new pool, one takes it over; reentrant for a collection of garbage.
        self._following = threading.RLock()
        self.pool = self._attach()
        self.found = self.pool._max_overflow
        """`_max_overflow` as found."""
        self._overflow = self.found  # in force, as far as is known
        self._theirs = False  # whether somebody else has set it
        self._size = self.pool.size() + self.found
        self._gate = Turnstile(self._size, clock=clock)

    def reading(self) -> PoolReading:
        """Measure now."""
        pool = self._follow()
        if pool._max_overflow != self._overflow:  # set by somebody else: theirs is in force
            self._overflow = pool._max_overflow
            self._theirs = True
            self._size = max(1, pool.size() + pool._max_overflow)
            self._gate.resize(self._size)
        return self._gate.reading(size=self._size, alive=max(0, pool.checkedin() + pool.checkedout()))

    def resize(self, size: int, /) -> None:
        """Let `size` connections be used at once."""
        pool = self._follow()
        pool._max_overflow = self._overflow = max(0, size - pool.size())
        self._size = size
        self._theirs = False
        self._gate.resize(size)
        if not pool._is_asyncio:  # an asyncio connection can only be closed in its own event loop
            self._trim(pool)

    def release(self) -> None:
        """Give the pool back as it was found, or as somebody else has set it; any number of times."""
        pool = self._follow()
        if not self._attached:
            return
        self._attached = False
        del pool._do_get, pool._do_return_conn
        if pool._max_overflow == self._overflow and not self._theirs:
            pool._max_overflow = self.found
        self._gate.resize(1 << 30)  # whoever still stands there goes on to the pool's own line

    def _attach(self) -> QueuePool:
        pool = getattr(self._engine, "pool", self._engine)
        if not isinstance(pool, QueuePool):
            raise ConfigError(
                f"a {type(pool).__name__} has no size; use an engine with poolclass=QueuePool"
                " (AsyncAdaptedQueuePool for asyncio)"
            )
        check_known(pool, PRIVATE, "SQLAlchemy 2.0 or 2.1")
        if pool._max_overflow < 0:
            raise ConfigError(
                "this pool has no limit (max_overflow=-1 or pool_size=0): create the engine with a"
                " pool_size and a max_overflow of 0 or more, so that there is a size to begin with"
            )
        if "_do_get" in vars(pool):
            raise SafetyError("this pool is steered already; release() the other resource first")
        pool._do_get = partial(self._do_get, pool)  # type: ignore[method-assign]
        pool._do_return_conn = partial(self._do_return_conn, pool)  # type: ignore[method-assign]
        return pool

    def _follow(self) -> QueuePool:
        """Take over the pool that `engine.dispose()` has put in place of the one before."""
        if self._attached and isinstance(self._engine, Engine) and self._engine.pool is not self.pool:
            with self._following:
                if self._engine.pool is not self.pool:
                    self.pool = self._attach()
        return self.pool

    def _do_get(self, pool: QueuePool) -> ConnectionPoolEntry:
        timeout = pool._timeout
        try:
            if pool._is_asyncio:
                arrived = await_only(self._gate.enter_async(timeout))
            else:
                arrived = self._gate.enter(timeout)
        except NoPlaceError:
            raise exc.TimeoutError(
                f"QueuePool limit of size {self._size} reached, connection timed out, timeout {timeout:0.2f}",
                code="3o7r",
            ) from None
        try:
            entry = type(pool)._do_get(pool)
        except BaseException as error:
            self._gate.fail(arrived) if isinstance(error, Exception) else self._gate.withdraw()
            raise
        self._began[id(entry)] = self._gate.begin(arrived)
        return entry

    def _do_return_conn(self, pool: QueuePool, record: ConnectionPoolEntry) -> None:
        began = self._began.pop(id(record), None)
        invalidated = record.dbapi_connection is None
        try:
            # Nobody uses a disposed pool's connections again, and only a collection of garbage closes them.
            disposed = self._attached and pool is not self._follow()
            if disposed or pool.checkedin() + pool.checkedout() > self._size:
                self._discard(pool, record)
            else:
                type(pool)._do_return_conn(pool, record)
        finally:
            if began is not None:
                self._gate.end(began, failed=invalidated)

    def _trim(self, pool: QueuePool) -> None:
        """Close what is idle above the size."""
        while pool.checkedin() + pool.checkedout() > self._size:
            try:
                record = pool._pool.get(False)
            except (Empty, sqlalchemy_queue.Empty):
                return
            self._discard(pool, record)

    @staticmethod
    def _discard(pool: QueuePool, record: Any) -> None:
        try:
            record.close()
        finally:
            pool._dec_overflow()
