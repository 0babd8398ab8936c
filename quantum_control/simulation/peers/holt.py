"""Double exponential smoothing: a level and a trend."""

from __future__ import annotations

from math import inf

from quantum_control.core.numeric import ops_for
from quantum_control.core.resource import ResourceState
from quantum_control.simulation.peers.base import Peer, require
from quantum_control.simulation.peers.ewma import SMOOTHING

TREND = 0.02
"""Weight of the latest slope; more turns noise into trend."""

HEADROOM = 0.6
"""Standard deviations of Poisson demand held in reserve; with the other two the best single setting
over bursts, periods, steps and heavy tails."""


class Holt(Peer):
    """Holt's linear method on demand, `ahead` intervals on, plus square-root headroom.

        L_t = alpha·w_t + (1 - alpha)·(L_(t-1) + T_(t-1))
        T_t = beta·(L_t - L_(t-1)) + (1 - beta)·T_(t-1)
        u   = f + z·sqrt(f),  f = max(0, L_t + h·T_t)

    started at L_0 = w_0, T_0 = 0.

    References
    ----------
    C. C. Holt, "Forecasting seasonals and trends by exponentially weighted
    moving averages" (1957), reprinted in Int. J. Forecasting 20 (2004) 5-10.
    """

    name = "holt"

    def __init__(
        self,
        smoothing: float = SMOOTHING,
        trend: float = TREND,
        headroom: float = HEADROOM,
        ahead: float = 1.0,
    ) -> None:
        require(
            "Holt",
            smoothing=(smoothing, 1e-9, 1.0),
            trend=(trend, 0.0, 1.0),
            headroom=(headroom, 0.0, inf),
            ahead=(ahead, 0.0, inf),
        )
        self.smoothing = smoothing
        self.trend = trend
        self.headroom = headroom
        self.ahead = ahead
        self._level: float | None = None  # L; None before the first state
        self._slope: float = 0.0  # T, per interval

    def wanted_size(self, state: ResourceState) -> float:
        """Forecast of the demand plus headroom."""
        demand = state.demand
        xp = ops_for(demand)
        if self._level is None:
            level = demand
        else:
            expected = self._level + self._slope
            level = expected + self.smoothing * (demand - expected)
            self._slope = self._slope + self.trend * (level - self._level - self._slope)
        self._level = level
        forecast = xp.maximum(0.0, level + self.ahead * self._slope)
        return forecast + self.headroom * xp.sqrt(forecast)
