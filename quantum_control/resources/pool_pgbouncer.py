"""PgBouncer: its pool size, steered through the admin console."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from quantum_control.core.errors import ConfigError, QuantumControlError, SensorError
from quantum_control.resources.libpq import Session, SessionError
from quantum_control.resources.pgbouncer_entry import EntrySize
from quantum_control.resources.pgbouncer_size import (
    ADMIN_DATABASE,
    Console,
    DefaultSize,
    PoolSize,
    Row,
    number,
)
from quantum_control.resources.reading import PoolReading

_log = logging.getLogger("quantum_control")

STUBBORN = 2
"""Measurements with more servers than the size after which they are told to reconnect: PgBouncer
by itself drops surplus ones only when they are idle, which under load they never are."""

POOL_COLUMNS = ("database", "user", "cl_active", "cl_waiting", "sv_active", "sv_idle", "sv_used", "sv_tested")
STATS_COLUMNS = ("database", "total_xact_count", "total_xact_time", "total_wait_time")


@dataclass(frozen=True, slots=True)
class _Sample:
    """The steered pools: the fullest, and what all that have the size hold."""

    active: int
    waiting: int
    servers: int
    pools: int
    held: int
    transactions: int
    transaction_seconds: float
    wait_seconds: float


class PgbouncerPool:
    """The pool size of a PgBouncer, and a reading of the pools that it applies to.

    PgBouncer keeps a pool for each pair of database and user; the size is what
    each of them may have. Where several are steered the fullest one counts, as
    it is the one that the size is too small for; what all of them hold is told
    as well, for a budget.

    Parameters
    ----------
    dsn
        The admin console: a libpq connection string whose database is
        `pgbouncer`. The user has to be among `admin_users`.
    database, user
        Which pools to look at; None is any. `SET default_pool_size` applies
        to every pool without a `pool_size` of its own, looked at or not. A
        size of a user's own PgBouncer has from 1.24 on only, in its file.
    config
        Path of PgBouncer's configuration file: steers the `pool_size` of the
        `database` in there in place of the default (see `EntrySize`).
    clock
        Any callable that returns seconds and does not run backwards.

    Raises
    ------
    ConfigError
        Not an admin console, the database has a `pool_size` of its own and no
        `config` is given, or that file has no such database.
    SensorError
        The console cannot be reached or is of an unknown version.
    """

    def __init__(
        self,
        dsn: str,
        *,
        database: str | None = None,
        user: str | None = None,
        config: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if config is not None and database is None:
            raise ConfigError("config= needs database=: whose entry in that file is to be steered")
        self._session = Session(dsn)
        self._console = Console(self._session)
        self._database = database
        self._user = user
        self._clock = clock
        # Sizes that may be in force by orders from here; who only looks takes nothing away.
        self._ours: set[int] = set()
        self._stubborn = 0
        self._transactions = 0
        self._busy_seconds = 0.0
        self._wait_seconds = 0.0
        self._last: _Sample | None = None
        self._read_at = clock()
        try:
            self._check_console()
            self._size: PoolSize = (
                DefaultSize(self._console, database)
                if config is None or database is None
                else EntrySize(self._console, database, config)
            )
            self.found = self._size.read()
            """Size as found."""
        except BaseException:
            self._session.close()
            raise

    def reading(self) -> PoolReading:
        """Measure now.

        Raises
        ------
        SensorError
            The console does not answer, or not in the way that is known.
        """
        size = self._size.read()
        sample = self._sample()
        now = self._clock()
        self._count(sample, now - self._read_at, size)
        self._read_at = now
        self._insist(sample, size)
        return PoolReading(
            time=now,
            size=size,
            alive=sample.servers,
            busy=sample.active,
            waiting=sample.waiting,
            submitted=self._transactions + sample.active + sample.waiting,
            started=self._transactions + sample.active,
            completed=self._transactions,
            failed=0,
            busy_seconds=self._busy_seconds,
            wait_seconds=self._wait_seconds,
            service_seconds=self._busy_seconds,
            pools=sample.pools,
            held=sample.held,
        )

    def resize(self, size: int, /) -> None:
        """Set the size and read it back.

        Raises
        ------
        ActuatorError
            The console is gone or read-only, or did not take the size.
        """
        self._ours.add(int(size))
        self._stubborn = 0
        self._size.write(int(size))
        self._ours = {int(size)}

    def snapshot(self) -> dict[str, object]:
        """What `restore` needs to put back what was found, from another process too."""
        return self._size.snapshot()

    def restore(self, snapshot: Mapping[str, object]) -> None:
        """Put back what was found.

        Raises
        ------
        ActuatorError
            The console is gone or read-only, or did not take it.
        """
        self._size.restore(snapshot)
        self._ours = set()

    def release(self) -> None:
        """Restore the size found, unless somebody else has set another, and end the session."""
        try:
            if self._ours and self._size.read() in self._ours - {self.found}:
                self._size.write(self.found)
        except QuantumControlError as error:
            _log.warning("PgBouncer's pool size was not restored to %d: %s", self.found, error)
        self._ours = set()
        self._session.close()

    def _count(self, sample: _Sample, elapsed: float, size: int) -> None:
        """Add what has happened since the last reading; a restarted PgBouncer counts from zero."""
        last = self._last
        self._last = sample
        if last is None or sample.transactions < last.transactions:
            return
        done = sample.transactions - last.transactions
        self._transactions += done
        self._wait_seconds += max(0.0, sample.wait_seconds - last.wait_seconds)
        # Transaction time is booked when a transaction ends: long ones are missed while they run (both
        # samples see them) and then come all at once, more than the servers can have worked.
        busy = max(
            sample.transaction_seconds - last.transaction_seconds, min(sample.active, last.active) * elapsed
        )
        self._busy_seconds += min(busy, max(size, sample.servers, last.servers) * elapsed)

    def _insist(self, sample: _Sample, size: int) -> None:
        """Take surplus servers away at the end of their transaction if they do not go by themselves."""
        if sample.servers <= size or not self._ours:
            self._stubborn = 0
            return
        self._stubborn += 1
        if self._stubborn > STUBBORN:
            self._stubborn = 0
            database = f' "{self._database}"' if self._database else ""
            self._console.ask(f"RECONNECT{database}")

    def _sample(self) -> _Sample:
        rows = self._console.rows("SHOW POOLS", POOL_COLUMNS)
        reached = self._size.databases()
        # The size is that of each of them, whichever are looked at.
        held = [_servers(row) for row in rows if row["database"] in reached]
        pools = [row for row in rows if self._steered(row)]
        stats = [row for row in self._console.rows("SHOW STATS", STATS_COLUMNS) if self._steered(row)]
        fullest = max(
            pools, key=lambda row: number(row, "sv_active") + number(row, "cl_waiting"), default=None
        )
        return _Sample(
            active=number(fullest, "sv_active") if fullest else 0,
            waiting=number(fullest, "cl_waiting") if fullest else 0,
            servers=max(map(_servers, pools), default=0),
            pools=max(1, len(held)),
            held=sum(held),
            transactions=sum(number(row, "total_xact_count") for row in stats),
            transaction_seconds=sum(number(row, "total_xact_time") for row in stats) / 1e6,
            wait_seconds=sum(number(row, "total_wait_time") for row in stats) / 1e6,
        )

    def _steered(self, row: Row) -> bool:
        if row["database"] == ADMIN_DATABASE:
            return False
        if self._database not in (None, row["database"]):
            return False
        return self._user in (None, row.get("user", self._user))

    def _check_console(self) -> None:
        try:
            self._session.query("SHOW CONFIG")
        except SessionError as error:
            if not error.refused:
                raise SensorError(f"PgBouncer's admin console: {error}") from None
            raise ConfigError(
                f"{error}. dsn= has to lead to PgBouncer's admin console (dbname={ADMIN_DATABASE}), as one of"
                " its admin_users; for an application's own pool give pool= instead"
            ) from None


def _servers(row: Row) -> int:
    """Connections of a pool to its server."""
    return sum(number(row, name) for name in ("sv_active", "sv_idle", "sv_used", "sv_tested"))
