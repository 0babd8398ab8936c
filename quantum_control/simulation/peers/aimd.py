"""Additive increase, multiplicative decrease: as a concurrency limit, and as a provisioner."""

from __future__ import annotations

from math import inf

from quantum_control.core.numeric import ops_for
from quantum_control.core.resource import ResourceState
from quantum_control.simulation.peers.base import Peer, floor, in_flight, ordered, require, round_trip

BACKOFF = 0.9
"""`backoffRatio` of Netflix's AIMDLimit."""

TIMEOUT_SECONDS = 5.0
"""Its time-out, above which a latency counts as a drop."""

SMALLEST_LIMIT = 20.0
LARGEST_LIMIT = 200.0
"""Its bounds."""

STEP = 20.0
"""Additive step of the provisioner; with the two below the best single setting over bursts, periods,
steps and heavy tails."""

SLACK = 0.8
"""Utilisation below which the provisioner shrinks."""


class AimdLimit(Peer):
    """Netflix's loss-based concurrency limit.

        u <- floor(0.9·u)  if something was dropped or the latency is above the time-out,
        u <- u + 1         else, if at least half of the limit is in use,
        u                  else; kept within [20, 200].

    It protects a server that must not be overloaded: congestion makes it
    *smaller*. Where the size is the capacity, as in a queue, that is the wrong
    way round by design; `AimdPool` is the same idea turned about.

    References
    ----------
    Netflix concurrency-limits, `AIMDLimit`; D.-M. Chiu and R. Jain, "Analysis
    of the increase and decrease algorithms for congestion avoidance in
    computer networks", Computer Networks 17 (1989) 1-14.
    """

    name = "aimd_limit"

    def __init__(
        self,
        backoff: float = BACKOFF,
        timeout_seconds: float = TIMEOUT_SECONDS,
        smallest: float = SMALLEST_LIMIT,
        largest: float = LARGEST_LIMIT,
    ) -> None:
        require(
            "AimdLimit",
            backoff=(backoff, 0.5, 1.0),
            timeout_seconds=(timeout_seconds, 0.0, inf),
            smallest=(smallest, 1.0, largest),
        )
        self.backoff = backoff
        self.timeout_seconds = timeout_seconds
        self.smallest = smallest
        self.largest = largest

    def wanted_size(self, state: ResourceState) -> float:
        """Next limit."""
        limit = ordered(state)
        latency = round_trip(state)
        xp = ops_for(limit + latency)
        congested = (state.errors > 0.0) | (latency > self.timeout_seconds)
        used = 2.0 * in_flight(state, xp) >= limit
        grown = xp.where(used, limit + 1.0, limit)
        limit = xp.where(congested, floor(self.backoff * limit), grown)
        return xp.minimum(self.largest, xp.maximum(self.smallest, limit))


class AimdPool(Peer):
    """AIMD on capacity: add while work waits, shed a share while there is slack.

        u <- u + step         if w > u,
        u <- max(1, d·u)      else if w < threshold·u,
        u                     else.

    The rule by which many pools grow and shrink. Parameters are our choice;
    there is no published set.

    Parameters
    ----------
    step
        Added per interval; as size.
    decrease
        d, factor per interval of slack.
    threshold
        Utilisation below which there is slack.
    """

    name = "aimd"

    def __init__(self, step: float = STEP, decrease: float = BACKOFF, threshold: float = SLACK) -> None:
        require(
            "AimdPool",
            step=(step, 1e-9, inf),
            decrease=(decrease, 1e-9, 1.0),
            threshold=(threshold, 0.0, 1.0),
        )
        self.step = step
        self.decrease = decrease
        self.threshold = threshold

    def wanted_size(self, state: ResourceState) -> float:
        """Next size."""
        size = ordered(state)
        demand = state.demand
        xp = ops_for(size + demand)
        shrunk = xp.where(demand < self.threshold * size, xp.maximum(1.0, self.decrease * size), size)
        return xp.where(demand > size, size + self.step, shrunk)
