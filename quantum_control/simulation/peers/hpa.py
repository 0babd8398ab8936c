"""Kubernetes' Horizontal Pod Autoscaler."""

from __future__ import annotations

from collections import deque
from math import inf

from quantum_control.core.numeric import ops_for
from quantum_control.core.resource import ResourceState
from quantum_control.simulation.peers.base import Peer, ceil, ordered, require
from quantum_control.simulation.peers.windows import SlidingMaximum

TARGET = 0.7
"""Utilisation aimed at; 0.8 where a manifest names none, 0.7 and less in most that do."""

TOLERANCE = 0.1
"""`--horizontal-pod-autoscaler-tolerance`."""

SYNC_SECONDS = 15.0
"""`--horizontal-pod-autoscaler-sync-period`."""

STABILISATION_SECONDS = 300.0
"""`--horizontal-pod-autoscaler-downscale-stabilization`."""

SCALE_UP_PODS = 4.0
SCALE_UP_FACTOR = 2.0
SCALE_UP_SECONDS = 15.0
"""Default `behavior.scaleUp`: 4 pods or 100 %, whichever is more, every 15 s."""


class Hpa(Peer):
    """desired = ceil(current·metric/target), damped.

    The metric is the utilisation w/u, averaged over the time since the last
    evaluation. Every `sync_seconds`:

    1. ratio = metric/target; within 1 ± `tolerance` the recommendation is the
       current size, else ceil(ratio·u) with the size u in force;
    2. a size lower than the current one is replaced by the highest
       recommendation of the last `stabilisation_seconds`, but by none above
       the current size;
    3. a higher size is limited to max(r + 4, ceil(2·r)), r being the size
       15 seconds ago. Scaling down has no rate limit by default.

    This is what a manifest with a `behavior` gets, whose rules are the default
    ones here. Without one a recommendation of the window that lies above the
    current size is taken up, as it was with one until pull request 97348 (2021).

    At least one unit is kept. Set `sync_seconds` to the interval, or below, to
    have it evaluated in every interval.

    References
    ----------
    Kubernetes documentation, "Horizontal Pod Autoscaling" (algorithm details;
    default behavior); `pkg/controller/podautoscaler/horizontal.go`,
    `stabilizeRecommendationWithBehaviors`.
    """

    name = "hpa"

    def __init__(
        self,
        target: float = TARGET,
        tolerance: float = TOLERANCE,
        sync_seconds: float = SYNC_SECONDS,
        stabilisation_seconds: float = STABILISATION_SECONDS,
    ) -> None:
        require(
            "Hpa",
            target=(target, 1e-9, inf),
            tolerance=(tolerance, 0.0, 1.0),
            sync_seconds=(sync_seconds, 0.0, inf),
            stabilisation_seconds=(stabilisation_seconds, 0.0, inf),
        )
        self.target = target
        self.tolerance = tolerance
        self.sync_seconds = sync_seconds
        self.stabilisation_seconds = stabilisation_seconds
        # The windows have a length in evaluations, known with the first state's interval.
        self._recommended = SlidingMaximum(1)
        self._earlier: deque[float] = deque()
        self._every = 0  # intervals per evaluation; 0 before the first state
        self._seen = 0  # intervals since the last evaluation
        self._used: float = 0.0  # sum of the utilisations since then

    def wanted_size(self, state: ResourceState) -> float:
        """Size recommended, at an evaluation; the size ordered, between them."""
        if not self._every:
            self._start(state.interval)
        self._seen += 1
        self._used = self._used + 1.0 + state.position
        current = ordered(state)
        if self._seen < self._every:
            return current
        metric = self._used / self._seen
        self._seen = 0
        self._used = 0.0
        return self._evaluate(current, state.size, metric)

    def _start(self, interval: float) -> None:
        self._every = max(1, round(self.sync_seconds / interval))
        sync = self._every * interval
        self._recommended = SlidingMaximum(max(1, _evaluations(self.stabilisation_seconds, sync)))
        self._earlier = deque(maxlen=_evaluations(SCALE_UP_SECONDS, sync))

    def _evaluate(self, current: float, size: float, metric: float) -> float:
        xp = ops_for(current + metric)
        ratio = metric / self.target
        steady = (ratio >= 1.0 - self.tolerance) & (ratio <= 1.0 + self.tolerance)
        desired = xp.where(steady, current, ceil(ratio * size))
        highest = self._recommended.push(desired)
        desired = xp.where(desired >= current, desired, xp.minimum(current, highest))
        self._earlier.append(current)
        before = self._earlier[0]
        limit = xp.maximum(before + SCALE_UP_PODS, ceil(SCALE_UP_FACTOR * before))
        desired = xp.where(desired > current, xp.minimum(desired, xp.maximum(limit, current)), desired)
        return xp.maximum(1.0, desired)


def _evaluations(seconds: float, sync: float) -> int:
    """Count the evaluations of the last `seconds`, with this one and without one exactly that old."""
    return int(ceil(seconds / sync))
