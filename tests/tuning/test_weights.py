import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum_control.tuning.weights import TOGETHER, Weights


def flat(count: int) -> Weights:
    return Weights(np.full(count, 1.0 / count))


def test_the_cheapest_candidate_gets_nearly_all_the_weight():
    weights = flat(3)
    rng = np.random.default_rng(0)
    for _ in range(500):
        weights.update(np.array([1.0, 2.0, 3.0]) + rng.normal(0.0, 1.0, 3))
    assert weights.values.argmax() == 0
    assert weights.values[0] > 0.9


def test_the_mean_decision_is_close_to_the_best_candidate_in_hindsight():
    """Regret against the best of K experts is O(sqrt(T log K)) (Cesa-Bianchi & Lugosi 2006, th. 2.2)."""
    rng = np.random.default_rng(1)
    weights, paid, losses = flat(10), 0.0, rng.uniform(0.0, 1.0, (2000, 10)) + np.linspace(0.0, 0.1, 10)
    for loss in losses:
        paid += float(weights.values @ loss)
        weights.update(loss)
    best = losses.sum(axis=0).min()
    assert paid - best < 2.0 * np.sqrt(2000 * np.log(10))


def test_what_was_best_long_ago_is_forgotten():
    weights = flat(2)
    for _ in range(300):
        weights.update(np.array([1.0, 2.0]))
    for _ in range(3000):
        weights.update(np.array([2.0, 1.0]))
    assert weights.values[1] > 0.9


@given(st.lists(st.floats(0.0, 1e9), min_size=2, max_size=6), st.integers(1, 40))
def test_weights_are_a_distribution_whatever_the_losses(losses, steps):
    weights = flat(len(losses))
    for _ in range(steps):
        weights.update(np.array(losses))
    assert np.isfinite(weights.values).all()
    assert weights.values.min() >= 0.0
    assert weights.values.sum() == pytest.approx(1.0)


@given(st.floats(1e-6, 1e6))
def test_the_unit_of_the_losses_does_not_matter(unit):
    rng = np.random.default_rng(2)
    losses = rng.uniform(0.5, 1.5, (60, 4))
    plain, scaled = flat(4), flat(4)
    for loss in losses:
        plain.update(loss)
        scaled.update(unit * loss)
    assert scaled.values == pytest.approx(plain.values, abs=1e-6)


def test_rounding_is_not_taken_for_evidence():
    weights = flat(5)
    for _ in range(50):
        weights.update(0.1 * np.array([3.0, 3.0, 3.0, 3.0, 3.0 + 4e-16]))
    assert weights.values == pytest.approx(np.full(5, 0.2), abs=1e-3)


def test_forgetting_is_for_the_rows_it_names():
    weights = Weights(np.full(2, 0.5), shape=(2,))
    for _ in range(200):
        weights.update(np.array([[1.0, 1.0], [2.0, 2.0]]))
    weights.forget(np.array([True, False]))
    for _ in range(20):
        weights.update(np.array([[2.0, 2.0], [1.0, 1.0]]))
    assert weights.values[1, 0] > weights.values[1, 1]


def test_recalled_weights_are_where_it_starts_from():
    weights = flat(3)
    weights.recall(np.array([0.7, 0.2, 0.1]))
    for _ in range(3 * TOGETHER):
        weights.update(np.ones(3))
    assert weights.values == pytest.approx([0.7, 0.2, 0.1])
