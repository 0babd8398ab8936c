"""Where every law wants to rest: the newsvendor's quantiles of the demand to come.

With waiting priced p_w and size p_s, the cheapest size for a demand W is its
quantile p_w/(p_w + p_s) (Arrow, Harris & Marschak 1951; square-root staffing,
Halfin & Whitt 1981). A proportional price p_c on movement widens that point
to an interval in which not moving is cheapest, between the quantiles
(p_w - p_c)/(p_w + p_s) and (p_w + p_c)/(p_w + p_s) (no-trade region, Davis &
Norman 1990). In amplitude the demand is Gaussian, so that the interval is

    [(m + z_low·s)² + b,  (m + z_high·s)² + b]

with the forecast m² of the flow, its spread s in amplitude and the backlog b
that will wait when the size acts.
"""

from __future__ import annotations

from statistics import NormalDist

from quantum_control.core.numeric import SCALAR, Ops, ops_for
from quantum_control.core.physics import Objective
from quantum_control.core.resource import ResourceState

SMALLEST = 1e-3
"""Floor of an amplitude, so that its logarithm exists when nothing is asked for. sqrt(size)."""

EXTREME = 1e-4
"""Of the best size: the least chance that demand stays below, or goes above, that any prices may ask for."""

WIDEST = 0.02
"""Of the edges about it: the same, or half of the best size's own, for any price on movement."""


def rest_quantiles(objective: Objective) -> tuple[float, float]:
    """Standard-normal quantiles (z_low, z_high) between which not moving is cheapest."""
    total = objective.waiting + objective.size
    best = min(max(objective.waiting / total, EXTREME), 1.0 - EXTREME)
    move = objective.change / total
    # A movement price above the others would ask for quantiles that do not exist.
    low = max(best - move, min(WIDEST, best / 2.0))
    high = min(best + move, max(1.0 - WIDEST, (1.0 + best) / 2.0))
    normal = NormalDist()
    return normal.inv_cdf(low), normal.inv_cdf(high)


class Staffing:
    """The interval of sizes in which a law is at rest.

    Parameters
    ----------
    headroom
        Centre of the interval, in spreads of the demand above its forecast.
        More waits less and costs more size. Unit 1.
    slack
        Half the width of the interval in spreads; 0 tracks every change. Unit 1.

    Both take arrays, one row a candidate.
    """

    __slots__ = ("_high", "_low", "headroom", "slack")

    def __init__(self, headroom: float, slack: float) -> None:
        self.headroom = headroom
        self.slack = slack
        self._low = headroom - slack
        self._high = headroom + slack

    @classmethod
    def for_objective(cls, objective: Objective) -> Staffing:
        """The interval that the prices of `objective` ask for."""
        low, high = rest_quantiles(objective)
        return cls((high + low) / 2.0, (high - low) / 2.0)

    def deviation(self, state: ResourceState) -> float:
        """Distance ln(rest/u) from the size ordered to the nearest size at rest; 0 inside. Unit 1."""
        forecast = state.forecast
        xp = ops_for(forecast)
        if xp is SCALAR and forecast != forecast:
            # A bare state, not an estimator's: the position alone says how far the size is from full.
            return xp.log(max(1.0 + state.position, SMALLEST * SMALLEST))
        low, high = self._interval(state, xp)
        size = state.commanded
        return xp.log(xp.minimum(xp.maximum(size, low), high) / size)

    def setpoint(self, state: ResourceState) -> float:
        """Position at the centre of the interval when the flow is as forecast; negative. Unit 1."""
        forecast = state.forecast
        xp = ops_for(forecast)
        centre = xp.maximum(xp.sqrt(forecast) + self.headroom * state.spread, SMALLEST)
        return forecast / (centre * centre) - 1.0

    def _interval(self, state: ResourceState, xp: Ops) -> tuple[float, float]:
        amplitude = xp.sqrt(state.forecast)
        spread = state.spread
        low = xp.maximum(amplitude + self._low * spread, SMALLEST)
        high = xp.maximum(amplitude + self._high * spread, SMALLEST)
        return low * low + state.backlog, high * high + state.backlog
