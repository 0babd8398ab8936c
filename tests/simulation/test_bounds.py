"""Bounds: what no law can beat, checked against linear programmes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import linprog

from quantum_control.core.errors import ConfigError
from quantum_control.core.physics import Objective
from quantum_control.simulation.accounting import backlog_of_sizes, cost_of_sizes
from quantum_control.simulation.peers import best_fixed, foresight, known_intensity

load_of_one_run = arrays(np.float64, st.integers(2, 12), elements=st.floats(0.0, 100.0, width=32))


def cheapest(arrivals, objective):
    """Least mean cost of any policy that knows all arrivals: sizes u, backlogs b, moves m, all >= 0."""
    n = len(arrivals)
    prices = np.r_[
        np.full(n, objective.size), np.full(n, objective.waiting), np.full(n - 1, objective.change)
    ]
    rows, right = [], []
    for t in range(n):  # b_(t-1) + a_t - u_t <= b_t
        row = np.zeros(3 * n - 1)
        row[t], row[n + t] = -1.0, -1.0
        if t:
            row[n + t - 1] = 1.0
        rows.append(row)
        right.append(-arrivals[t])
    for t in range(1, n):  # |u_t - u_(t-1)| <= m_t
        for sign in (1.0, -1.0):
            row = np.zeros(3 * n - 1)
            row[t], row[t - 1], row[2 * n + t - 1] = sign, -sign, -1.0
            rows.append(row)
            right.append(0.0)
    solved = linprog(prices, A_ub=np.array(rows), b_ub=np.array(right), bounds=(0, None))
    assert solved.success
    return solved.fun / n


@settings(max_examples=40, deadline=None)
@given(load_of_one_run)
def test_no_policy_beats_perfect_foresight(arrivals):
    bound = foresight(arrivals[:, None])[0]
    assert bound == pytest.approx(cheapest(arrivals, Objective()), rel=1e-6, abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(load_of_one_run, st.floats(0.0, 1.0), st.floats(0.0, 3.0), st.floats(0.0, 5.0))
def test_it_holds_in_the_whole_range_of_prices_that_it_claims(arrivals, change, more_size, more_waiting):
    size = 2.0 * change + more_size
    objective = Objective(waiting=0.1 + size + 4.0 * change + more_waiting, size=size, change=change)
    bound = foresight(arrivals[:, None], objective)[0]
    assert bound == pytest.approx(cheapest(arrivals, objective), rel=1e-6, abs=1e-6)


def test_outside_of_that_range_it_is_refused_because_it_would_be_no_bound():
    cheap_waiting = Objective(waiting=0.2, size=1.0, change=0.3)
    spike = np.array([0.0, 10.0, 0.0, 0.0])
    assert cheapest(spike, cheap_waiting) < (10.0 + 0.3 * 20.0) / 4.0
    with pytest.raises(ConfigError, match="no closed-form bound"):
        foresight(spike[:, None], cheap_waiting)


@pytest.mark.parametrize("prices", [(2.1, 1.0, 0.3), (3.0, 0.5, 0.3)])
def test_the_range_ends_where_the_proof_does(prices):
    with pytest.raises(ConfigError, match=r"size \+ 4·change and size >= 2·change"):
        foresight(np.ones((3, 1)), Objective(*prices))


def test_foresight_in_numbers():
    arrivals = np.array([[10.0, 0.0], [14.0, 0.0], [8.0, 5.0]])
    np.testing.assert_allclose(foresight(arrivals), [(32.0 + 0.3 * 10.0) / 3.0, (5.0 + 0.3 * 5.0) / 3.0])


def test_a_known_intensity_without_noise_leaves_only_the_headroom_to_pay():
    flat = np.full((50, 2), 64.0)
    # Newsvendor at 3 to 1: the 75 % quantile, 0.67449 standard deviations of sqrt(64).
    np.testing.assert_allclose(known_intensity(flat, flat), 64.0 + 0.67449 * 8.0, rtol=1e-6)


def test_backlog_is_the_recursion_step_by_step():
    rng = np.random.default_rng(1)
    arrivals, sizes = rng.uniform(0, 10, (40, 3)), rng.uniform(0, 10, (40, 3))
    left = np.zeros(3)
    for got, came, size in zip(backlog_of_sizes(arrivals, sizes), arrivals, sizes, strict=True):
        left = np.maximum(0.0, left + came - size)
        np.testing.assert_allclose(got, left, atol=1e-9)


def test_cost_in_numbers():
    arrivals = np.array([[5.0], [9.0], [1.0]])
    sizes = np.array([[6.0], [6.0], [4.0]])
    # Backlogs 0, 3, 0; sizes 16; moved by 2.
    np.testing.assert_allclose(cost_of_sizes(arrivals, sizes), [(3.0 * 3.0 + 16.0 + 0.3 * 2.0) / 3.0])


def test_the_best_fixed_size_is_the_best_of_a_fine_grid():
    arrivals = np.random.default_rng(2).poisson(20.0, (300, 4)).astype(float)
    sizes, costs = best_fixed(arrivals)
    for run in range(4):
        one = arrivals[:, [run]]
        grid = [cost_of_sizes(one, np.full_like(one, size))[0] for size in np.arange(15.0, 40.0, 0.05)]
        assert costs[run] <= min(grid) + 1e-3
        assert costs[run] == pytest.approx(cost_of_sizes(one, np.full_like(one, sizes[run]))[0], rel=1e-9)
