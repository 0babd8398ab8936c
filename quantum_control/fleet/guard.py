"""The guard of `core.safety`, for many rows at once: the same limits in the same order."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from quantum_control.core.errors import ConfigError

Array = NDArray[np.float64]
Codes = NDArray[np.int8]

LARGEST_SIZE = 2.0**53
"""Up to here every whole size has a float of its own; larger ones are not set."""

REASONS: Final = (
    "",
    "minimum",
    "maximum",
    "slew limit",
    "dead band",
    "hysteresis",
    "the law answered no number",
    "not measured",
    "handed back",
)
"""Why the size of a row is not the one that was wanted; a code is an index."""

MINIMUM, MAXIMUM, SLEW, BAND, HYSTERESIS, NO_NUMBER, UNMEASURED, HANDED_BACK = range(1, len(REASONS))


class RowGuard:
    """Bounds, slew limit, dead band and hysteresis of each row.

    Parameters
    ----------
    minimum, maximum
        Hard bounds, whole and 1 or more. As size.
    slew_up, slew_down
        Largest factor by which a size grows or shrinks in one interval; above 1.
    dead_band, hysteresis
        Relative changes that are not worth applying, and what is added to that
        where a change reverses the one before; in [0, 1).

    Each is a number for all rows, or an array of one a row.

    Raises
    ------
    ConfigError
        A value is out of its range, in whichever row.
    """

    def __init__(
        self,
        minimum: Any = 1,
        maximum: Any = None,
        *,
        slew_up: Any = 10.0,
        slew_down: Any = 2.0,
        dead_band: Any = 0.0,
        hysteresis: Any = 0.0,
    ) -> None:
        self.minimum = _array("minimum", minimum)
        self.maximum = _array("maximum", LARGEST_SIZE if maximum is None else maximum)
        self.slew_up = _array("slew_up", slew_up)
        self.slew_down = _array("slew_down", slew_down)
        self.dead_band = _array("dead_band", dead_band)
        self.hysteresis = _array("hysteresis", hysteresis)
        whole = "whole sizes, 1 or more, up to 2**53"
        for name, bound in (("minimum", self.minimum), ("maximum", self.maximum)):
            _check(name, (bound >= 1.0) & (bound <= LARGEST_SIZE) & (bound == np.rint(bound)), whole)
        _check("minimum", self.minimum <= self.maximum, "none of them above the maximum")
        _check("slew_up", self.slew_up > 1.0, "factors above 1")
        _check("slew_down", self.slew_down > 1.0, "factors above 1")
        for name, share in (("dead_band", self.dead_band), ("hysteresis", self.hysteresis)):
            _check(name, (share >= 0.0) & (share < 1.0), "shares of the size, 0 or more and below 1")

    @property
    def arrays(self) -> tuple[Array, ...]:
        """All limits."""
        return (
            self.minimum,
            self.maximum,
            self.slew_up,
            self.slew_down,
            self.dead_band,
            self.hysteresis,
        )

    def of(self, rows: slice) -> RowGuard:
        """The guard of some of the rows; it looks at the same arrays."""
        part = object.__new__(RowGuard)
        part.minimum, part.maximum, part.slew_up, part.slew_down, part.dead_band, part.hysteresis = (
            array[rows] if array.ndim else array for array in self.arrays
        )
        return part

    def allow(
        self, size: Array, wanted: Array, intervals: Array, direction: Codes
    ) -> tuple[Array, Codes, Codes]:
        """Sizes to apply, why they differ (an index of REASONS), and directions of the last changes.

        Parameters
        ----------
        size
            Ordered last.
        wanted
            By the law.
        intervals
            Since the last call, in nominal intervals: the slew limit is a rate.
        direction
            Of the last change: -1, 1, or 0 before there was one.
        """
        number = wanted == wanted
        target = np.minimum(np.maximum(np.where(number, wanted, size), self.minimum), self.maximum)
        why = np.where(wanted > target, MAXIMUM, np.where(wanted < target, MINIMUM, 0)).astype(np.int8)
        most, least = self.slew_up, self.slew_down
        if intervals.min(initial=1.0) < 1.0:
            share = np.minimum(intervals, 1.0)
            most, least = most**share, least**share
        most = np.maximum(size * most, size + 1.0)
        least = np.minimum(size / least, size - 1.0)
        fast_up = target > most
        fast_down = target < least  # never both: most is above the size, least below it
        target = np.where(fast_up, np.floor(most), np.where(fast_down, np.ceil(least), target))
        why[fast_up | fast_down] = SLEW
        allowed = np.rint(target)
        turn = np.sign(allowed - size).astype(np.int8)
        reversing = turn == -direction
        band = self.dead_band + np.where(reversing, self.hysteresis, 0.0)
        inside = (size >= self.minimum) & (size <= self.maximum)
        still = (turn != 0) & (np.abs(allowed - size) < band * size) & inside
        if still.any():
            why[still] = np.where(band == self.dead_band, BAND, HYSTERESIS)[still]
        why[~number] = NO_NUMBER
        allowed = np.where(still, size, allowed)
        return allowed, why, np.where((turn != 0) & ~still, turn, direction)


def _array(name: str, value: Any) -> Array:
    try:
        array = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise ConfigError(f"{name}={value!r}: a number, or an array of one a row") from None
    if array.ndim > 1:
        raise ConfigError(f"{name} has the shape {array.shape}; a number, or an array of one a row")
    return array


def _check(name: str, good: NDArray[np.bool_], what: str) -> None:
    wrong = np.flatnonzero(~np.atleast_1d(good))
    if len(wrong):
        raise ConfigError(f"{name} of row {wrong[0]} is wrong ({len(wrong)} rows are): {what}")
