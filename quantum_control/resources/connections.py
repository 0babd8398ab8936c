"""Connection pools as resources: how many connections may be used at once."""

from __future__ import annotations

import logging
import time
import weakref
from collections.abc import Callable, Mapping
from math import inf
from types import TracebackType
from typing import Any, Self

from quantum_control.core.errors import ActuatorError, ConfigError, SafetyError, SensorError
from quantum_control.core.queueing import mean_service, offered_load
from quantum_control.core.resource import Resource, ResourceState
from quantum_control.resources.connection_figures import done, figures, turned_away
from quantum_control.resources.connection_kinds import Releasable, Restorable, Sparing, adopt, client_module
from quantum_control.resources.connection_trouble import Trouble
from quantum_control.resources.database_side import DatabaseSide
from quantum_control.resources.reading import ResizablePool, positive_int
from quantum_control.resources.spare import SPARE_SECONDS

_log = logging.getLogger("quantum_control")

MAX_CONNECTIONS = 97
"""Bound where none is given: PostgreSQL's own default `max_connections` of 100, less the 3 that it
reserves for superusers."""

HANDS_OFF_SECONDS = 300.0
"""Seconds for which a size set by somebody else is left alone: long enough to work by hand, short
enough that what is forgotten is steered again."""


class ConnectionPoolResource(Resource):
    """Steers how many connections of a pool may be used at once.

    Parameters
    ----------
    pool
        What is steered: a `psycopg_pool.ConnectionPool` or
        `AsyncConnectionPool`, an SQLAlchemy `Engine` or `AsyncEngine` (or its
        `QueuePool`), a `redis` or `redis.asyncio` client or connection pool, or
        anything of your own with `reading()` and `resize()` as in
        `ResizablePool`.
    dsn
        In place of `pool`: a PgBouncer's admin console, as a libpq connection
        string (`host=... port=6432 dbname=pgbouncer user=...`). Leave the
        password to `PGPASSFILE` or `PGPASSWORD`.
    database, user
        With `dsn`: the pools to look at; None is any.
    config
        With `dsn` and `database`: path of PgBouncer's configuration file, to
        steer the `pool_size` of that database in it (see `EntrySize`).
    server
        PostgreSQL behind the pool, as a libpq connection string: adds its own
        figures to `get_metrics()` (see `PostgresServer`), and no more are given
        than what it can make use of (see `useful_connections`).
    server_cores
        Processors of that server; None: those of this machine if it is on it.
    min_connections, max_connections
        Bounds of the size. A task that takes a second connection while it
        holds one needs a `min_connections` above the number of such tasks.
    hands_off
        Seconds for which a size that somebody else has set is left alone.
    spare_seconds
        Seconds for which connections above the size stay open, at least, so that they need not be opened
        anew where it comes back; what rests is closed at a measurement. Other pools than psycopg_pool
        close theirs at once.
    clock
        Any callable that returns seconds and does not run backwards.

    Raises
    ------
    ConfigError
        Not exactly one of `pool` and `dsn`, a pool of an unknown kind, bounds
        that are not 1 <= min <= max, or a client library that is not installed.
    SafetyError
        A pool that is steered already.
    SensorError
        `dsn` leads to no console, or to one of an unknown version.

    Notes
    -----
    Failures never make the size grow: while a tenth or more of the check-outs
    fail, or well above the usual share of them, or clients wait because the
    server gives fewer connections than the size allows, only the work that is
    done counts as demand, and growing is refused, except to the size found at
    the beginning.

    As a context manager it calls `release()` at the end.
    """

    unit = "connections"

    def __init__(
        self,
        pool: Any = None,
        *,
        dsn: str | None = None,
        database: str | None = None,
        user: str | None = None,
        config: str | None = None,
        server: str | None = None,
        server_cores: int | None = None,
        min_connections: int = 1,
        max_connections: int = MAX_CONNECTIONS,
        hands_off: float = HANDS_OFF_SECONDS,
        spare_seconds: float = SPARE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.min_size = positive_int("min_connections", min_connections)
        self.max_size = positive_int("max_connections", max_connections)
        if min_connections > max_connections:
            raise ConfigError(
                f"min_connections={min_connections} is above max_connections={max_connections};"
                " swap or widen them"
            )
        for name, seconds in {"hands_off": hands_off, "spare_seconds": spare_seconds}.items():
            if not 0.0 <= seconds < inf:
                raise ConfigError(f"{name}={seconds!r}: seconds, 0 or more")
        if (pool is None) == (dsn is None):
            raise ConfigError("give either pool= or dsn= (PgBouncer's admin console), and not both")
        self._hands_off = hands_off
        self._clock = clock
        self._server = None if server is None else DatabaseSide(server, server_cores, clock)
        if dsn is not None:
            site = client_module("postgres", "pool_pgbouncer")
            self._pool: ResizablePool = site.PgbouncerPool(
                dsn, database=database, user=user, config=config, clock=clock
            )
        else:
            self._pool = adopt(pool, clock)
            if isinstance(self._pool, Releasable) and self._pool is not pool:
                # Whoever forgets release() gets the pool back when the resource is collected.
                weakref.finalize(self, self._pool.release).atexit = False
        self.spare_seconds = spare_seconds
        try:
            self._last = self._pool.reading()
        except BaseException:
            self.release()
            raise
        self._original = self._last.size
        self._ordered = self._last.size  # size as last set here, or as last found
        self._storm = ""  # what is wrong, while growing is refused
        self._trouble = Trouble()
        self._theirs_until = -inf
        self._metrics: dict[str, float] = {}

    def measure_state(self) -> ResourceState:
        """Demand since the previous measurement (at first, since this object was made) over the size.

        Raises
        ------
        SensorError
            The pool, or PgBouncer's console, cannot be asked.
        """
        last, now = self._last, self._pool.reading()
        size = float(max(1, now.size))
        self._notice(now.size)
        elapsed = now.time - last.time
        if not elapsed > 0.0:
            # Too soon for averages: those of the previous measurement stand.
            return ResourceState.from_demand(float(now.busy + now.waiting), size=size)
        self._last = now
        self._storm = self._trouble.observe(last, now)
        completed, failed = done(last, now)
        ended = completed + failed
        busy_seconds = now.busy_seconds - last.busy_seconds
        busy = busy_seconds / elapsed
        self._metrics = figures(last, now, elapsed)
        useful_most = inf
        if self._server is not None:
            told, useful_most = self._server.ask(busy, completed)
            self._metrics |= told
        if self._storm:
            # What is in use now, since places that wait for a connection may be among the average.
            useful = min(last.busy, now.busy, now.alive) * (completed / ended if ended else 1.0)
            return ResourceState.from_demand(float(useful), size=size)
        # Whoever was turned away has asked for as much as those who wait still.
        wanting = float(now.waiting + turned_away(last, now))
        demand = offered_load(busy, wanting, mean_service(busy_seconds, float(completed)), elapsed)
        return ResourceState.from_demand(min(demand, useful_most), size=size)

    def apply_control(self, new_size: int) -> None:
        """Let `new_size` connections be used at once.

        Raises
        ------
        ConfigError
            Not a positive integer.
        SafetyError
            Somebody else has set the size within the last `hands_off` seconds,
            or growing while check-outs fail.
        ActuatorError
            The size was not taken; it is what it was before.
        """
        positive_int("new_size", new_size)
        try:
            self._notice(self._pool.reading().size)
        except SensorError as error:
            raise ActuatorError(f"setting the size to {new_size}: {error}") from error
        left = self._theirs_until - self._clock()
        if left > 0.0 and new_size != self._ordered:
            raise SafetyError(
                f"the size was set to {self._ordered} by somebody else"
                f" and is left alone for another {left:.0f} s"
            )
        if self._storm and new_size > self._ordered and new_size != self._original:
            raise SafetyError(
                f"the size stays at {self._ordered} and does not grow to {new_size}: {self._storm}"
            )
        self._pool.resize(new_size)
        self._ordered = new_size

    def get_metrics(self) -> dict[str, float]:
        """Figures of the last measured interval; none before the first measurement.

        Per second: `throughput`, check-outs (PgBouncer: transactions) ended
        well; `errors`, those that got no connection or gave back a broken one;
        `drops`, those turned away or timed out in line. Means: `wait_seconds`
        of those served and `service_seconds` in use (nan where there was
        none), `busy` in use. At the end: `queue_depth` clients waiting, `held`
        connections open, with those that a shrink has yet to close.
        `set_by_hand`: 1 while a size set by somebody else is left alone. With
        `server` also what `PostgresServer.metrics` has, and
        `useful_size`, the most connections that the server can make use of
        (inf while nothing competes for it).
        """
        return dict(self._metrics) | {"set_by_hand": float(self._theirs_until > self._clock())}

    @property
    def spare_seconds(self) -> float:
        """For how long connections above the size stay open; 0 where the pool closes them at once."""
        return self._pool.spare.seconds if isinstance(self._pool, Sparing) else 0.0

    @spare_seconds.setter
    def spare_seconds(self, seconds: float) -> None:
        if isinstance(self._pool, Sparing):
            self._pool.spare.seconds = seconds

    @property
    def outlives_boot(self) -> bool:
        """Whether what is set here is there still when this machine has started anew."""
        return isinstance(self._pool, Restorable)

    def snapshot(self) -> dict[str, object]:
        """What `restore` needs to put back all that was found; JSON."""
        return self._pool.snapshot() if isinstance(self._pool, Restorable) else {"size": self._original}

    def restore(self, snapshot: Mapping[str, object]) -> None:
        """Put back what was found; of a PgBouncer also what another process has found.

        Raises
        ------
        ActuatorError
            It was not taken.
        """
        size = int(str(snapshot["size"]))
        if isinstance(self._pool, Restorable):
            self._pool.restore(snapshot)
        else:
            self._pool.resize(size)
        self._original = self._ordered = size
        self._theirs_until = -inf

    def release(self) -> None:
        """Give the pool back as it was found; end sessions of this object's own."""
        if isinstance(self._pool, Releasable):
            self._pool.release()
        if self._server is not None:
            self._server.close()

    def _notice(self, size: int) -> None:
        """Notice a size that was not set here; a reload or restart brings the original back."""
        if size == self._ordered:
            return
        ordered, self._ordered = self._ordered, size
        if size == self._original:
            _log.warning("the pool fell back from %d to its original size %d; steering on", ordered, size)
            return
        self._theirs_until = self._clock() + self._hands_off
        _log.warning(
            "the size was changed from %d to %d by somebody else; left alone for %g s",
            ordered,
            size,
            self._hands_off,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def __repr__(self) -> str:
        return f"<ConnectionPoolResource of a {type(self._pool).__name__}, {self._ordered} connections>"
