"""What a sequence of sizes would have cost on a fluid queue."""

from __future__ import annotations

import numpy as np

from quantum_control.core.physics import Objective
from quantum_control.simulation.traffic import FloatArray

DEFAULT_OBJECTIVE = Objective()
"""The controller's own prices: 3 for waiting, 1 for size, 0.3 for change."""


def backlog_of_sizes(arrivals: FloatArray, sizes: FloatArray) -> FloatArray:
    """Backlog left after each interval: b_t = max(0, b_(t-1) + a_t - u_t), b_0 = 0.

    The recursion in closed form (Lindley): with S = cumsum(a - u), b_t is S_t
    less the lowest of 0 and S up to t.
    """
    walk = np.cumsum(arrivals - sizes, axis=0)
    backlog: FloatArray = walk - np.minimum(0.0, np.minimum.accumulate(walk, axis=0))
    return backlog


def cost_of_sizes(
    arrivals: FloatArray, sizes: FloatArray, objective: Objective = DEFAULT_OBJECTIVE
) -> FloatArray:
    """Mean cost per interval of each run, when `sizes` (steps, runs) were in force.

    q·b + p·u + c·|u - u before|; the first size is taken as found, so that
    entering a run costs nothing.
    """
    backlog = backlog_of_sizes(arrivals, sizes)
    moved = np.abs(np.diff(sizes, axis=0)).sum(axis=0)
    spent = objective.waiting * backlog.sum(axis=0) + objective.size * sizes.sum(axis=0)
    cost: FloatArray = (spent + objective.change * moved) / arrivals.shape[0]
    return cost
