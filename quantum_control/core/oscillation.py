"""A controller that chases its own tail is damped."""

from __future__ import annotations

from collections import deque
from itertools import pairwise

from quantum_control.core.resource import ResourceState

WINDOW = 24
"""Steps that are looked at: three periods of a limit cycle with a period of eight steps."""

REVERSALS = 5
"""Changes of direction within the window that make a cycle."""

AMPLIFIED = 2.0
"""Swing of the size over that of the demand's forecast, both relative, past which the cycle is our own."""

LOOK_EVERY = 4
"""Steps between two looks while all is calm."""

LEAST_GAIN = 1.0 / 16.0
"""Part of each wanted change that is always made."""

SMALL = 0.02
"""Relative swing of the size below which it is not worth a word; moves of one unit are none either."""


class Oscillation:
    """Makes changes smaller while sizes swing more than demand does.

    A loop that reacts to what it has done itself, for want of knowing the
    delay or for too high a gain, swings with a few steps' period though demand
    does not. Each time that is seen only half as much of each change is made
    from there on; when a window has passed without it, twice as much again.
    """

    def __init__(self) -> None:
        self.gain = 1.0
        """Part of each wanted change that is made."""
        self._sizes: deque[int] = deque(maxlen=WINDOW)
        self._forecasts: deque[float] = deque(maxlen=WINDOW)
        self._calm = 0

    def allow(self, state: ResourceState, size: int, wanted: int, /) -> tuple[int, str]:
        """Make part of the change if sizes swing by themselves."""
        self._sizes.append(size)
        self._forecasts.append(state.forecast)
        self._calm += 1
        if self._calm >= WINDOW:
            if self._swings():
                self.gain, self._calm = max(0.5 * self.gain, LEAST_GAIN), WINDOW // 2
            elif self.gain < 1.0:
                self.gain, self._calm = min(2.0 * self.gain, 1.0), 0
            else:
                self._calm = WINDOW - LOOK_EVERY
        if self.gain == 1.0 or wanted == size:
            return wanted, ""
        return size + round(self.gain * (wanted - size)), "own oscillation damped"

    def _swings(self) -> bool:
        sizes = list(self._sizes)
        swing = max(sizes) - min(sizes)
        if swing < 3 or swing < SMALL * max(sizes):
            return False
        reversals, direction = 0, 0
        for before, after in pairwise(sizes):
            if after == before:
                continue
            now = 1 if after > before else -1
            reversals += now == -direction
            direction = now
        if reversals < REVERSALS:
            return False
        least, most = min(self._forecasts), max(self._forecasts)
        demanded = (most - least) / most if most > 0.0 else 0.0
        return swing / max(sizes) > AMPLIFIED * demanded
