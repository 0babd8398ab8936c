"""When a collection may be asked for: next to nothing happens, and much garbage lies about."""

from __future__ import annotations

from math import inf, nan

from quantum_control.resources.jvm_reading import HeapReading

QUIET = 0.1
"""Part of the average allocation rate below which a moment is quiet."""

GARBAGE = 0.25
"""Part of the committed heap that must be garbage for a collection in a quiet moment."""

QUIET_COLLECTION_SECONDS = 30.0
"""Least time between two of them."""

RATE_MEMORY = 0.1
"""Weight of one interval in the average allocation rate."""


class QuietMoments:
    """Tells the moments in which a collection disturbs nobody and is worth it."""

    def __init__(self) -> None:
        self._rate = nan  # average allocation, bytes per second
        self._collected = -inf  # when the last was due, on the JVM's clock

    def due(self, now: HeapReading, rate: float) -> bool:
        """Whether this is one; `rate` is what was allocated since the last reading, bytes per second."""
        usual = self._rate
        self._rate = rate if usual != usual else usual + RATE_MEMORY * (rate - usual)
        quiet = rate < QUIET * usual
        worth_it = now.used - now.live > GARBAGE * now.committed
        if not (quiet and worth_it) or 0.0 <= now.time - self._collected < QUIET_COLLECTION_SECONDS:
            return False
        self._collected = now.time
        return True
