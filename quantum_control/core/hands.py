"""Reading back: sizes that the resource does not take, and sizes that somebody else has set."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import inf

from quantum_control.core.resource import ResourceState

REMEMBERED = 12
"""Orders that may still come into force: the longest delay that the estimator knows, and some patience."""

EXACT = 3
"""Measurements that show an order of ours to the unit before another size counts as somebody's."""

SEEN = 2
"""Measurements in a row that show the same foreign size before it is believed."""


class ReadBack:
    """Does not ask again, for a while, for sizes that a resource has not taken.

    A resource that accepts an order and stays where it was is not steered, and
    asking again at every step is of no use. Sizes beyond those that it did not
    take are still tried: one that only rounds, or is at a bound of its own,
    takes those. To be the last link, so that what it sees is what is ordered.

    Parameters
    ----------
    patience
        Steps that a size may take to move at all.
    seconds
        For which the same sizes are not ordered again then.
    """

    def __init__(self, patience: int = REMEMBERED, seconds: float = 60.0) -> None:
        self._patience = patience
        self._seconds = seconds
        self._stuck_at = 0.0  # size in force when the first of the orders was given that did not move it
        self._order = 0  # the last of them
        self._least = self._most = 0  # of them
        self._waited = -1  # steps since the first; -1 if no order is open
        self._until = -inf

    def ordered(self, size: int) -> None:
        """Take note of an order that is not what the chain allowed, as of a budget; from any thread."""
        self._order = size

    def allow(self, state: ResourceState, size: int, wanted: int, /) -> tuple[int, str]:
        """Hold where that was ordered before and not taken."""
        if self._waited >= 0:
            self._waited += 1
            # Not compared with `size`, which by then may be what was found in force.
            if abs(state.size - self._stuck_at) >= 1.0 or abs(state.size - self._order) < 1.0:
                self._waited = -1
        if self._waited == self._patience + 1:
            self._until = state.time + self._seconds
        if self._waited > self._patience and not state.time < self._until <= state.time + self._seconds:
            self._waited = -1
        if wanted == size:
            return wanted, ""
        if self._waited > self._patience and self._least <= wanted <= self._most:
            return size, f"{self._order} was ordered {self._waited} steps ago and {state.size:g} is in force"
        if self._waited < 0:
            self._stuck_at, self._waited = state.size, 0
            self._least = self._most = wanted
        self._order = wanted
        self._least, self._most = min(self._least, wanted), max(self._most, wanted)
        return wanted, ""


class Hands:
    """Respects a size that somebody else has set, for a while.

    A foreign size is one that none of the latest orders asked for, on a
    resource that otherwise takes orders to the unit. Where sizes come out
    rounded, a hand cannot be told from that, and the controller goes on from
    what it finds. Nor is it a hand's what a resource was started anew with,
    and what somebody had set of the one before has gone with that.

    Parameters
    ----------
    seconds
        For which the size is left alone.
    started_anew
        Returns how often the resource was started anew, and the size that it
        was started with the last time: what its adapter has of that name.
    """

    def __init__(self, seconds: float, started_anew: Callable[[], tuple[int, int]] = lambda: (0, 0)) -> None:
        self.seconds = seconds
        self.theirs: int | None = None
        """The size that somebody has set and that is respected now."""
        self.foreign = False
        """Whether the size in force at the last step is somebody's, or looked at once more."""
        self._until = -inf
        self._started_anew = started_anew
        self._starts = 0  # how often it was, at the last step
        self._orders: deque[int] = deque(maxlen=REMEMBERED)
        self._wished = False  # whether the last of them is what the chain allowed at the last step
        # Orders that are not what the chain allowed. Whoever else gives them may be on another thread.
        self._told: deque[int] = deque(maxlen=REMEMBERED)
        self._found = 0  # size in force at the first measurement
        self._exact = 0
        self._strange = 0
        self._strange_size = 0
        self._before = 0  # size in force at the last measurement

    @property
    def keeps(self) -> bool:
        """Whether the size is to stay as somebody has set it."""
        return self.theirs is not None

    def ordered(self, size: int) -> None:
        """Take note of an order that is not what the chain allowed, as of a budget; from any thread."""
        self._told.append(size)

    def allow(self, state: ResourceState, size: int, wanted: int, /) -> tuple[int, str]:
        """Hold while somebody's size is respected."""
        in_force = round(state.size)
        starts, started_with = self._started_anew()
        if starts != self._starts:
            self._starts = starts
            self._begin_anew(started_with)
        told = self._hear()
        # An order that was given since may have been refused, for the very hand.
        taken = in_force != self.theirs and in_force in (*self._orders, *told)
        if self.theirs is not None and (taken or not state.time < self._until):
            self.release()  # its time is over, or what is in force now was ordered since
        if told and not self._orders:
            self._exact = 0  # whether it takes orders to the unit is to be seen from here on
        self._orders.extend(told)
        if self.theirs is not None:
            self.theirs = in_force
            return size, f"size {in_force} was set by somebody else; left alone"
        if not self._found:
            self._found = in_force
        self.foreign = self._is_foreign(in_force)
        self._before = in_force
        if self.foreign and self._strange < SEEN:
            return size, f"size {in_force} is none that was ordered: looked at once more"
        if self.foreign:
            self.theirs = in_force
            self._until = state.time + self.seconds
            return size, f"size {in_force} was set by somebody else; left alone for {self.seconds:g} s"
        if wanted != size:
            if not self._orders:
                self._exact = 0  # whether it takes orders to the unit is to be seen from here on
            self._orders.append(wanted)
            self._wished = True
        return wanted, ""

    def release(self) -> None:
        """Take the control up again, from the size in force; for the thread that takes the steps."""
        self.theirs = None
        self.foreign = self._wished = False
        self._orders.clear()
        self._exact = self._strange = self._before = self._found = 0

    def _begin_anew(self, size: int) -> None:
        """Forget what was set and ordered of the one before; how exactly it takes orders stays known."""
        exact = self._exact
        self.release()
        self._exact, self._found = exact, size
        self._orders.append(size)  # stands for an order: a hand is told from the first measurement on

    def _hear(self) -> list[int]:
        """Orders that were given since the last step in place of what the chain allowed then."""
        told = [self._told.popleft() for _ in range(len(self._told))]
        if told and self._wished:
            self._orders.pop()
        self._wished = False
        return told

    def _is_foreign(self, in_force: int) -> bool:
        low, high = sorted((self._before, self._orders[-1] if self._orders else self._before))
        if in_force in (self._found, *self._orders) or (low < in_force < high and self._before):
            self._exact += in_force in self._orders or not self._orders
            self._strange = 0
            return False
        self._strange = self._strange + 1 if in_force == self._strange_size else 1
        self._strange_size = in_force
        return self._exact >= EXACT
