"""Netflix's VegasLimit: the queue is what the latency above its minimum says."""

from __future__ import annotations

from math import inf
from typing import cast

import numpy as np

from quantum_control.core.numeric import SCALAR, Ops, ops_for
from quantum_control.core.resource import ResourceState
from quantum_control.simulation.peers.base import (
    Peer,
    ceil,
    in_flight,
    ordered,
    require,
    round_trip,
    whole_log10,
)

PROBE_MULTIPLIER = 30.0
"""A new minimum of the latency is taken every so many times the limit samples."""

LARGEST_LIMIT = 1000.0
"""`maxConcurrency`."""


class VegasLimit(Peer):
    """TCP Vegas on a concurrency limit, with Netflix's logarithmic steps.

        queue = ceil(u·(1 - R_min/R)),  g = max(1, floor(log10 u))

        u <- u + 6g  if queue <= g            (no queuing: fast)
        u <- u + g   else if queue < 3g       (alpha)
        u <- u - g   else if queue > 6g       (beta)
        u            else

    A failure lowers by g as well; less than half of the limit in use leaves
    it alone. R_min is the lowest latency R seen; after 30·j·u samples, j
    uniform on [1/2, 1), it is forgotten and the latest taken instead.
    Samples which set R_min leave the limit as it is. The limit is kept within
    [1, 1000].

    References
    ----------
    L. Brakmo and L. Peterson, "TCP Vegas", IEEE JSAC 13 (1995) 1465-1480;
    Netflix concurrency-limits, `VegasLimit`.
    """

    name = "vegas"

    def __init__(
        self,
        probe_multiplier: float = PROBE_MULTIPLIER,
        largest: float = LARGEST_LIMIT,
        rng: np.random.Generator | None = None,
    ) -> None:
        require("VegasLimit", probe_multiplier=(probe_multiplier, 1e-9, inf), largest=(largest, 1.0, inf))
        self.probe_multiplier = probe_multiplier
        self.largest = largest
        self._rng = rng or np.random.default_rng(0)
        self._lowest: float = inf  # R_min, seconds
        self._samples: float = 0.0  # since R_min was last forgotten
        self._jitter: float | None = None  # j; None before the first state

    def wanted_size(self, state: ResourceState) -> float:
        """Next limit."""
        limit, latency = ordered(state), round_trip(state)
        xp = ops_for(limit + latency)
        if self._jitter is None:
            self._jitter = self._draw(limit, xp)
        self._samples = self._samples + 1.0
        probing = self._jitter * self.probe_multiplier * limit <= self._samples
        if np.any(probing):
            self._jitter = xp.where(probing, self._draw(limit, xp), self._jitter)
            self._samples = xp.where(probing, 0.0, self._samples)
        renewed = probing | (latency < self._lowest)
        self._lowest = xp.where(renewed, latency, self._lowest)

        step = whole_log10(limit, xp)
        queue = ceil(limit * (1.0 - self._lowest / latency))
        move = xp.where(queue > 6.0 * step, -step, 0.0)
        move = xp.where(queue < 3.0 * step, step, move)
        move = xp.where(queue <= step, 6.0 * step, move)
        move = xp.where(2.0 * in_flight(state, xp) < limit, 0.0, move)
        move = xp.where(state.errors > 0.0, -step, move)
        moved = xp.maximum(1.0, xp.minimum(self.largest, limit + move))
        return xp.where(renewed, limit, moved)

    def _draw(self, limit: float, xp: Ops) -> float:
        shape = None if xp is SCALAR else np.shape(limit)
        return cast(float, self._rng.uniform(0.5, 1.0, shape))
