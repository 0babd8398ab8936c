"""Sliding windows over the last states, on floats or on arrays."""

from __future__ import annotations

from collections import deque

from quantum_control.core.numeric import ops_for


class SlidingMaximum:
    """Largest of the last `length` values, elementwise, at a few comparisons per value.

    Two stacks: values enter at the back, where one running maximum is kept;
    when the front is used up, the back is turned over into running maxima from
    its end. A queue of maxima, the usual way, would need a loop over rows.
    """

    def __init__(self, length: int) -> None:
        self._length = length
        self._front: list[float] = []  # maxima of the older values, the oldest on top
        self._back: list[float] = []  # the newer values
        self._newest: float | None = None  # their maximum; None while there are none

    def push(self, value: float) -> float:
        """Add a value, drop what is too old, return the maximum."""
        xp = ops_for(value)
        if len(self._front) + len(self._back) == self._length:
            self._drop()
        self._back.append(value)
        self._newest = value if self._newest is None else xp.maximum(self._newest, value)
        return xp.maximum(self._front[-1], self._newest) if self._front else self._newest

    def _drop(self) -> None:
        if not self._front:
            running = self._back[-1]
            xp = ops_for(running)
            for value in reversed(self._back):
                running = xp.maximum(running, value)
                self._front.append(running)
            self._back.clear()
            self._newest = None
        self._front.pop()


class SlidingMean:
    """Mean of the last `length` values; of those there are, while it fills."""

    def __init__(self, length: int) -> None:
        self._values: deque[float] = deque(maxlen=length)
        self._sum: float = 0.0

    def push(self, value: float) -> float:
        """Add a value, drop what is too old, return the mean."""
        values = self._values
        if len(values) == values.maxlen:
            self._sum = self._sum - values[0]
        values.append(value)
        self._sum = self._sum + value
        return self._sum / len(values)
