"""Watches whether steering costs more than leaving the size alone would have, and rolls back if so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf

from quantum_control.core.physics import Objective
from quantum_control.core.resource import ResourceState

BETS = (0.05, 0.1, 0.2, 0.4, 0.6, 0.8)
"""Stakes that are mixed, equally: small ones find small losses, large ones find large ones soon."""

BLOCK = 10
"""Intervals whose costs are summed before they are compared: queues carry costs over from one to the next."""

MARGIN = 0.05
"""Relative loss that is tolerated: a roll-back is not worth less."""

ALARM = 1e4
"""Evidence at which to roll back. Without a loss it comes once in that many blocks at the most, in the
mean: 28 hours at one interval a second."""

HOLD_SECONDS = 600.0
"""For which the size is left after a first roll-back; twice as long after each further one."""

LONGEST_HOLD = 86_400.0


class LossEvidence:
    """Evidence that a sequence of relative losses, each in [-1, 1], has a mean above `margin`.

    An e-detector of the CUSUM kind (Shin, Ramdas & Rinaldo 2022, "E-detectors:
    a nonparametric framework for online changepoint detection"): for each
    stake λ, M = max(M, 1) · (1 + λ·(x - margin)), and their mean. As long as
    each x, given those before, has a mean of at most `margin`, M is below the
    Shiryaev-Roberts statistic, so that the mean time until it exceeds A is at
    least A.
    """

    def __init__(self, margin: float = MARGIN, bets: Sequence[float] = BETS) -> None:
        self._margin = margin
        self._bets = tuple(bets)
        self._wealth = [1.0] * len(self._bets)

    def take(self, loss: float) -> float:
        """Take one relative loss, and return the evidence so far."""
        gain = min(max(loss, -1.0), 1.0) - self._margin
        wealth = self._wealth
        for number, bet in enumerate(self._bets):
            wealth[number] = max(wealth[number], 1.0) * (1.0 + bet * gain)
        return sum(wealth) / len(wealth)

    def reset(self) -> None:
        """Forget everything."""
        self._wealth = [1.0] * len(self._bets)


class ObjectiveWatch:
    """Rolls back to the size found where steering is significantly worse than that would have been.

    What the size found would have cost is computed on a fluid queue that gets
    the same flow: b = max(0, b + flow - size). That holds while the flow does
    not depend on the size. Failures and rejections beyond their rate before
    the first change are charged to steering as waiting.

    Parameters
    ----------
    objective
        The prices.
    alarm
        Evidence at which to roll back: 1 / `alarm` bounds the rate of false
        alarms, per block of `BLOCK` intervals.
    kept
        Whether somebody keeps the size as it is: such time is not charged to
        steering.
    """

    def __init__(
        self, objective: Objective, alarm: float = ALARM, kept: Callable[[], bool] = lambda: False
    ) -> None:
        self.evidence = 1.0
        """How strongly it looks like a loss; 1 is not at all."""
        self.roll_backs = 0
        self._objective = objective
        self._alarm = alarm
        self._kept = kept
        self._test = LossEvidence()
        self._good = 0  # the size found, with which steering is compared
        self._backlog = 0.0  # of the twin that has kept it
        self._changed = False
        self._before = 0.0  # failures and rejections per interval before the first change, smoothed
        self._last_size = 0.0
        self._steered = self._left = 0.0  # costs of the block so far
        self._intervals = 0
        self._until = -inf
        self._hold = HOLD_SECONDS

    def allow(self, state: ResourceState, size: int, wanted: int, /) -> tuple[int, str]:
        """Hold at the size found after a significant loss."""
        if not self._good:
            self._good = size
            self._begin(state)
        if self._kept():
            self._begin(state)
            return wanted, ""
        if state.time < self._until <= state.time + LONGEST_HOLD:
            self._begin(state)
            return self._good, "rolled back: steering had cost more than the size found; held there"
        self._charge(state)
        if self._intervals >= BLOCK:
            self._compare()
            if self.evidence >= self._alarm and self._changed:
                return self.roll_back(state), "steering costs more than the size found would: rolled back"
        self._changed = self._changed or wanted != size
        return wanted, ""

    def roll_back(self, state: ResourceState) -> int:
        """Begin to hold at the size found, which is returned."""
        self.roll_backs += 1
        self._until = state.time + self._hold
        self._hold = min(2.0 * self._hold, LONGEST_HOLD)
        self._test.reset()
        self.evidence = 1.0
        self._changed = False
        self._begin(state)
        return self._good

    def _begin(self, state: ResourceState) -> None:
        """Begin a block, with a twin that is as the resource is."""
        self._backlog = max(state.demand - state.size, 0.0)
        self._last_size = state.size
        self._steered = self._left = 0.0
        self._intervals = 0

    def _charge(self, state: ResourceState) -> None:
        prices = self._objective
        backlog = max(state.demand - state.size, 0.0)
        failed = sum(rate for rate in (state.errors, state.drops) if 0.0 < rate < inf) * state.interval
        if not self._changed:
            self._before += 0.1 * (failed - self._before)
        failed = max(failed - self._before, 0.0)
        self._steered += prices.cost(backlog + failed, state.size, state.size - self._last_size)
        self._last_size = state.size
        flow = state.flow if state.flow == state.flow else 0.0
        self._backlog = max(self._backlog + flow - self._good, 0.0)
        self._left += prices.cost(self._backlog, self._good, 0.0)
        self._intervals += 1

    def _compare(self) -> None:
        both = self._steered + self._left
        self.evidence = self._test.take((self._steered - self._left) / both if both > 0.0 else 0.0)
        self._steered = self._left = 0.0
        self._intervals = 0
