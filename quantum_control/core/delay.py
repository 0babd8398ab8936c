"""How long an order takes to be in force, from sizes alone."""

from __future__ import annotations

from collections import deque


class DelayEstimator:
    """How many intervals a commanded size takes to be in force.

    The measured size is matched with the commands of the last intervals; a
    wrong assumed delay halves the stable gain, so it is measured, not assumed.
    Where several delays explain a size, each gets a vote: in time only the true
    one explains them all.
    """

    LONGEST = 8

    def __init__(self) -> None:
        self.delay = 0
        self._commands: deque[float] = deque(maxlen=self.LONGEST + 1)
        self._votes = [0.0] * (self.LONGEST + 1)

    def commanded(self, size: float, intervals: int = 1) -> None:
        """Remember the size that was ordered during the last `intervals`."""
        self._commands.append(size)
        for _ in range(min(intervals - 1, self.LONGEST)):
            self._commands.append(size)

    def observed(self, size: float) -> None:
        """Take the size that was in force in this interval."""
        commands = self._commands
        explained = commands.count(size)
        if explained == 0 or explained == len(commands):
            return  # someone else's size, or one that creeps; or nothing moved
        votes = self._votes
        for lag, ordered in enumerate(reversed(commands)):
            votes[lag] = 0.9 * votes[lag] + (ordered == size)
        self.delay = votes.index(max(votes))

    def in_flight(self) -> list[float]:
        """Sizes ordered but not yet in force, oldest first."""
        return list(self._commands)[-self.delay :] if self.delay else []
