"""How many of a pool's connections stay open after its size has come down."""

from __future__ import annotations

SPARE_SECONDS = 10.0
"""Long enough that the ups and downs of demand, and bursts a few seconds apart, open no connections."""


class Spare:
    """The largest size of late, so that connections need not be opened anew where the size comes back.

    Opening one takes the server some milliseconds of a processor, and clients
    wait for it; one that rests costs it some megabytes. Pools hence close what
    rests after a while, not at once.

    Parameters
    ----------
    seconds
        For which a size counts at least; at most for twice as long. 0: none counts but the one in force.
    """

    def __init__(self, seconds: float = SPARE_SECONDS) -> None:
        self.seconds = seconds
        self._began = float("-inf")  # of the stretch of so many seconds that is under way
        self._latest = 0  # largest size in it
        self._before = 0  # and in the one before

    def most(self, size: int, now: float) -> int:
        """Take the size that was in force up to `now`, in seconds, and answer how many may be open."""
        since = now - self._began
        if since >= self.seconds:
            self._before = self._latest if since < 2.0 * self.seconds else 0
            self._latest, self._began = 0, now
        self._latest = max(self._latest, size)
        return max(self._latest, self._before)
