"""The interval that holds at every moment, and how often it does."""

from math import inf

import numpy as np
import pytest

from quantum_control.validation.sequential import FEWEST, ConfidenceSequence

ALPHA = 0.05


def ever_missed(draw, mean, runs=400, length=1000, seed=0):
    """Share of runs in which the interval has missed the mean at any moment; as arrays over runs."""
    rng = np.random.default_rng(seed)
    missed = 0
    for _ in range(runs):
        sequence = ConfidenceSequence(ALPHA, length)
        for value in draw(rng, length).tolist():
            sequence.take(value)
            found = sequence.interval()
            if not found.low <= mean <= found.high:
                missed += 1
                break
    return missed / runs


@pytest.mark.parametrize(
    ("draw", "mean"),
    [
        pytest.param(lambda rng, n: rng.normal(0.3, 0.5, n), 0.3, id="normal"),
        pytest.param(lambda rng, n: rng.exponential(1.0, n), 1.0, id="exponential"),
        pytest.param(lambda rng, n: rng.standard_t(5, n), 0.0, id="heavy tails"),
    ],
)
def test_it_misses_at_any_moment_in_no_more_than_the_stated_share_of_runs(draw, mean):
    # 400 runs of a share of 0.05 exceed 0.085 once in a thousand times.
    assert ever_missed(draw, mean) <= 0.085


def test_an_interval_of_fixed_length_misses_far_more_often_when_it_is_looked_at_each_time():
    """The check above can fail: the usual interval, looked at after each observation, does."""
    rng = np.random.default_rng(0)
    values = rng.normal(0.0, 1.0, (400, 1000))
    count = np.arange(1, 1001)
    means = np.cumsum(values, axis=1) / count
    missed = (np.abs(means) > 1.96 / np.sqrt(count))[:, FEWEST:].any(axis=1).mean()
    assert missed > 0.25


def test_there_is_no_interval_before_the_fewest_observations():
    sequence = ConfidenceSequence(ALPHA, 100)
    for value in range(FEWEST - 1):
        sequence.take(float(value))
    assert (sequence.interval().low, sequence.interval().high) == (-inf, inf)
    sequence.take(1.0)
    assert sequence.interval().high < inf


def test_mean_and_width_are_those_of_the_formula():
    values = np.random.default_rng(1).normal(2.0, 3.0, 500)
    sequence = ConfidenceSequence(ALPHA, 500)
    for value in values:
        sequence.take(float(value))
    assert sequence.mean == pytest.approx(values.mean())
    r2 = (-2 * np.log(ALPHA) + np.log(1 - 2 * np.log(ALPHA))) / 500
    scaled = 500 * r2 + 1
    half = values.std() * np.sqrt(2 * scaled / (500**2 * r2) * np.log(np.sqrt(scaled) / ALPHA))
    found = sequence.interval()
    assert (found.high - found.low) / 2 == pytest.approx(half)


def test_it_is_tightest_where_it_was_told_to_be():
    def width(tightest):
        sequence = ConfidenceSequence(ALPHA, tightest)
        for value in np.random.default_rng(2).normal(size=300):
            sequence.take(float(value))
        return sequence.interval().high - sequence.interval().low

    assert width(300) < min(width(30), width(3000))
