"""Demand that is not carried over, for a controller that takes what is missing for a backlog."""

from __future__ import annotations


class Stock:
    """Tells a controller how much is wanted of something that is held, not served.

    A queue's unserved demand d - u is owed to the next interval; a heap or a
    buffer that was too small owes nothing. The estimator takes new demand for
    flow_t = d_t - b_(t-1), with the backlog b = max(0, d - u), and the laws
    rest at flow + b. So that this is the size w that is wanted,

        d_t - b_(t-1) + max(0, d_t - u_t) = w,

    hence d_t = r where r = w + b_(t-1) is at most u_t, and (r + u_t)/2 otherwise.
    """

    def __init__(self) -> None:
        self._carried = 0.0

    def demand(self, wanted: float, size: float) -> float:
        """Demand to report when `wanted` would be right and `size` is in force; as size."""
        reach = wanted + self._carried
        demand = reach if reach <= size else (reach + size) / 2.0
        self._carried = max(0.0, demand - size)
        return demand
