"""What no law can beat: perfect foresight, and a known intensity with unknown noise.

Both are functions of the load, not laws: they are given what no controller
can see.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from quantum_control.core.errors import ConfigError
from quantum_control.core.physics import Objective
from quantum_control.simulation.accounting import DEFAULT_OBJECTIVE, cost_of_sizes
from quantum_control.simulation.traffic import FloatArray


def foresight(arrivals: FloatArray, objective: Objective = DEFAULT_OBJECTIVE) -> FloatArray:
    """Mean cost per interval of perfect foresight, for each run; the size may be fractional.

    The best policy is u = a, nothing waits:

        C* = p·sum_t a_t + c·sum_t |a_t - a_(t-1)|,

    with the prices q of waiting, p of size and c of change.

    **No policy does better** if q >= p + 4c and p >= 2c. Write i_t >= 0 for
    the idle part of the size and b_t >= 0 for the backlog (b_0 = 0), so that
    d_t := u_t - a_t = i_t - b_t + b_(t-1). Then

    - sum u = sum a + sum i - b_T  (sum d telescopes), and
    - V(a) <= V(u) + V(d) for the total variation V, with
      V(d) <= 2·sum |d| <= 2·sum i + 4·sum b, so that V(u) >= V(a) - 2·sum i - 4·sum b.

    Put both into the cost of any policy, and use b_T <= sum b:

        q·sum b + p·sum u + c·V(u)
            >= C* + (q - p - 4c)·sum b + (p - 2c)·sum i >= C*.

    In words: to defer one unit costs q, and saves at most its size once and
    two ups and downs. The default prices have 3 >= 1 + 1.2 and 1 >= 0.6.

    Raises
    ------
    ConfigError
        The prices are outside that range, where the closed form is no bound.
    """
    waiting, size, change = objective.waiting, objective.size, objective.change
    if waiting < size + 4.0 * change or size < 2.0 * change:
        raise ConfigError(
            f"{objective} has no closed-form bound: it needs waiting >= size + 4·change and size >= 2·change"
        )
    moved = np.abs(np.diff(arrivals, axis=0)).sum(axis=0)
    total: FloatArray = (size * arrivals.sum(axis=0) + change * moved) / arrivals.shape[0]
    return total


def known_intensity(
    arrivals: FloatArray, intensity: FloatArray, objective: Objective = DEFAULT_OBJECTIVE
) -> FloatArray:
    """Mean cost per interval, for each run, of knowing each next intensity but not its noise.

    What is left to the best estimator there could be. A unit too few waits one
    interval (q) and is served then instead of now (its size costs p either
    time); a unit too many costs p. The newsvendor's rule for Poisson demand,
    in its normal approximation, on top of the backlog that is known exactly:

        u_t = b_(t-1) + lambda_t + z·sqrt(lambda_t),   Phi(z) = q/(q + p).

    It ignores the price of change, and takes compound arrivals for Poisson.

    References
    ----------
    K. Arrow, T. Harris and J. Marschak, "Optimal inventory policy",
    Econometrica 19 (1951) 250-272.
    """
    z = NormalDist().inv_cdf(objective.waiting / (objective.waiting + objective.size))
    aim = intensity + z * np.sqrt(intensity)
    sizes = np.empty_like(arrivals)
    backlog = np.zeros(arrivals.shape[1])
    for step in range(arrivals.shape[0]):
        sizes[step] = backlog + aim[step]
        backlog = np.maximum(0.0, backlog + arrivals[step] - sizes[step])
    return cost_of_sizes(arrivals, sizes, objective)
