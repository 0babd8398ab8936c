"""How sure a median is said to be, in the tables of all paired benchmarks."""

import numpy as np
import pytest

from quantum_control.bench.spread import FEWEST, RESAMPLES, spread


def test_few_pairs_have_their_range_and_no_interval():
    assert f"{spread(np.array([0.9, 0.8])):.3f}" == "0.850 (0.800 to 0.900)"
    five = spread(np.array([1.0, 2.0, 3.0, 4.0, 50.0]))
    assert (five.median, five.low, five.high, five.pairs) == (3.0, 1.0, 50.0, 5)
    assert f"{spread(np.array([0.25])):.0%}" == "25% (25% to 25%)"


def test_more_have_the_interval_that_the_median_has_by_the_binomial():
    values = np.arange(1.0, 32.0)
    found = spread(values)
    # The median of a resample is at most the 10th of 31 values in 2.0 % of cases, the 11th in 4.8 %.
    assert (found.low, found.median, found.high) == (11.0, 16.0, 21.0)
    assert f"{found:.0f}" == "16 [11, 21]"


def test_from_the_sixth_pair_on_there_is_an_interval():
    found = spread(np.arange(1.0, FEWEST + 1.0))
    assert f"{found:.1f}" == f"3.5 [{found.low:.1f}, {found.high:.1f}]"
    assert 1.0 <= found.low < 3.5 < found.high <= FEWEST


@pytest.mark.parametrize("lost", [0, 1, 3, 4, 5, 8, 9])
def test_what_never_came_leaves_median_and_interval_numbers_or_infinite(lost):
    found = spread(np.array([1.0] * (9 - lost) + [np.inf] * lost))
    assert not np.isnan([found.median, found.low, found.high]).any()
    assert found.median == (np.inf if lost >= 5 else 1.0)
    assert found.high == (np.inf if lost >= 3 else 1.0)


def test_all_alike_are_certain_and_the_same_pairs_give_the_same_interval():
    assert f"{spread(np.full(30, 2.0)):.1f}" == "2.0 [2.0, 2.0]"
    values = np.random.default_rng(3).normal(size=30)
    assert spread(values) == spread(values)
    assert RESAMPLES >= 1000
