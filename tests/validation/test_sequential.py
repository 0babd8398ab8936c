"""The interval that holds at every moment, and how often it does."""

from math import inf, nan

import numpy as np
import pytest

from quantum_control.validation.rails import EARLY
from quantum_control.validation.sequential import FEWEST, ConfidenceSequence, reach

ALPHA = 0.05


DRAWS = {
    "normal": (lambda rng, shape: rng.normal(0.3, 0.5, shape), 0.3),
    "heavy tails": (lambda rng, shape: rng.standard_t(5, shape), 0.0),
    "exponential": (lambda rng, shape: rng.exponential(1.0, shape), 1.0),
    "lognormal": (lambda rng, shape: rng.lognormal(0.0, 1.0, shape), np.exp(0.5)),
}


def ever_missed(kind, tightest, length, runs=2000):
    """Share of runs in which the interval has been above the mean at any moment, and below it."""
    draw, mean = DRAWS[kind]
    values = draw(np.random.default_rng(0), (runs, length))
    count = np.arange(1, length + 1)
    means = np.cumsum(values, axis=1) / count
    spread = np.sqrt(np.maximum(np.cumsum(values**2, axis=1) / count - means**2, 0.0))
    half = spread * np.array([reach(n, tightest, ALPHA) for n in count.tolist()])
    above, below = means - half > mean, means + half < mean
    return above[:, FEWEST - 1 :].any(axis=1).mean(), below[:, FEWEST - 1 :].any(axis=1).mean()


# 2000 runs of a share of 0.05 exceed 0.065 once in a thousand times, and one of 0.11 exceeds 0.132.
@pytest.mark.parametrize(
    ("kind", "most"), [("normal", 0.05), ("heavy tails", 0.05), ("exponential", 0.075), ("lognormal", 0.132)]
)
@pytest.mark.parametrize("tightest", [50, 62, 250, 1000])
def test_it_misses_at_any_moment_as_seldom_as_its_description_says(kind, most, tightest):
    assert sum(ever_missed(kind, tightest, tightest)) <= most


def test_with_skewed_observations_it_misses_on_the_side_of_the_short_tail():
    above, below = ever_missed("lognormal", 62, 62)
    assert above < 0.01
    assert below > 0.065


@pytest.mark.parametrize(
    ("kind", "most"), [("normal", 0.05), ("heavy tails", 0.05), ("exponential", 0.1), ("lognormal", 0.165)]
)
def test_where_harm_is_to_be_found_early_it_misses_as_seldom_as_its_description_says(kind, most):
    assert sum(ever_missed(kind, EARLY, 1000)) <= most


def test_what_is_not_finite_is_refused_and_changes_nothing():
    sequence = ConfidenceSequence(ALPHA, 100)
    for value in range(FEWEST):
        sequence.take(float(value))
    before = sequence.interval()
    for value in (nan, inf, -inf):
        with pytest.raises(ValueError, match="finite"):
            sequence.take(value)
    assert sequence.interval() == before


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
