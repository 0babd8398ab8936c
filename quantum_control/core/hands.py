"""Reading back: sizes that the resource does not take, and sizes that somebody else has set."""

from __future__ import annotations

from collections import deque
from math import inf

from quantum_control.core.resource import ResourceState

REMEMBERED = 12
"""Orders that may still come into force: the longest delay that the estimator knows, and some patience."""

EXACT = 3
"""Measurements that show an order of ours to the unit before another size counts as somebody's."""

SEEN = 2
"""Measurements in a row that show the same foreign size before it is believed."""


class ReadBack:
    """Leaves a resource alone for a while that does not take sizes.

    A resource that accepts an order and stays where it was is not steered, and
    asking again at every step is of no use.

    Parameters
    ----------
    patience
        Steps that a size may take to move at all.
    seconds
        For which it is left alone then.
    """

    def __init__(self, patience: int = REMEMBERED, seconds: float = 60.0) -> None:
        self._patience = patience
        self._seconds = seconds
        self._stuck_at = 0.0  # size in force when the first of the orders was given that did not move it
        self._waited = -1  # steps since then; -1 if no order is open
        self._until = -inf

    def allow(self, state: ResourceState, size: int, wanted: int, /) -> tuple[int, str]:
        """Hold while the resource is left alone."""
        if state.time < self._until:
            return size, f"it has not taken a size: {state.size:g} is in force; left alone for a while"
        if self._waited >= 0:
            self._waited += 1
            if abs(state.size - self._stuck_at) >= 1.0 or abs(state.size - size) < 1.0:
                self._waited = -1
            elif self._waited > self._patience:
                self._waited = -1
                self._until = state.time + self._seconds
                return size, f"{size} was ordered {self._patience} steps ago and {state.size:g} is in force"
        if wanted != size and self._waited < 0:
            self._stuck_at, self._waited = state.size, 0
        return wanted, ""


class Hands:
    """Respects a size that somebody else has set, for a while.

    A foreign size is one that none of the latest orders asked for, on a
    resource that otherwise takes orders to the unit. Where sizes come out
    rounded, a hand cannot be told from that, and the controller goes on from
    what it finds.

    Parameters
    ----------
    seconds
        For which the size is left alone.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.theirs: int | None = None
        """The size that somebody has set and that is respected now."""
        self._until = -inf
        self._orders: deque[int] = deque(maxlen=REMEMBERED)
        self._found = 0  # size in force at the first measurement
        self._exact = 0
        self._strange = 0
        self._strange_size = 0
        self._before = 0  # size in force at the last measurement

    @property
    def keeps(self) -> bool:
        """Whether the size is to stay as somebody has set it."""
        return self.theirs is not None

    def allow(self, state: ResourceState, size: int, wanted: int, /) -> tuple[int, str]:
        """Hold while somebody's size is respected."""
        in_force = round(state.size)
        if self.theirs is not None:
            if state.time < self._until:
                self.theirs = in_force
                return size, f"size {in_force} was set by somebody else; left alone"
            self.release()
        if not self._found:
            self._found = in_force
        foreign = self._is_foreign(in_force)
        self._before = in_force
        if foreign and self._strange < SEEN:
            return size, f"size {in_force} is none that was ordered: looked at once more"
        if foreign:
            self.theirs = in_force
            self._until = state.time + self.seconds
            return size, f"size {in_force} was set by somebody else; left alone for {self.seconds:g} s"
        if wanted != size:
            if not self._orders:
                self._exact = 0  # whether it takes orders to the unit is to be seen from here on
            self._orders.append(wanted)
        return wanted, ""

    def release(self) -> None:
        """Take the control up again, from the size in force."""
        self.theirs = None
        self._orders.clear()
        self._exact = self._strange = self._before = self._found = 0

    def _is_foreign(self, in_force: int) -> bool:
        low, high = sorted((self._before, self._orders[-1] if self._orders else self._before))
        if in_force in (self._found, *self._orders) or (low < in_force < high and self._before):
            self._exact += in_force in self._orders or not self._orders
            self._strange = 0
            return False
        self._strange = self._strange + 1 if in_force == self._strange_size else 1
        self._strange_size = in_force
        return self._exact >= EXACT
