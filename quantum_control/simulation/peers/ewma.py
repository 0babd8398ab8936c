"""Exponential smoothing with square-root headroom, and the same knowing its backlog."""

from __future__ import annotations

from math import inf

from quantum_control.core.numeric import ops_for
from quantum_control.core.resource import ResourceState
from quantum_control.simulation.peers.base import Peer, require

SMOOTHING = 0.5
"""Weight of the latest demand; the best single value over bursts, steps and periods."""

HEADROOM = 0.4
"""Standard deviations of Poisson demand held in reserve."""

FLOW_SMOOTHING = 0.3
FLOW_HEADROOM = 0.8
"""The same where the backlog is known: the best single setting over bursts, periods, steps and heavy
tails. Demand must be followed fast because a backlog hides in it; the flow need not."""


class Ewma(Peer):
    """Smoothed demand plus square-root staffing.

        L_t = alpha·w_t + (1 - alpha)·L_(t-1),  L_0 = w_0
        u   = L_t + z·sqrt(L_t)

    with the demand w, the smoothing alpha and the headroom z in standard
    deviations of a Poisson demand of mean L. A plain and strong law: demand
    counts the backlog in, so that it drains by itself.

    References
    ----------
    R. G. Brown, Statistical Forecasting for Inventory Control (1959);
    S. Halfin and W. Whitt, "Heavy-traffic limits for queues with many
    exponential servers", Operations Research 29 (1981) 567-588.
    """

    name = "ewma"

    def __init__(self, smoothing: float = SMOOTHING, headroom: float = HEADROOM) -> None:
        require("Ewma", smoothing=(smoothing, 1e-9, 1.0), headroom=(headroom, 0.0, inf))
        self.smoothing = smoothing
        self.headroom = headroom
        self._level: float | None = None  # L; None before the first state

    def wanted_size(self, state: ResourceState) -> float:
        """L + z·sqrt(L) of the demand."""
        return self._staffed(state.demand)

    def _staffed(self, value: float) -> float:
        xp = ops_for(value)
        level = value if self._level is None else self._level + self.smoothing * (value - self._level)
        self._level = level
        return level + self.headroom * xp.sqrt(xp.maximum(level, 0.0))


class EwmaWithBacklog(Ewma):
    """The same on the flow alone, the backlog added in full: u = L + z·sqrt(L) + b.

    Smoothing the demand keeps paying for a backlog that is long gone; told
    apart, it is served at once and forgotten. Not a published law: the
    strongest plain peer that we know.
    """

    name = "ewma_with_backlog"

    def __init__(self, smoothing: float = FLOW_SMOOTHING, headroom: float = FLOW_HEADROOM) -> None:
        super().__init__(smoothing, headroom)

    def wanted_size(self, state: ResourceState) -> float:
        """L + z·sqrt(L) of the flow, plus the backlog."""
        return self._staffed(state.flow) + state.backlog
