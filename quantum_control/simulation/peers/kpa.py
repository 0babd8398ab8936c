"""Knative's Pod Autoscaler."""

from __future__ import annotations

from math import inf

from quantum_control.core.numeric import ops_for
from quantum_control.core.resource import ResourceState
from quantum_control.simulation.peers.base import Peer, ceil, floor, ordered, require
from quantum_control.simulation.peers.windows import SlidingMean

TARGET = 0.7
"""`container-concurrency-target-percentage`, of a capacity of one per unit of size."""

STABLE_SECONDS = 60.0
"""`stable-window`."""

PANIC_SHARE = 0.1
"""`panic-window-percentage` of the stable window: 6 s."""

PANIC_THRESHOLD = 2.0
"""`panic-threshold-percentage`."""

MAX_SCALE_UP = 1000.0
MAX_SCALE_DOWN = 2.0
"""`max-scale-up-rate`, `max-scale-down-rate`: factors per evaluation."""

TICK_SECONDS = 2.0
"""`tick-interval`."""


class Kpa(Peer):
    """Two windows over the concurrency: a long one for calm, a short one for panic.

    Every `tick_seconds`, from the means of demand over the stable and over
    the panic window, and with the size u in force (1 at least):

        stable = clip(ceil(mean_stable/target), floor(u/down), ceil(up·u))
        panic  = clip(ceil(mean_panic/target),  floor(u/down), ceil(up·u))

    Panic begins when ceil(mean_panic/target)/u reaches `panic_threshold`, and
    ends once that has not been so for a whole stable window. While it lasts
    the size is the largest that stable or panic has asked for since it began;
    otherwise it is `stable`. A law that starts on more than one unit starts in
    panic, so that it does not shrink before it has seen a window.

    References
    ----------
    Knative Serving, `pkg/autoscaler/scaling/autoscaler.go` and
    `config/core/configmaps/autoscaler.yaml`.
    """

    name = "kpa"

    def __init__(
        self,
        target: float = TARGET,
        stable_seconds: float = STABLE_SECONDS,
        panic_share: float = PANIC_SHARE,
        panic_threshold: float = PANIC_THRESHOLD,
        tick_seconds: float = TICK_SECONDS,
    ) -> None:
        require(
            "Kpa",
            target=(target, 1e-9, inf),
            stable_seconds=(stable_seconds, 0.0, inf),
            panic_share=(panic_share, 0.0, 1.0),
            panic_threshold=(panic_threshold, 1.0, inf),
            tick_seconds=(tick_seconds, 0.0, inf),
        )
        self.target = target
        self.stable_seconds = stable_seconds
        self.panic_seconds = panic_share * stable_seconds
        self.panic_threshold = panic_threshold
        self.tick_seconds = tick_seconds
        self._stable = SlidingMean(1)
        self._panic = SlidingMean(1)
        self._every = 0  # intervals per evaluation; 0 before the first state
        self._seen = 0  # intervals since the last evaluation
        self._now: float = 0.0  # seconds since the first state
        self._panicked: float = -inf  # when the threshold was last crossed; -inf while calm
        self._most: float = 0.0  # largest size asked for in this panic; 0 while calm

    def wanted_size(self, state: ResourceState) -> float:
        """Size asked for, at an evaluation; the size ordered, between them."""
        if not self._every:
            self._start(state)
        self._now += state.interval
        stable = self._stable.push(state.demand)
        panic = self._panic.push(state.demand)
        self._seen += 1
        if self._seen < self._every:
            return ordered(state)
        self._seen = 0
        return self._evaluate(state.size, stable, panic)

    def _start(self, state: ResourceState) -> None:
        interval = state.interval
        self._every = max(1, round(self.tick_seconds / interval))
        self._stable = SlidingMean(max(1, round(self.stable_seconds / interval)))
        self._panic = SlidingMean(max(1, round(self.panic_seconds / interval)))
        size = state.size
        xp = ops_for(size)
        self._panicked = xp.where(size > 1.0, 0.0, -inf)
        self._most = xp.where(size > 1.0, size, 0.0)

    def _evaluate(self, size: float, stable: float, panic: float) -> float:
        ready = size
        xp = ops_for(ready + panic)
        ready = xp.maximum(1.0, ready)
        most, least = ceil(MAX_SCALE_UP * ready), floor(ready / MAX_SCALE_DOWN)
        want_panic = ceil(panic / self.target)
        desired = xp.minimum(xp.maximum(ceil(stable / self.target), least), most)
        in_panic = xp.minimum(xp.maximum(want_panic, least), most)

        over = want_panic / ready >= self.panic_threshold
        self._panicked = xp.where(over, self._now, self._panicked)
        panicking = self._panicked + self.stable_seconds >= self._now
        self._panicked = xp.where(panicking, self._panicked, -inf)
        highest = xp.maximum(self._most, xp.maximum(desired, in_panic))
        self._most = xp.where(panicking, highest, 0.0)
        # Scaling to zero is another machinery; one unit stays.
        return xp.maximum(1.0, xp.where(panicking, highest, desired))
