"""PgBouncer: its pool size, steered through the admin console."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from quantum_control.core.errors import ActuatorError, ConfigError, SensorError
from quantum_control.resources.libpq import Session, SessionError
from quantum_control.resources.reading import PoolReading

_log = logging.getLogger("quantum_control")

ADMIN_DATABASE = "pgbouncer"

STUBBORN = 2
"""Measurements with more servers than the size after which they are told to reconnect: PgBouncer
by itself drops surplus ones only when they are idle, which under load they never are."""

POOL_COLUMNS = ("database", "user", "cl_active", "cl_waiting", "sv_active", "sv_idle", "sv_used", "sv_tested")
STATS_COLUMNS = ("database", "total_xact_count", "total_xact_time", "total_wait_time")

Row = dict[str, str | None]


@dataclass(frozen=True, slots=True)
class _Sample:
    """The steered pools, added up."""

    active: int
    waiting: int
    servers: int
    transactions: int
    transaction_seconds: float
    wait_seconds: float


class PgbouncerPool:
    """`default_pool_size` of a PgBouncer, and a reading of the pools that it applies to.

    PgBouncer keeps a pool for each pair of database and user; the size is what
    each of them may have. Where several are steered the fullest one counts, as
    it is the one that the size is too small for.

    Parameters
    ----------
    dsn
        The admin console: a libpq connection string whose database is
        `pgbouncer`. The user has to be among `admin_users`.
    database, user
        Which pools to look at; None is any. `SET default_pool_size` applies
        to every pool without a `pool_size` of its own, looked at or not.
    clock
        Any callable that returns seconds and does not run backwards.

    Raises
    ------
    ConfigError
        Not an admin console, or the database has a `pool_size` of its own.
    SensorError
        The console cannot be reached or is of an unknown version.
    """

    def __init__(
        self,
        dsn: str,
        *,
        database: str | None = None,
        user: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._session = Session(dsn)
        self._database = database
        self._user = user
        self._clock = clock
        self._ordered: int | None = None  # size as last set here; who only looks takes nothing away
        self._stubborn = 0
        self._transactions = 0
        self._busy_seconds = 0.0
        self._wait_seconds = 0.0
        self._last: _Sample | None = None
        self._read_at = clock()
        try:
            self._check_console()
            self._check_database()
            self.found = self._configured()
            """`default_pool_size` as found."""
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
        size = self._configured()
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
        )

    def resize(self, size: int, /) -> None:
        """Set `default_pool_size` and read it back.

        Raises
        ------
        ActuatorError
            The console is gone or read-only, or did not take the size.
        """
        try:
            self._session.query(f"SET default_pool_size = {int(size)}")
        except SessionError as error:
            hint = "; the user has to be among PgBouncer's admin_users" if error.refused else ""
            raise ActuatorError(f"setting PgBouncer's pool size to {size}: {error}{hint}") from None
        self._ordered = size
        self._stubborn = 0
        try:
            taken = self._configured()
        except SensorError as error:
            raise ActuatorError(f"the pool size {size} was sent but cannot be read back: {error}") from None
        if taken != size:
            raise ActuatorError(
                f"PgBouncer answered SET default_pool_size = {size} but has {taken}; is another program"
                " setting it?"
            )

    def release(self) -> None:
        """Restore the size found, unless somebody else has set another, and end the session."""
        try:
            if self._ordered is not None and self._configured() == self._ordered != self.found:
                self.resize(self.found)
        except (ActuatorError, SensorError) as error:
            _log.warning("PgBouncer's pool size was not restored to %d: %s", self.found, error)
        self._ordered = None
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
        if sample.servers <= size or self._ordered is None:
            self._stubborn = 0
            return
        self._stubborn += 1
        if self._stubborn > STUBBORN:
            self._stubborn = 0
            database = f' "{self._database}"' if self._database else ""
            self._ask(f"RECONNECT{database}")

    def _sample(self) -> _Sample:
        pools = [row for row in self._rows("SHOW POOLS", POOL_COLUMNS) if self._steered(row)]
        stats = [row for row in self._rows("SHOW STATS", STATS_COLUMNS) if self._steered(row)]
        fullest = max(pools, key=lambda row: _int(row, "sv_active") + _int(row, "cl_waiting"), default=None)
        servers = ("sv_active", "sv_idle", "sv_used", "sv_tested")
        return _Sample(
            active=_int(fullest, "sv_active") if fullest else 0,
            waiting=_int(fullest, "cl_waiting") if fullest else 0,
            servers=max((sum(_int(row, name) for name in servers) for row in pools), default=0),
            transactions=sum(_int(row, "total_xact_count") for row in stats),
            transaction_seconds=sum(_int(row, "total_xact_time") for row in stats) / 1e6,
            wait_seconds=sum(_int(row, "total_wait_time") for row in stats) / 1e6,
        )

    def _steered(self, row: Row) -> bool:
        if row["database"] == ADMIN_DATABASE:
            return False
        if self._database not in (None, row["database"]):
            return False
        return self._user in (None, row.get("user", self._user))

    def _configured(self) -> int:
        for row in self._rows("SHOW CONFIG", ("key", "value")):
            if row["key"] == "default_pool_size":
                return _int(row, "value")
        raise self._unknown("SHOW CONFIG has no default_pool_size")

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

    def _check_database(self) -> None:
        known = self._rows("SHOW DATABASES", ("name", "pool_size"))
        if self._database is None:
            return
        for row in known:
            if row["name"] == self._database:
                default = self._configured()
                if row["pool_size"] not in (None, str(default)):
                    raise ConfigError(
                        f"database {self._database!r} has pool_size={row['pool_size']} of its own in"
                        " PgBouncer's configuration, which default_pool_size does not reach;"
                        " remove it there and RELOAD"
                    )
                return
        names = ", ".join(str(row["name"]) for row in known if row["name"] != ADMIN_DATABASE)
        raise ConfigError(f"PgBouncer knows no database {self._database!r}; it has: {names or 'none'}")

    def _rows(self, statement: str, columns: tuple[str, ...]) -> list[Row]:
        rows = self._ask(statement)
        missing = [name for name in columns if rows and name not in rows[0]]
        if missing:
            raise self._unknown(f"{statement} has no {', '.join(missing)}")
        return rows

    def _ask(self, statement: str) -> list[Row]:
        try:
            return self._session.query(statement)
        except SessionError as error:
            raise SensorError(f"PgBouncer's admin console: {error}") from None

    def _unknown(self, what: str) -> SensorError:
        try:
            answer = self._session.query("SHOW VERSION")
            version = next(iter(answer[0].values())) if answer else None
        except SessionError:
            version = None
        return SensorError(
            f"{what} at {self._session.where}, which calls itself {version}; 1.8 to 1.25 are known here"
        )


def _int(row: Row, name: str) -> int:
    value = row[name]
    try:
        return int(value or 0)
    except ValueError:
        raise SensorError(f"PgBouncer's admin console: {name} is {value!r}, not a number") from None
