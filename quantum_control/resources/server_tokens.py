"""A budget of connections across processes: one advisory lock of the shared PostgreSQL for each connection.

Who holds a lock may have a connection; no lock is held twice, so that the sum
cannot pass their number. They belong to a session: whoever dies, by kill -9
too, gives his back at that moment. What each process needs is published by
further locks, which everybody may share and whose *number* is the figure, and
everybody works out the same shares from them (`core.waterfilling`). Nothing
is written to any table, and no privilege is needed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from zlib import crc32

from quantum_control.core.errors import ActuatorError, ConfigError
from quantum_control.core.waterfilling import water_fill
from quantum_control.resources.libpq import Session, SessionError
from quantum_control.resources.server_postgres import PostgresServer

_log = logging.getLogger("quantum_control")

PATIENCE = 10.0
"""Seconds that a newcomer waits for the others to give up what is his due: some of their intervals."""

PAUSE = 0.1
"""Seconds between two looks meanwhile."""

TOKEN, WANTED, FLOOR, WEIGHT = range(4)
"""Kinds of locks, added to the key of the budget; the token 0 is held by who is about to join."""

GRAIN = 1000.0
"""A weight is published in thousandths."""

_LOCKS = """
SELECT pid, pid = pg_backend_pid() AS own, classid::bigint - {key} AS kind, objid::bigint AS number
  FROM pg_locks
 WHERE locktype = 'advisory' AND objsubid = 2 AND granted
   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND classid::bigint BETWEEN {key} AND {key} + 3
