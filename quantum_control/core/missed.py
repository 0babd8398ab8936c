"""How many intervals have passed without a measurement."""

from __future__ import annotations

EARLY = 0.1
"""Of an interval, that a measurement after missed ones may come before its time."""


class Missed:
    """Counts the intervals that pass without a measurement.

    Steps are taken on a grid: one that comes late makes the next interval short, and nothing was missed.
    """

    def __init__(self) -> None:
        self._late = 0.0  # by how much the last measurement was, intervals; negative if it was early

    def before(self, intervals: float) -> int:
        """Count those missed before a measurement that is `intervals` after the one before it."""
        late = self._late + intervals - 1.0
        if late < 1.0 - EARLY:  # as nearly always
            # Of steps that are always early, no more is kept than one may be late.
            self._late = late if late > -1.0 else -1.0
            return 0
        missed = int(late + EARLY)
        self._late = late - missed
        return missed
