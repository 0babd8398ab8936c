"""The server's side of a pool of connections to PostgreSQL."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from quantum_control.core.errors import SensorError
from quantum_control.resources.libpq import Session, SessionError

COMPETING = ("Lock", "LWLock", "BufferPin")
"""Kinds of waits that are for other sessions; the others are for disks, clients, timers."""

_FIGURES = f"""
SELECT connections, competing,
       current_setting('max_connections')::int
           - current_setting('superuser_reserved_connections')::int
           - coalesce(current_setting('reserved_connections', true)::int, 0) AS limit,
       pg_stat_get_db_xact_commit(here) + pg_stat_get_db_xact_rollback(here) AS transactions,
       {{active}} AS active_ms
  FROM (SELECT count(*) FILTER (WHERE backend_type = 'client backend') AS connections,
               count(*) FILTER (WHERE backend_type = 'client backend' AND state = 'active'
                   AND pid <> pg_backend_pid()
                   AND coalesce(wait_event_type IN {COMPETING}, true)) AS competing,
               max(datid) FILTER (WHERE pid = pg_backend_pid()) AS here
          FROM pg_stat_get_activity(NULL)) AS sessions
"""  # noqa: S608 - constants of ours
"""The functions behind the views `pg_stat_activity` and `pg_stat_database`: to plan their joins with names,
which are not needed, takes the server longer than all the rest."""

ACTIVE_TIME_SINCE = 140000
"""Server version from which on a database has `active_time`."""


class PostgresServer:
    """Throughput, statement time and connections as PostgreSQL itself counts them.

    Parameters
    ----------
    dsn
        The database that the pool connects to: a libpq connection string. Any
        user may read these figures, except that what sessions of other users
        do is seen by members of `pg_monitor` only.
    cores
        Processors of the server; None takes those of this machine for a server on it.
    clock
        Any callable that returns seconds and does not run backwards.

    Raises
    ------
    ConfigError
        The connection string cannot be read.
    """

    def __init__(
        self, dsn: str, *, cores: int | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._session = Session(dsn)
        self.cores = cores if cores is not None or not self._session.local else os.cpu_count()
        """Processors of the server; None if not known."""
        self._clock = clock
        self._statement = ""
        self._last: tuple[float, int, float] | None = None

    def connection_limit(self) -> int:
        """`max_connections` less those reserved: what a budget may hand out.

        Reserved are those for superusers, and from PostgreSQL 16 on those for
        members of `pg_use_reserved_connections`.

        Raises
        ------
        SensorError
            The server cannot be asked.
        """
        return int(self._figures()["limit"] or 0)

    def metrics(self) -> dict[str, float]:
        """Figures since the call before.

        `server_connections`, `server_connection_limit`: client connections
        there, of all who use the server, and how many there may be.
        `server_competing`: sessions that run, or wait for a lock of another, now.
        `server_throughput`: transactions per second in this database.
        `server_statement_seconds`: time spent in statements per transaction
        (PostgreSQL 14 and later). A backend reports at most once a second.

        Raises
        ------
        SensorError
            The server cannot be asked.
        """
        row = self._figures()
        now, transactions = self._clock(), int(row["transactions"] or 0)
        active = float(row["active_ms"] or "nan") / 1000.0
        figures = {
            "server_connections": float(row["connections"] or 0),
            "server_connection_limit": float(row["limit"] or 0),
            "server_competing": float(row["competing"] or 0),
        }
        last, self._last = self._last, (now, transactions, active)
        if last is not None and now > last[0] and transactions >= last[1]:
            done = transactions - last[1]
            figures["server_throughput"] = done / (now - last[0])
            if done and active == active:
                figures["server_statement_seconds"] = max(0.0, active - last[2]) / done
        return figures

    def close(self) -> None:
        """End the session; the next question opens another."""
        self._session.close()

    def _figures(self) -> dict[str, str | None]:
        try:
            if not self._statement:
                version = self._session.query("SELECT current_setting('server_version_num')::int AS version")
                recent = int(version[0]["version"] or 0) >= ACTIVE_TIME_SINCE
                self._statement = _FIGURES.format(
                    active="pg_stat_get_db_active_time(here)" if recent else "NULL::float8"
                )
            return self._session.query(self._statement)[0]
        except (SessionError, LookupError) as error:
            raise SensorError(f"the server's own figures: {error}") from None
