"""The part of one process in a budget that it shares with others: for `core.budget.Budget`."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable
from math import inf

from quantum_control.core.errors import ActuatorError, ConfigError, SafetyError
from quantum_control.core.safety import positive_int
from quantum_control.fleet.ledger import LONGEST, Ledger, Member, Standing
from quantum_control.fleet.stores import Store, StoreError

_log = logging.getLogger("quantum_control")

LEASE = 15.0
"""Seconds after which the share of who was not heard of goes to others."""

REFRESH = 1.0
"""Seconds between two exchanges while nothing changes: how soon one learns that others are in need."""

PAUSE = 0.1
"""Seconds between two tries of a newcomer whose floor is not free yet."""


class SharedBudget:
    """What this process may have of something that processes on any number of hosts share.

    `Budget(SharedBudget(store, total=100))` is then the budget of its own
    resources. How the sum is kept, whatever dies or is cut off: `fleet.ledger`.

    Parameters
    ----------
    store
        `PostgresStore` or `RedisStore`; the same for all members.
    total
        What there is. Where members disagree the least counts. As size.
    weight
        Part of this process in a shortage, relative to the others'. Above 0.
    lease
        Seconds without an exchange after which its share, apart from the floor, goes to others. It
        believes in the share itself for half of that. At most 15.
    overhead
        What the process takes besides: 1 where the store is the PostgreSQL whose connections are shared.
    patience
        Seconds that a newcomer waits for others to give up its floor; by default 15 and a lease.

    Raises
    ------
    ConfigError
        A parameter is out of its range.
    """

    def __init__(
        self,
        store: Store,
        total: int,
        *,
        weight: float = 1.0,
        lease: float = LEASE,
        overhead: int = 0,
        patience: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        positive_int("total", total)
        if not 0.0 < weight < inf:
            raise ConfigError(f"weight={weight!r}: a number above 0")
        if not 0.0 < lease <= LONGEST:
            raise ConfigError(f"lease={lease!r}: seconds, above 0 and at most {LONGEST:g}")
        if not 0 <= overhead < total:
            raise ConfigError(f"overhead={overhead!r}: 0 or more, and less than the total of {total}")
        self.capacity = total - overhead
        """The most that this process could ever have. As size."""
        self.name = uuid.uuid4().hex
        """Of this member, in the ledger."""
        self._store = store
        self._total = total
        self._weight = weight
        self._lease = lease
        self._overhead = overhead
        self._patience = LONGEST + lease if patience is None else patience
        self._clock = clock
        self._sleep = sleep
        self._standing = Standing(lease)
        self._floor = -1  # as last agreed; -1 before this process takes part
        self._asked = False  # whether the store was ever asked, so that the ledger may know this process
        self._said = (-1, -1)  # wanted and floor of the last exchange
        self._next = -inf  # when to exchange again though nothing has changed
        self._told = False  # whether a loss of contact was logged

    def claim(self, wanted: int, floor: int, held: int) -> int:
        """Say what this process needs and holds; answers what it may hold now, at least `floor`.

        Where the store cannot be asked that is what it was granted, for half a
        lease, and then the floor.

        Raises
        ------
        ConfigError
            The floors of all members do not fit in; nothing has changed for the others.
        ActuatorError
            The others have not given up enough for a floor that is higher than before.
        SafetyError
            It was cut off for so long that others take it for dead: what it holds is no longer its own.
        """
        extra = self._overhead
        now = self._clock()
        limit = self._standing.limit(now)
        if (wanted, floor) == self._said and now < self._next and held + extra <= limit:
            return limit - extra
        try:
            limit = self._exchange(wanted + extra, floor + extra, held + extra)
            if limit < floor + extra:
                limit = self._joined(wanted + extra, floor + extra, held + extra)
        except StoreError as error:
            return self._alone(floor, error)
        self._said, self._floor, self._told = (wanted, floor), floor, False
        self._next = self._clock() + min(REFRESH, self._lease / 8.0)
        return limit - extra

    def close(self) -> None:
        """Give everything back; for when nothing is held any more."""
        if self._asked:
            try:
                self._store.update(self._leave)
            except StoreError as error:
                _log.warning("budget: what this process had returns with its lease: %s", error)
        self._asked = False
        self._floor, self._said, self._next = -1, (-1, -1), -inf
        self._standing = Standing(self._lease)
        self.name = uuid.uuid4().hex
        self._store.close()

    def _exchange(self, wanted: int, floor: int, held: int) -> int:
        sent = self._clock()
        self._standing.promise(held, floor, sent)
        asks = Member(self._total, floor, wanted, self._weight, self._lease)
        self._asked = True
        limit = self._store.update(lambda ledger, now: ledger.exchange(self.name, asks, held, now))
        self._standing.granted(limit, floor, sent)
        return limit

    def _joined(self, wanted: int, floor: int, held: int) -> int:
        """Wait for a floor that others have still to give up."""
        deadline = self._clock() + self._patience
        while True:
            self._sleep(min(PAUSE, self._lease / 8.0))
            limit = self._exchange(wanted, floor, held)
            if limit >= floor:
                return limit
            if self._clock() > deadline:
                break
        if self._floor < 0:
            self._store.update(self._leave)
        else:
            self._exchange(wanted, self._floor + self._overhead, held)
        raise ActuatorError(
            f"budget: no share within {self._patience:g} s: the others hold more than their due and do not"
            f" give it up, or the budget is less than {LONGEST:g} s old; try again"
        )

    def _alone(self, floor: int, error: StoreError) -> int:
        if self._floor < 0:
            raise ActuatorError(f"budget: {error}") from error
        now = self._clock()
        if self._standing.lost(now):
            raise SafetyError(
                "budget: cut off from the store for so long that others take this process for dead;"
                f" end it, or what it holds: {error}"
            ) from error
        if not self._told:
            self._told = True
            _log.warning("budget: nothing grows until the store answers again: %s", error)
        # Less than the floor may be held and was then promised, but the account never is less.
        return max(min(floor, self._floor), self._standing.limit(now) - self._overhead)

    def _leave(self, ledger: Ledger, _: float) -> int:
        ledger.leave(self.name)
        return 0

    def __repr__(self) -> str:
        return f"<SharedBudget of {self._total} in {self._store!r}>"
