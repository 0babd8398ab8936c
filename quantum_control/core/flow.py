"""What is new of a demand, and what is left over from before."""

from __future__ import annotations

from quantum_control.core.numeric import SCALAR, Ops


def flow_and_backlog(
    demand: float, size: float, carried: float, intervals: float, xp: Ops = SCALAR
) -> tuple[float, float]:
    """New demand of the last `intervals`, per interval, and the backlog, after one of `carried`; as size.

    Work is conserved: in a gap of n intervals the backlog carried into it was
    served, not n times over.
    """
    backlog = xp.maximum(demand - size, 0.0)
    change = (backlog - carried) / xp.maximum(intervals, 1.0)
    return xp.maximum(demand - backlog + change, 0.0), backlog
