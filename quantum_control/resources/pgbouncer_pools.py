"""What each of PgBouncer's pools did between two looks at its console."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from quantum_control.resources.pgbouncer_size import Row, number

POOL_COLUMNS = ("database", "user", "cl_active", "cl_waiting", "sv_active", "sv_idle", "sv_used", "sv_tested")
STATS_COLUMNS = ("database", "total_xact_count", "total_xact_time", "total_wait_time")

Key = tuple[str, str]
"""Database and user: PgBouncer has a pool for each pair."""


@dataclass(frozen=True, slots=True)
class Pool:
    """One pool, now."""

    active: int = 0
    """Connections to the server in use."""
    waiting: int = 0
    """Clients that wait for one."""
    servers: int = 0
    """Connections to the server, in use or not."""


@dataclass(frozen=True, slots=True)
class Totals:
    """What PgBouncer has counted for a database, all its users together."""

    transactions: int
    seconds: float
    wait_seconds: float


@dataclass(frozen=True, slots=True)
class Work:
    """What one pool did in an interval; the transactions, too, may be a part of those counted."""

    transactions: float = 0.0
    busy_seconds: float = 0.0
    wait_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Look:
    """The pools of the databases that have a size, and what was counted for these."""

    time: float
    """Seconds."""
    size: int
    """Connections that each pool may have."""
    pools: dict[Key, Pool]
    totals: dict[str, Totals]

    @staticmethod
    def of(time: float, size: int, databases: Iterable[str], pools: list[Row], stats: list[Row]) -> Look:
        """Make one of the answers to `SHOW POOLS` and `SHOW STATS`.

        Raises
        ------
        SensorError
            A number is none.
        """
        known = frozenset(databases)
        rows = [row for row in pools if row["database"] in known]
        return Look(
            time,
            size,
            {(str(row["database"]), str(row["user"])): _pool(row) for row in rows},
            {str(row["database"]): _totals(row) for row in stats if row["database"] in known},
        )

    def since(self, last: Look, key: Key) -> Work:
        """What a pool did since the last look; nothing where PgBouncer counts from zero again.

        Transaction time is booked when a transaction ends: long ones are
        missed while they run (both looks see them in use) and then come all at
        once, more than the servers can have worked.
        """
        before, after = last.totals.get(key[0]), self.totals.get(key[0])
        if before is None or after is None or after.transactions < before.transactions:
            return Work()
        elapsed = self.time - last.time
        now, then = self.pools[key], last.pools.get(key, Pool())
        share = self._share(last, key)
        busy = max(share * (after.seconds - before.seconds), min(now.active, then.active) * elapsed)
        return Work(
            share * (after.transactions - before.transactions),
            min(busy, max(self.size, now.servers, then.servers) * elapsed),
            share * max(0.0, after.wait_seconds - before.wait_seconds),
        )

    def _share(self, last: Look, key: Key) -> float:
        """Part of its database's work that is the pool's, which PgBouncer does not count by user.

        By the connections in use at both looks. Where none was in use there is
        so little work that it may be taken for that of one pool.
        """
        seen = {
            each: pool.active + last.pools.get(each, Pool()).active
            for each, pool in self.pools.items()
            if each[0] == key[0]
        }
        total = sum(seen.values())
        return seen[key] / total if total else 1.0


def _pool(row: Row) -> Pool:
    servers = sum(number(row, name) for name in ("sv_active", "sv_idle", "sv_used", "sv_tested"))
    return Pool(number(row, "sv_active"), number(row, "cl_waiting"), servers)


def _totals(row: Row) -> Totals:
    return Totals(
        number(row, "total_xact_count"),
        number(row, "total_xact_time") / 1e6,
        number(row, "total_wait_time") / 1e6,
    )
