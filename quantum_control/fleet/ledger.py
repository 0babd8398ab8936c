"""The account of a budget that several processes share: who may hold how much, and until when.

Kept in a store that all of them reach (`fleet.stores`), which changes it one
exchange at a time. For each member it holds an *account*, the most that the
member may hold. An exchange is a promise and a grant:

1. The member says what it holds, h, and from now on does not grow past it.
2. Its account becomes max(h, target), with

       target = min(due, room)
       due    its weighted max-min fair share (`core.waterfilling`)
       room   the capacity less the accounts of all others

3. The answer is the target: it may grow to it, or has to shrink to it. What it
   has to give up stays on its account until it says in an exchange that it
   holds it no longer (two phases: nobody is given what another still has).

So the accounts never add up to more than the capacity, whatever gets lost: if
the question is lost nothing changed and the promise holds; if the answer is
lost, the account is at least what was promised.

**Leases.** An account that is not renewed for a lease falls to the member's
floor, and after `FORGOTTEN` leases to nothing. A member believes a grant for
half a lease only, counted on its own monotonic clock from before it asked, and
then its floor for half of that longer time. The store's clock is read as
*progress*: of what went by between two exchanges at most a quarter of a lease
counts, and nothing if it went back. A clock that is set, in either direction,
a store that was down and a machine that was asleep so cost nobody his lease;
two jumps ahead within one lease are allowed for, and clocks may run at rates
that differ by half.

A ledger that is new (or was lost by its store) gives nothing to newcomers
until the longest lease that there may be has gone by: whoever held something
says so, or has let go of it but for its floor.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from quantum_control.core.errors import ConfigError
from quantum_control.core.waterfilling import water_fill

LONGEST = 15.0
"""Longest lease, s. A new ledger waits for that: it cannot know the leases of a lost one's members."""

FORGOTTEN = 40
"""Leases after which a member's floor is given away: ten minutes at 15 s."""

QUARTER = 0.25
"""Part of a lease that counts at most of the time between two exchanges."""


@dataclass(slots=True)
class Member:
    """One process that takes part."""

    total: int
    """What there is to share, in its opinion; the least of all opinions counts. As size."""
    floor: int
    wanted: int
    weight: float
    lease: float
    """Seconds."""
    account: int = 0
    """The most that it may hold. As size."""
    renewed: float = 0.0
    """Time of its last exchange, on the ledger's clock."""


@dataclass(slots=True)
class Ledger:
    """What a store keeps of one budget."""

    members: dict[str, Member] = field(default_factory=dict)
    time: float = 0.0
    """Seconds of progress."""
    seen: float = 0.0
    """The store's clock at the last exchange, s since whenever."""
    opens: float | None = None
    """Time from which newcomers are given something; None before the first exchange."""

    def exchange(self, name: str, asks: Member, held: int, now: float) -> int:
        """Let a member say what it holds and needs; answers what it may hold.

        That is less than its floor while others have not given up what is its due.

        Parameters
        ----------
        name
            Of the member.
        asks
            What it needs; its account is this ledger's business.
        held
            What it holds, and promises not to grow past before it has the answer. As size.
        now
            The store's clock, seconds.

        Raises
        ------
        ConfigError
            A higher floor does not fit; nothing changed for the others.
        """
        self._advance(asks, now)
        self._expire()
        old = self.members.get(name)
        others = [member for key, member in self.members.items() if key != name]
        capacity = min([asks.total, *(member.total for member in others)])
        floors = sum(member.floor for member in others) + asks.floor
        if floors > capacity:
            if old is None or asks.floor > old.floor:
                raise ConfigError(
                    f"a floor of {asks.floor} does not fit into a budget of {capacity}, of which"
                    f" {floors - asks.floor} are the floors of {len(others)} others;"
                    " lower min_size or the reserve"
                )
            capacity = floors  # a total that was lowered under those who are there: they keep their floors
        asks.account = old.account if old is not None else 0
        asks.renewed = self.time
        self.members[name] = asks
        rows = [self.members[key] for key in sorted(self.members)]
        due = water_fill(
            capacity,
            [row.wanted for row in rows],
            [row.floor for row in rows],
            [row.weight for row in rows],
        )[sorted(self.members).index(name)]
        target = max(0, min(due, capacity - sum(member.account for member in others)))
        if self.opens is not None and self.time < self.opens:
            target = min(target, held)
        asks.account = max(held, target)
        return target

    def leave(self, name: str) -> None:
        """Let a member that holds nothing any more take part no longer."""
        self.members.pop(name, None)

    def _advance(self, asks: Member, now: float) -> None:
        if self.opens is None:
            self.opens, self.seen = self.time + LONGEST, now
        step = QUARTER * min([asks.lease, *(member.lease for member in self.members.values())])
        self.time += min(max(now - self.seen, 0.0), step)
        self.seen = now

    def _expire(self) -> None:
        for name, member in list(self.members.items()):
            age = self.time - member.renewed
            if age > FORGOTTEN * member.lease:
                del self.members[name]
            elif age > member.lease:
                member.account = min(member.account, member.floor)
                member.wanted = member.floor


class Standing:
    """What a member may hold, as it knows itself: by its own monotonic clock, without the store."""

    def __init__(self, lease: float) -> None:
        self._lease = lease
        self._grant = 0
        self._floor = 0
        self._sent = float("-inf")  # when the question was sent that was answered last

    def limit(self, now: float) -> int:
        """The most that it may hold at `now`. As size."""
        if now - self._sent < self._lease / 2.0:
            return self._grant
        return 0 if self.lost(now) else min(self._grant, self._floor)

    def lost(self, now: float) -> bool:
        """Whether others may take it for dead at `now`, so that not even its floor is its own."""
        return now - self._sent >= FORGOTTEN * self._lease / 2.0

    def promise(self, held: int, floor: int, now: float) -> None:
        """Note what is about to be said: from now on it may not grow past what it holds."""
        self._grant = min(self.limit(now), held)
        self._floor = min(self._floor, floor)

    def granted(self, size: int, floor: int, sent: float) -> None:
        """Note the answer to what was `sent` at that time."""
        self._grant, self._floor, self._sent = size, floor, sent
