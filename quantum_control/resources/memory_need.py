"""How much memory a group needs: probed downwards while nothing stalls, given back at the first sign."""

from __future__ import annotations

from dataclasses import dataclass

SIGN_STALL = 0.005
"""Share of one interval that stalls and is a sign at once."""

STALL_ALLOWANCE = 0.0008
"""Share of the time that may be lost to trying on average: somewhat less than the 0.1 % that is promised."""

SAVED, OWED = 30.0, 10.0
"""Seconds' worth of the allowance that are saved up at most, and that are owed at most."""

DEAR = 5e-9
"""Seconds of stall per byte that was missed, before it is known: 200 MB/s, of a slow disk."""

SURE = 4 << 20
"""Bytes missed that weigh as much as DEAR: the stall of a few pages is that of one access, not of a byte."""

SIGN_REFAULT = 0.01
"""Share of the usage that had been taken and was read again within an interval."""

FEEL = 256 << 10
"""Bytes of the first two tries. The kernel learns what is in use only by looking twice: at its first look
all pages seem alike, and it takes the wrong ones; what it takes at the second, nobody has touched between."""

FIRST_STEP, LARGEST_STEP = 0.005, 0.10
"""Share of the memory that is taken in the tries after them; doubled each time that it was not missed."""

LOOKS = 4
"""Intervals after which what nobody has touched in all of them is idle."""

LEAST_CHANCE = 1.0 / 8.0
"""Chance of being missed that the next bytes are given at least, however many were not."""

NEAR, NEAR_STEP = 1.1, 0.01
"""Within this factor of where it was too little, no more than this share is tried."""

NEAR_TRIES = 6
"""Tries near that place after which, if none was missed, it is believed that less is needed by now."""

HOLD, LONGEST_HOLD = 4, 8
"""Intervals in which nothing is tried after a sign; doubled for each one at a size where there was one
before."""

ROOM = 1.5
"""Need at a sign, over the most that was in use: growing into it costs only what is used."""


@dataclass(frozen=True, slots=True)
class MemoryReading:
    """A group over one interval. Bytes, but for the last two."""

    usage: int
    """All that is charged to it now."""
    floor: int
    """What cannot be taken without swapping or killing."""
    refaulted: int
    """What had been taken and was read again."""
    stalled: float
    """Seconds of the interval in which some task waited for memory."""
    seconds: float
    """Length of the interval."""
    idle: int | None = None
    """Bytes known not to have been touched in LOOKS intervals; None where that cannot be known."""
    disk: float = 0.0
    """Seconds of the interval in which some task waited for a disk: where what had been taken is read again
    the kernel calls it a stall only if it knew that it was in use."""


class MemoryNeed:
    """Follows the need of one group; `update` once an interval.

    After Senpai (Weiner et al., "TMO: Transparent Memory Offloading in
    Datacenters", ASPLOS 2022), which shrinks while pressure is low. What is
    different: at a sign everything is given back at once instead of in
    steps, the place where it happened is remembered and approached slowly,
    pages read again are a sign as well, and what is lost to trying is
    charged to an allowance: no more is tried than it could pay for, at the
    chance that it is missed. Where it is known what is idle (as in
    Lagar-Cavilla et al., "Software-Defined Far Memory", ASPLOS 2019), that is
    tried and nothing else, under the same allowance.
    """

    def __init__(self) -> None:
        self.need = 0
        """Bytes."""
        self.take = 0
        """Bytes that may be taken in this interval."""
        self._peak = 0.0  # most that was in use, forgetting 1 % an interval
        self._scarce = 0.0  # usage at which there was a sign, forgetting likewise; 0 before there was one
        self._tries = 0  # that took something and were not missed, since the last sign
        self._hold = HOLD
        self._wait = HOLD  # intervals until the next try
        self._allowance = 0.0  # seconds of stall that may be lost to trying
        self._paid, self._missed = DEAR * SURE, float(SURE)  # stall at signs, s, and bytes read again there

    def update(self, reading: MemoryReading, taken: int) -> int:
        """Return the need after another interval, at whose beginning `taken` bytes were taken."""
        usage = reading.usage
        self._peak = max(0.99 * self._peak, usage)
        self._scarce *= 0.999
        self._tries += taken > 0
        # What the first try took says nothing, as long as it is that little.
        missed = reading.refaulted > SIGN_REFAULT * usage or (
            self._tries > 1 and 2 * reading.refaulted > taken > 0
        )
        lost = max(reading.stalled, reading.disk) if missed else reading.stalled
        left = self._allowance + STALL_ALLOWANCE * reading.seconds - lost
        self._allowance = STALL_ALLOWANCE * max(-OWED, min(left / STALL_ALLOWANCE, SAVED))
        self.take = 0
        self.need = max(self.need, usage)  # unless it is tried below
        if missed or reading.stalled > SIGN_STALL * reading.seconds:
            self._give_back(usage, taken, lost, reading.refaulted)
        elif self._wait:
            self._wait -= 1
        elif reading.idle is not None:
            self._take_idle(usage, reading.idle)
        elif self._allowance >= self._price * FEEL:
            self._try_without(usage)
        self.need = max(self.need, reading.floor)
        return self.need

    @property
    def _price(self) -> float:
        """Seconds of stall per byte that is missed."""
        return self._paid / self._missed

    def _give_back(self, usage: int, taken: int, lost: float, refaulted: int) -> None:
        if taken:  # else it is the tail of one before, or they need more than ever
            again = self._scarce and usage < NEAR * self._scarce
            self._hold = min(2 * self._hold, LONGEST_HOLD) if again else HOLD
            self._scarce = float(usage)
            self._paid = 0.9 * self._paid + lost
            self._missed = 0.9 * self._missed + refaulted
        self._wait = self._hold
        self._tries = 0
        self.need = round(ROOM * max(self._peak, usage))

    def _take_idle(self, usage: int, idle: int) -> None:
        chance = max(LEAST_CHANCE, 1.0 / (LOOKS + self._tries + 2))  # as below
        take = min(idle, round(self._allowance / (chance * self._price)))
        if take >= FEEL:
            self.take = take
            self.need = usage - idle

    def _try_without(self, usage: int) -> None:
        step = min(FIRST_STEP * 2.0 ** (self._tries - 2), LARGEST_STEP) if self._tries > 1 else 0.0
        if usage * NEAR < self._scarce:
            self._scarce = 0.0  # far below and not missed: that was another time
        elif usage < NEAR * self._scarce and self._tries < NEAR_TRIES:
            step = min(step, NEAR_STEP)
        # What was not missed n times in a row is missed with a chance of 1/(n + 2) (Laplace's rule of
        # succession): no more than what can be afforded then.
        chance = max(LEAST_CHANCE, 1.0 / (self._tries + 2))
        self.take = max(FEEL, round(min(step * usage, self._allowance / (chance * self._price))))
        # Further down than what may be taken, so that the law's headroom does not stand in the way.
        self.need = round(usage * (1.0 - LARGEST_STEP))