"""


@dataclass(slots=True)
class _Member:
    """One process, as its locks tell."""

    tokens: list[int] = field(default_factory=list)
    wanted: int = 0
    floor: int = 0
    weight: float = 0.0
    """0 until it is published: it does not take part yet."""


class ServerTokens:
    """What this process may have of a PostgreSQL's connections; for `core.budget.Budget`.

    Costs one connection of its own, which is counted.

    Parameters
    ----------
    dsn
        The server, by the same database in every process: locks are a database's own. Not through a
        PgBouncer in transaction mode, whose sessions are anybody's.
    reserve
        Connections that are left to others; the same in every process.
    weight
        Part of this process in a shortage, relative to the others'. From 0.001 to 1000.
    name
        Of the budget, where a server has several.
    patience
        Seconds that a newcomer waits for the others to give up what is his due.

    Raises
    ------
    ConfigError
        A parameter is wrong, or nothing is left to share.
    SensorError
        The server cannot be reached.
    """

    def __init__(
        self,
        dsn: str,
        *,
        reserve: int = 0,
        weight: float = 1.0,
        name: str = "quantum_control",
        patience: float = PATIENCE,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        if not 1.0 / GRAIN <= weight <= GRAIN:
            raise ConfigError(f"weight={weight!r}: from 0.001 to 1000")
        if reserve < 0:
            raise ConfigError(f"reserve={reserve!r}: a whole number, 0 or more")
        server = PostgresServer(dsn)
        try:
            self._tokens = server.connection_limit() - reserve
        finally:
            server.close()
        if self._tokens < 2:
            raise ConfigError(
                f"of {self._tokens + reserve} connections a reserve of {reserve} leaves nothing to share:"
                " one goes to this budget itself"
            )
        self.capacity = self._tokens - 1
        """The most that this process could ever have. As size."""
        self._session = Session(dsn)
        self._weight = round(weight * GRAIN)
        self._key = crc32(name.encode()) & 0x7FFFFFF0
        self._patience = patience
        self._clock = clock
        self._sleep = sleep
        self._floor = -1  # as last agreed; -1 before this process takes part
        self._told = False  # whether a loss of contact was logged

    def claim(self, wanted: int, floor: int, held: int) -> int:
        """Say what this process needs and holds; answers what it may hold now, at least `floor`.

        Where the server cannot be asked that is what it holds: without contact nobody grows.

        Raises
        ------
        ConfigError
            The floors of all processes do not fit in; nothing has changed for the others.
        ActuatorError
            The others have not given up enough for a floor that is higher than before.
        """
        try:
            if floor > self._floor:
                self._join(floor)
            may = self._settle(wanted, floor, held)
        except SessionError as error:
            if self._floor < 0:
                raise ActuatorError(f"budget: {error}") from None
            if not self._told:
                self._told = True
                _log.warning("budget: nothing grows until the server answers again: %s", error)
            return max(floor, held)
        self._floor, self._told = floor, False
        return may

    def close(self) -> None:
        """Give everything back; for when the connections are closed."""
        self._floor = -1
        self._session.close()

    def _join(self, floor: int) -> None:
        """Publish a higher floor once it is known to fit, one process at a time, and wait for its tokens."""
        deadline = self._clock() + self._patience
        while self._ask(f"SELECT pg_try_advisory_lock({self._key}, 0) AS got")[0]["got"] != "t":
            self._wait(deadline, "another process is about to join")
        members, mine = self._look()
        before = mine.wanted, mine.floor
        try:
            self._check_floors(floor + 1, [one.floor for one in members.values() if one is not mine])
            self._publish(mine, max(mine.wanted, floor + 1), floor + 1)
            while (missing := floor + 1 - len(mine.tokens)) > 0:
                if not self._take(members, missing):
                    self._wait(deadline, "the others hold more than their due and do not give it up")
                members, mine = self._look()
        except BaseException:
            if self._floor < 0:
                self._session.close()  # and with it all that was published and taken
            else:
                self._publish(mine, *before)
                self._ask(f"SELECT pg_advisory_unlock({self._key}, 0)")
            raise
        self._ask(f"SELECT pg_advisory_unlock({self._key}, 0)")

    def _check_floors(self, floor: int, others: list[int]) -> None:
        if floor + sum(others) > self._tokens:
            raise ConfigError(
                f"budget: a floor of {floor} (one for the budget itself) does not fit into {self._tokens},"
                f" of which {sum(others)} are the floors of other processes; lower min_connections or the"
                " reserve"
            )

    def _settle(self, wanted: int, floor: int, held: int) -> int:
        members, mine = self._look()
        self._publish(mine, wanted + 1, floor + 1)
        rows = list(members.values())
        due = water_fill(
            max(self._tokens, sum(one.floor for one in rows)),
            [one.wanted for one in rows],
            [one.floor for one in rows],
            [one.weight for one in rows],
        )[rows.index(mine)]
        target = max(due, held + 1)
        have = len(mine.tokens)
        if have < target:
            have += self._take(members, target - have)
        for token in mine.tokens[target:]:
            self._ask(f"SELECT pg_advisory_unlock({self._key}, {token})")
        return max(floor, min(due, have) - 1)

    def _look(self) -> tuple[dict[int, _Member], _Member]:
        """Members by the pid of their session, in that order, and this process among them."""
        found: dict[int, _Member] = {}
        own = _Member()
        for row in self._ask(_LOCKS.format(key=self._key)):
            pid, kind, number = (int(row[name] or 0) for name in ("pid", "kind", "number"))
            member = found.setdefault(pid, own if row["own"] == "t" else _Member())
            if kind == TOKEN and number:
                member.tokens.append(number)
            elif kind == WANTED:  # while one changes both may be there
                member.wanted = max(member.wanted, number)
            elif kind == FLOOR:
                member.floor = max(member.floor, number)
            elif kind == WEIGHT:
                member.weight = number / GRAIN
        ordered = {pid: found[pid] for pid in sorted(found) if found[pid].weight or found[pid] is own}
        if own not in ordered.values():
            ordered[0] = own
        return ordered, own

    def _publish(self, mine: _Member, wanted: int, floor: int) -> None:
        """Let the others know; `mine` is what they know so far."""
        for kind, old, new in (
            (WANTED, mine.wanted, wanted),
            (FLOOR, mine.floor, floor),
            (WEIGHT, round(mine.weight * GRAIN), self._weight),
        ):
            if old != new:
                key = self._key + kind
                self._ask(f"SELECT pg_try_advisory_lock_shared({key}, {new})")
                if old:
                    self._ask(f"SELECT pg_advisory_unlock_shared({key}, {old})")
        mine.wanted, mine.floor, mine.weight = wanted, floor, self._weight / GRAIN

    def _take(self, members: dict[int, _Member], count: int) -> int:
        """Take up to `count` free tokens; answers how many."""
        taken = {token for member in members.values() for token in member.tokens}
        free = [token for token in range(1, self._tokens + 1) if token not in taken][:count]
        if not free:
            return 0
        tries = f"SELECT pg_try_advisory_lock({self._key}, n) AS got FROM unnest(ARRAY{free}) AS n"  # noqa: S608 - numbers
        return sum(row["got"] == "t" for row in self._ask(tries))

    def _wait(self, deadline: float, why: str) -> None:
        if self._clock() > deadline:
            raise ActuatorError(f"budget: no share within {self._patience:g} s: {why}; try again")
        self._sleep(PAUSE)

    def _ask(self, statement: str) -> list[dict[str, str | None]]:
        return self._session.query(statement)

    def __repr__(self) -> str:
        return f"<ServerTokens: {self._tokens} of {self._session.where}>"
