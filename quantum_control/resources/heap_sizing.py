"""The size that a garbage-collected heap is worth: the square-root rule, from what is measured of it."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, nan, sqrt

GIB = float(2**30)

PRICE = 0.11
"""Cores that one GiB is worth: what a gibibyte costs over what a core costs in the clouds
($0.0044 and $0.040 an hour in AWS Fargate, $0.0044 and $0.033 for Google's custom machines)."""

RATE_SECONDS = 1.0
"""Time constant with which the allocation rate is averaged. Short: its square root is what counts, and
what is told comes down slowly anyhow."""

KEEP = 0.6
"""Weight of the past in the cost of a collection, from one collection to the next."""

LONGEST = 3
"""Intervals in a row with collections after which the end of one is not waited for."""

CLIFF = 4.0
"""Times the cost that is in balance with the room: where the collector takes as much, its heap is at
half of what it is worth or less, and a little less heap costs much more."""

CLIFF_SECONDS = 120.0
"""Time constant with which a cliff is forgotten, as the load that it was found under is not for ever."""

ABOVE_CLIFF = 1.15
"""How far the heap stays above the cliff that is remembered."""

DESCENT_STEPS = 4.0
"""Time constant, in steps, with which what is told comes down to what the heap is worth; it goes up at once.
A floor is felt for, not run into, and where data come back the heap is too small for a step: whoever looks
more often may give up sooner."""

LEAST_ROOM = 0.02
"""Part of the live set that counts as room at the least: below, the collector runs all the time."""


@dataclass(frozen=True, slots=True)
class Effort:
    """What a collector did in one interval."""

    seconds: float
    """Length of the interval, above 0."""
    live: float
    """Bytes that were left after the last collection; nan before there was one."""
    allocated: float
    """Bytes."""
    processor_seconds: float
    """That it took for collecting; not for giving memory back."""
    collections: int
    """Collections, or pauses, in the interval."""


class HeapSizing:
    """What a heap is worth, by the square-root rule.

    A program allocates g bytes a second into the room M that the heap has
    above the live set L. Whenever it is used up a collection takes t processor
    seconds: g*t/M cores. With the price c of a byte in cores, the total
    g*t/M + c*M is least at

        M = sqrt(g*t/c),    heap = L + M,

    and as t is proportional to L, M grows as sqrt(L*g): the square-root rule.
    t is measured as processor seconds times room over bytes allocated, for each
    byte of L, so that it follows L at once. Of a collector that begins early,
    which makes less than M of use, it is measured too large, and the heap comes
    out larger.

    Parameters
    ----------
    price
        Cores that one GiB is worth.

    References
    ----------
    M. Kirisame, P. Shenoy and P. Panchekha, "Optimal heap limits for reducing
    browser memory use", OOPSLA 2022 (MemBalancer).
    """

    def __init__(self, price: float = PRICE) -> None:
        self._price = price / GIB
        self.forget()

    def forget(self) -> None:
        """Begin anew, as for another program."""
        self.live = nan
        """L: bytes."""
        self.rate = nan
        """g: bytes per second, averaged."""
        # Processor seconds times room over live set of the collections so far, the past fading.
        self._spent = 0.0
        self._filled = 0.0  # bytes that were allocated meanwhile
        self._pending = [0.0, 0.0]  # the same, since the last collection that was taken in
        self._intervals = 0  # with collections, in a row until now
        self._cliff = 0.0  # heap over live set at which collecting was found to be dear
        self._told = 0.0  # what was told last, bytes

    @property
    def collection_seconds(self) -> float:
        """t: processor seconds of one collection; nan before there was one."""
        return self.live * self._spent / self._filled if self._filled else nan

    @property
    def cliff(self) -> float:
        """Heap below which collecting was found to be dear, bytes; 0 while none is known."""
        return self._cliff * self.live if self._cliff else 0.0

    def step(self, effort: Effort, heap: float) -> float:
        """Bytes that the heap is worth, after an interval in which the collector worked with `heap` bytes."""
        elapsed, live = effort.seconds, effort.live
        rate = effort.allocated / elapsed
        fresh = 1.0 - exp(-elapsed / RATE_SECONDS)
        self.rate = rate if self.rate != self.rate else self.rate + fresh * (rate - self.rate)
        if live != live:
            return self._tell(heap)  # nothing has been collected: nothing is known
        self.live = live = max(live, 1.0)
        room = max(heap - live, LEAST_ROOM * live)
        self._take_in(effort, room / live)
        if not self._filled:
            return self._tell(heap)
        extra = sqrt(self.rate * self.collection_seconds / self._price)
        self._cliff *= exp(-elapsed / CLIFF_SECONDS)
        if extra > sqrt(CLIFF) * room and effort.processor_seconds > CLIFF * self._price * room * elapsed:
            self._cliff = max(self._cliff, heap / live)
        worth = max(live + extra, ABOVE_CLIFF * self.cliff)
        # From what was told last, not from the heap in force: that one follows with a delay of its own, and
        # a share of the way from there would multiply the two.
        if worth < self._told:
            worth *= (self._told / worth) ** exp(-1.0 / DESCENT_STEPS)
        return self._tell(worth)

    def _take_in(self, effort: Effort, room: float) -> None:
        """Count what a collection took, and what it was for, once it is over; `room` over the live set."""
        self._pending[0] += effort.processor_seconds * room
        self._pending[1] += effort.allocated
        before, self._intervals = self._intervals, self._intervals + 1 if effort.collections else 0
        # One may go on in the next interval: taken in before its end, the bytes that it was for would fade
        # before what it took. Where one follows the other, or there was none yet, the end is not waited for.
        over = before > self._intervals or self._intervals >= LONGEST
        if over or (self._intervals and not self._filled):
            self._spent = KEEP * self._spent + self._pending[0]
            self._filled = KEEP * self._filled + self._pending[1]
            self._pending = [0.0, 0.0]

    def _tell(self, worth: float) -> float:
        self._told = worth
        return worth
