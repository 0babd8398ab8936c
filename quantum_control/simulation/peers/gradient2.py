"""Netflix's Gradient2Limit: the latest latency against its own long-term mean."""

from __future__ import annotations

from math import inf

from quantum_control.core.numeric import ops_for
from quantum_control.core.resource import ResourceState
from quantum_control.simulation.peers.base import (
    ROUNDING,
    Peer,
    floor,
    in_flight,
    ordered,
    require,
    round_trip,
)

SMOOTHING = 0.2
QUEUE = 4.0
LONG_WINDOW = 600
TOLERANCE = 1.5
SMALLEST_LIMIT = 20.0
LARGEST_LIMIT = 200.0
"""Defaults of the builder."""

WARM_UP = 10
"""Samples of which the long-term latency is a plain mean."""


class Gradient2Limit(Peer):
    """Concurrency limit that shrinks as latency rises above what it usually is.

        gradient = clip(tolerance·R_long/R, 1/2, 1)
        u <- (1 - s)·u + s·(gradient·u + queue),  kept within [20, 200]

    R is the latest latency, R_long its exponential mean of weight
    2/(window + 1) (a plain mean of the first 10), lowered by 5 % whenever it
    is more than twice R; among the first 10 the mean is worked out anew each
    time, so that this does not last. With less than half of the limit in use the limit is
    left alone. Losses are not looked at.

    Where every request times out R = R_long, the gradient is 1, and the limit
    grows for ever: the "stable time-out".

    References
    ----------
    Netflix concurrency-limits, `Gradient2Limit`, `ExpAvgMeasurement`.
    """

    name = "gradient2"

    def __init__(
        self,
        smoothing: float = SMOOTHING,
        queue: float = QUEUE,
        long_window: int = LONG_WINDOW,
        tolerance: float = TOLERANCE,
        smallest: float = SMALLEST_LIMIT,
        largest: float = LARGEST_LIMIT,
    ) -> None:
        require(
            "Gradient2Limit",
            smoothing=(smoothing, 0.0, 1.0),
            queue=(queue, 0.0, inf),
            long_window=(long_window, 1, inf),
            tolerance=(tolerance, 1.0, inf),
            smallest=(smallest, 1.0, largest),
        )
        self.smoothing = smoothing
        self.queue = queue
        self.long_window = long_window
        self.tolerance = tolerance
        self.smallest = smallest
        self.largest = largest
        self._long: float = 0.0  # R_long, seconds
        self._samples = 0  # taken during the warm-up
        self._sum: float = 0.0  # of them, seconds
        self._limit: float | None = None  # with its fraction, of which a resource sees the whole part

    def wanted_size(self, state: ResourceState) -> float:
        """Next limit."""
        latency, current = round_trip(state), ordered(state)
        xp = ops_for(current + latency)
        limit = current
        if self._limit is not None:
            # Off by more than the fraction that was cut: someone else set the size, go on from there.
            limit = xp.where(abs(self._limit - current) < 1.0 + ROUNDING, self._limit, current)
        self._average(latency)
        long = self._long
        self._long = xp.where(long > 2.0 * latency, 0.95 * long, long)

        gradient = xp.maximum(0.5, xp.minimum(1.0, self.tolerance * long / latency))
        aim = limit * gradient + self.queue
        moved = limit * (1.0 - self.smoothing) + aim * self.smoothing
        moved = xp.maximum(self.smallest, xp.minimum(self.largest, moved))
        self._limit = limit = xp.where(in_flight(state, xp) < limit / 2.0, limit, moved)
        return floor(limit)

    def _average(self, latency: float) -> None:
        if self._samples < WARM_UP:
            self._samples += 1
            self._sum = self._sum + latency
            self._long = self._sum / self._samples
        else:
            weight = 2.0 / (self.long_window + 1.0)
            self._long = self._long + weight * (latency - self._long)
