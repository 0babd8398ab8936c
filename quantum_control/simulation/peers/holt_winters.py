"""Triple exponential smoothing: a level, a trend and a season of known length."""

from __future__ import annotations

from math import inf

from quantum_control.core.errors import ConfigError
from quantum_control.core.numeric import ops_for
from quantum_control.core.resource import ResourceState
from quantum_control.simulation.peers.base import Peer, require

LEVEL = 0.4
TREND = 0.0
SEASON = 0.3
HEADROOM = 0.6
"""Weights of the latest level, slope and seasonal term, and standard deviations in reserve: the best
setting on the periodic load, where a trend beside the season costs more than it brings."""


class HoltWinters(Peer):
    """Additive Holt-Winters on demand, one interval on, plus square-root headroom.

        L_t = alpha·(w_t - S_(t-m)) + (1 - alpha)·(L_(t-1) + T_(t-1))
        T_t = beta·(L_t - L_(t-1)) + (1 - beta)·T_(t-1)
        S_t = gamma·(w_t - L_t) + (1 - gamma)·S_(t-m)
        u   = f + z·sqrt(f),  f = max(0, L_t + T_t + S_(t+1-m))

    The season of `period` = m intervals is given, which no other law is. In
    the first period, where there is no season to go by, alpha is .5 and the
    terms are the residuals about the level, as usual re-centred to a mean of
    zero when it ends.

    References
    ----------
    P. R. Winters, "Forecasting sales by exponentially weighted moving
    averages", Management Science 6 (1960) 324-342; start: R. Hyndman and
    G. Athanasopoulos, Forecasting: Principles and Practice, 3rd ed., ch. 8.
    """

    name = "holt_winters"

    def __init__(
        self,
        period: int,
        level: float = LEVEL,
        trend: float = TREND,
        season: float = SEASON,
        headroom: float = HEADROOM,
    ) -> None:
        if period < 2:
            raise ConfigError(f"HoltWinters(period={period!r}): a season has at least two intervals")
        require(
            "HoltWinters",
            level=(level, 1e-9, 1.0),
            trend=(trend, 0.0, 1.0),
            season=(season, 0.0, 1.0),
            headroom=(headroom, 0.0, inf),
        )
        self.period = period
        self.level = level
        self.trend = trend
        self.season = season
        self.headroom = headroom
        self._first: list[float] = []  # demands of the first period; not used after it
        self._level: float = 0.0
        self._slope: float = 0.0
        self._seasonal: list[float] = []  # S of each phase; empty during the first period
        self._phase = 0

    def wanted_size(self, state: ResourceState) -> float:
        """Forecast of the next interval plus headroom."""
        demand = state.demand
        xp = ops_for(demand)
        expected = self._learn(demand) if self._seasonal else self._begin(demand)
        forecast = xp.maximum(0.0, expected)
        return forecast + self.headroom * xp.sqrt(forecast)

    def _begin(self, demand: float) -> float:
        """First period: plain smoothing; at its end level and season are read off it."""
        self._level = demand if not self._first else self._level + 0.5 * (demand - self._level)
        self._first.append(demand)
        if len(self._first) < self.period:
            return self._level
        mean: float = sum(self._first) / self.period
        self._seasonal = [value - mean for value in self._first]
        self._level = mean
        self._first = []
        return mean + self._seasonal[0]

    def _learn(self, demand: float) -> float:
        seasonal, phase = self._seasonal, self._phase
        expected = self._level + self._slope
        level = expected + self.level * (demand - seasonal[phase] - expected)
        self._slope = self._slope + self.trend * (level - self._level - self._slope)
        seasonal[phase] = seasonal[phase] + self.season * (demand - level - seasonal[phase])
        self._level = level
        self._phase = (phase + 1) % self.period
        return level + self._slope + seasonal[self._phase]
