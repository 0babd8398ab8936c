"""PgBouncer: its pool size, steered through the admin console."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping

from quantum_control.core.errors import ActuatorError, ConfigError, QuantumControlError, SensorError
from quantum_control.core.forked import Owner
from quantum_control.resources.libpq import Session, SessionError
from quantum_control.resources.pgbouncer_entry import EntrySize
from quantum_control.resources.pgbouncer_pools import POOL_COLUMNS, STATS_COLUMNS, Key, Look, Pool, Work
from quantum_control.resources.pgbouncer_size import ADMIN_DATABASE, Console, DefaultSize, PoolSize
from quantum_control.resources.reading import PoolReading

STUBBORN = 2
"""Measurements with more servers than the size after which they are told to reconnect: PgBouncer
by itself drops surplus ones only when they are idle, which under load they never are."""


class PgbouncerPool:
    """The pool size of a PgBouncer, and a reading of the pools that it applies to.

    PgBouncer keeps a pool for each pair of database and user; the size is what
    each of them may have. Where several are looked at the fullest one counts, as
    it is the one that the size is too small for: all figures are those of that
    pool. What all of them hold is told as well, for a budget.

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
        self._owner = Owner()
        self._turn = (
            threading.Lock()
        )  # held while the size is changed, since `end` comes on a thread of its own
        self._ended = False
        self._stubborn = 0
        self._reconnected = False  # whether it was ordered since the size was set
        self._transactions = 0.0
        self._busy_seconds = 0.0
        self._wait_seconds = 0.0
        self._last: Look | None = None
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
        reserves = self._size.databases(size)
        pools = self._console.rows("SHOW POOLS", POOL_COLUMNS)
        stats = self._console.rows("SHOW STATS", STATS_COLUMNS)
        look = Look.of(self._clock(), size, reserves, pools, stats)
        key, work = self._fullest(look)
        fullest = look.pools.get(key, Pool())
        self._last = look
        self._transactions += work.transactions
        self._busy_seconds += work.busy_seconds
        self._wait_seconds += work.wait_seconds
        self._insist(look, reserves)
        done = int(self._transactions)
        return PoolReading(
            time=look.time,
            size=size,
            alive=fullest.servers,
            busy=fullest.active,
            waiting=fullest.waiting,
            # What has begun is not counted; who is active now may be of another pool than at the last look.
            submitted=done + fullest.waiting,
            started=done,
            completed=done,
            failed=0,
            busy_seconds=self._busy_seconds,
            wait_seconds=self._wait_seconds,
            service_seconds=self._busy_seconds,
            # The size is that of each of them, whichever are looked at.
            pools=max(1, len(look.pools)),
            held=sum(pool.servers for pool in look.pools.values()),
        )

    def resize(self, size: int, /) -> None:
        """Set the size and read it back.

        Raises
        ------
        ActuatorError
            The console is gone or read-only, or did not take the size.
        """
        with self._turn:
            if self._ended:
                raise ActuatorError(f"PgBouncer's pool size is not set to {size}: this process ends")
            self._owner.claim()
            self._ours.add(int(size))
            self._stubborn, self._reconnected = 0, False
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
        """Restore the size found, unless somebody else has set another, and end the session.

        May be called any number of times. In a forked child that has ordered nothing
        nothing is done.

        Raises
        ------
        ActuatorError
            It was not restored; calling again tries again.
        """
        if self._owner.elsewhere:
            return
        with self._turn:
            try:
                if self._ours and self._size.read() in self._ours - {self.found}:
                    self._size.write(self.found)
            except QuantumControlError as error:
                raise ActuatorError(
                    f"PgBouncer's pool size was not restored to {self.found}: {error}; release() tries again"
                ) from error
            finally:
                self._session.close()
            self._ours = set()

    def end(self) -> None:
        """Release for good: a controller that still runs on a thread of its own sets nothing afterwards.

        Raises
        ------
        ActuatorError
            As `release`.
        """
        self._ended = True
        self.release()

    def _fullest(self, look: Look) -> tuple[Key, Work]:
        """Of the pools that are looked at, the one with most in use and waiting since the last look."""
        works = {
            key: Work() if self._last is None else look.since(self._last, key)
            for key in self._looked_at(look.pools)
        }
        elapsed = 0.0 if self._last is None else look.time - self._last.time

        def demand(key: Key) -> tuple[float, int]:
            in_use = works[key].busy_seconds / elapsed if elapsed > 0.0 else 0.0
            pool = look.pools[key]
            return in_use + pool.waiting, pool.active

        key = max(works, key=demand, default=("", ""))
        return key, works.get(key, Work())

    def _insist(self, look: Look, reserves: Mapping[str, int]) -> None:
        """Take surplus servers away at the end of their transaction if they do not go by themselves.

        Once for each size that is set here: what is open then is marked, whenever its transaction ends,
        and no more are opened past the size. What a reserve adds to it is no surplus.
        """
        surplus = {
            database
            for database, user in self._looked_at(look.pools)
            if look.pools[database, user].servers > look.size + reserves[database]
        }
        if not surplus or self._reconnected or look.size not in self._ours:
            self._stubborn = 0
            return
        self._stubborn += 1
        if self._stubborn > STUBBORN:
            self._reconnected = True
            for database in sorted(surplus):
                quoted = database.replace('"', '""')
                self._console.ask(f'RECONNECT "{quoted}"')

    def _looked_at(self, keys: Iterable[Key]) -> list[Key]:
        return [
            (database, user)
            for database, user in keys
            if self._database in (None, database) and self._user in (None, user)
        ]

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
