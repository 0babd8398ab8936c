"""A size that somebody chose: the baseline of everything."""

from __future__ import annotations

from math import inf

import numpy as np

from quantum_control.core.physics import Objective
from quantum_control.core.resource import ResourceState
from quantum_control.simulation.accounting import DEFAULT_OBJECTIVE
from quantum_control.simulation.peers.base import Peer, require
from quantum_control.simulation.traffic import FloatArray

_GOLDEN = (5.0**0.5 - 1.0) / 2.0


class Fixed(Peer):
    """Always the same size: u = size.

    Parameters
    ----------
    size
        In the resource's own unit; an array gives each run a size of its own.
    """

    name = "fixed"

    def __init__(self, size: float) -> None:
        if isinstance(size, (int, float)):
            require("Fixed", size=(size, 1e-9, inf))
        self.size = size

    def wanted_size(self, state: ResourceState) -> float:
        """Return the size chosen, broadcast to the shape of the state."""
        return self.size + 0.0 * state.size


def best_fixed(
    arrivals: FloatArray, objective: Objective = DEFAULT_OBJECTIVE, tolerance: float = 1e-4
) -> tuple[FloatArray, FloatArray]:
    """Best fixed size in hindsight on a fluid queue, and its mean cost per interval, for each run.

    The backlog of a fluid queue, b_t(u) = max over s <= t of sum_(s..t) (a - u)
    or 0, is a maximum of functions linear in u, so that the cost is convex and
    golden sections find its minimum. They stop when the bracket of every run
    is below `tolerance` of its largest arrivals.
    """
    low = np.zeros(arrivals.shape[1])
    high = arrivals.max(axis=0)
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    cost_left, cost_right = _cost(arrivals, left, objective), _cost(arrivals, right, objective)
    for _ in range(int(np.ceil(np.log(tolerance) / np.log(_GOLDEN)))):
        better = cost_left < cost_right
        low, high = np.where(better, low, left), np.where(better, right, high)
        probe = np.where(better, high - _GOLDEN * (high - low), low + _GOLDEN * (high - low))
        cost = _cost(arrivals, probe, objective)
        left, right = np.where(better, probe, right), np.where(better, left, probe)
        cost_left, cost_right = np.where(better, cost, cost_right), np.where(better, cost_left, cost)
    size = (low + high) / 2.0
    return size, _cost(arrivals, size, objective)


def _cost(arrivals: FloatArray, size: FloatArray, objective: Objective) -> FloatArray:
    """Mean cost per interval of one size for each run; row by row, which is kind to the cache."""
    backlog = np.zeros_like(size)
    waited = np.zeros_like(size)
    for row in arrivals:
        backlog = np.maximum(0.0, backlog + row - size)
        waited += backlog
    cost: FloatArray = objective.waiting * waited / len(arrivals) + objective.size * size
    return cost
