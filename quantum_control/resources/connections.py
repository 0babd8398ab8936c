"""Connection pools as resources: how many connections may be used at once."""

from __future__ import annotations

import logging
import time
import weakref
from collections.abc import Callable, Mapping
from functools import partial
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
from quantum_control.resources.pool_custody import PoolCustody, quietly
from quantum_control.resources.reading import ResizablePool, positive_int
from quantum_control.resources.setting_custody import HANDS_OFF_SECONDS
from quantum_control.resources.spare import SPARE_SECONDS

_log = logging.getLogger("quantum_control")

MAX_CONNECTIONS = 97
"""Bound where none is given: PostgreSQL's own default `max_connections` of 100, less the 3 that it
reserves for superusers."""


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
        Processors of that server; None: those of this machine if its address tells that it is on it.
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

    As a context manager it calls `release()` at the end. Whoever forgets that gets
    the pool back when this is collected and, with `dsn`, when the process ends.
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
        self._server = None if server is None else DatabaseSide(server, server_cores, clock)
        if dsn is not None:
            site = client_module("postgres", "pool_pgbouncer")
            console = site.PgbouncerPool(dsn, database=database, user=user, config=config, clock=clock)
            self._pool: ResizablePool = console
            self._adopted: Releasable | None = console
            weakref.finalize(self, quietly, console.end)
        else:
            self._pool = adopt(pool, clock)
            # What a pool of the user's own calls `release` may be to give back one of its connections.
            self._adopted = None
            if isinstance(self._pool, Releasable) and self._pool is not pool:
                self._adopted = self._pool
                weakref.finalize(self, quietly, self._pool.release).atexit = False  # it ends with the process
        self.spare_seconds = spare_seconds
        try:
            self._last = self._pool.reading()
        except BaseException:
            if self._adopted is not None:
                self.release()
            raise
        self._custody = PoolCustody(self._last.size, hands_off, clock)
        self._released = False
        self._storm = ""  # what is wrong, while growing is refused
        self._trouble = Trouble()
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
        self._custody.notice(now.size)
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
            The size was not taken; it is what it was before. Or a pool of this process was released.
        """
        positive_int("new_size", new_size)
        custody = self._custody
        self._look(doing := f"setting the size to {new_size}")
        if self._released:
            if new_size == custody.ordered:  # a controller that ends late puts back what is back
                return
            raise ActuatorError(f"{doing}: the pool was given back by release()")
        custody.check(new_size)
        if self._storm and new_size > custody.ordered and new_size != custody.original:
            raise SafetyError(
                f"the size stays at {custody.ordered} and does not grow to {new_size}: {self._storm}"
            )
        custody.order(new_size, partial(self._pool.resize, new_size))

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
        return dict(self._metrics) | {"set_by_hand": float(self._custody.left_alone)}

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
        if isinstance(self._pool, Restorable):
            return self._pool.snapshot()
        return {"size": self._custody.original}

    def restore(self, snapshot: Mapping[str, object]) -> None:
        """Put back what was found, of a PgBouncer also by another process; what somebody else has set stays.

        Raises
        ------
        ActuatorError
            It was not taken.
        """
        size = int(str(snapshot["size"]))
        self._look(f"putting the size {size} back")
        if self._custody.theirs:
            _log.warning("the size %d, set by somebody else, stays", self._custody.ordered)
            return
        pool = self._pool
        if isinstance(pool, Restorable):
            self._custody.put_back(size, partial(pool.restore, snapshot))
        else:
            self._custody.put_back(size, partial(pool.resize, size))

    def release(self) -> None:
        """Give the pool back as it was found, unless somebody else has set a size; end own sessions.

        Raises
        ------
        ActuatorError
            A PgBouncer, or a pool of your own, did not take the size that was found; calling again tries
            again.
        """
        try:
            if self._adopted is not None:
                self._adopted.release()
            elif self._custody.changed:
                self.restore(self.snapshot())
            self._released = not self.outlives_boot  # a PgBouncer may be set and put back again
        finally:
            if self._server is not None:
                self._server.close()

    def _look(self, doing: str) -> None:
        """See what size is in force before it is changed."""
        try:
            self._custody.notice(self._pool.reading().size)
        except SensorError as error:
            raise ActuatorError(f"{doing}: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def __repr__(self) -> str:
        size = self._custody.ordered
        return f"<ConnectionPoolResource of a {type(self._pool).__name__}, {size} connections>"
