"""Effects, tests and checks against cases whose answers are known."""

from math import inf, isnan, nan

import numpy as np
import pytest
from scipy.stats import wilcoxon

from quantum_control.validation.statistics import balanced, check, effect, false_positives, holm, power


def of(differences, **changed):
    settings = {"ratio": True, "alpha": 0.05, "resamples": 999, "planned": 1000} | changed
    return effect(np.asarray(differences, float), **settings)


def test_the_effect_of_ratios_is_their_geometric_mean_with_an_interval_around_it():
    logs = np.log(0.8) + np.random.default_rng(0).normal(0.0, 0.2, 400)
    found = of(logs)
    assert found.value == pytest.approx(np.exp(logs.mean()))
    assert found.low < 0.8 < found.high
    assert found.high - found.low == pytest.approx(4 * 0.2 / 20 * 0.8, rel=0.15)
    assert found.always_low < found.low < found.high < found.always_high
    assert found.p_value < 1e-20
    assert found.dz == pytest.approx(np.log(0.8) / 0.2, rel=0.15)
    assert found.count == 400


def test_the_bootstrap_interval_covers_the_mean_of_skewed_differences():
    rng = np.random.default_rng(3)
    held = [of(rng.exponential(1.0, 60) - 1.0, ratio=False) for _ in range(200)]
    covered = np.mean([each.low <= 0.0 <= each.high for each in held])
    assert 0.89 <= covered <= 0.99


def test_the_rank_biserial_correlation_is_the_share_in_favour_less_the_share_in_disfavour():
    assert of([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).rank_biserial == 1.0
    assert of([-1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).rank_biserial == pytest.approx((20 - 1) / 21)


def test_no_interval_and_no_test_is_given_for_a_handful_of_pairs():
    found = of([0.1, 0.2, 0.3])
    assert found.value == pytest.approx(np.exp(0.2))
    assert isnan(found.low)
    assert isnan(found.p_value)
    assert found.always_high == inf


def test_nothing_measured_has_no_effect():
    assert isnan(of([]).value)


def test_arms_that_never_differ_are_told_apart_by_nothing():
    found = of(np.zeros(50), ratio=False)
    assert (found.value, found.low, found.high, found.p_value, found.dz) == (0.0, 0.0, 0.0, 1.0, 0.0)


def test_holm_corrects_for_tests_that_have_not_been_made_yet():
    assert holm([0.01, 0.02], family=2) == pytest.approx([0.02, 0.02])
    assert holm([0.01, 0.02], family=10) == pytest.approx([0.1, 0.18])
    corrected = holm([0.01, nan], family=2)
    assert corrected[0] == pytest.approx(0.02)
    assert isnan(corrected[1])


def pairs(values, first):
    """Each pair a stretch of its own."""
    return [(np.array([value]), np.array([began])) for value, began in zip(values, first, strict=True)]


def stretches(rng, count, length, *, order=0.0):
    """Stretches with an effect of their own, in which it matters by `order` whether ours came first."""
    drawn = [rng.random(length) < 0.5 for _ in range(count)]
    return [(rng.normal(rng.normal(), 0.1, length) + order * first, first) for first in drawn]


def checked(stretches, *, ratio):
    return check(stretches, np.array([values.mean() for values, _ in stretches]), ratio=ratio)


def test_an_effect_of_the_order_is_seen():
    rng = np.random.default_rng(0)
    first = rng.random(300) < 0.5
    values = rng.normal(0.0, 0.1, 300) + 0.2 * first
    found = checked(pairs(values, first), ratio=True)
    assert found.order_effect == pytest.approx(np.exp(0.2), rel=0.05)
    assert found.order_p_value < 1e-6
    assert checked(pairs(rng.normal(0.0, 0.1, 300), first), ratio=True).order_p_value > 0.01


def test_an_effect_of_the_order_is_seen_within_stretches():
    rng = np.random.default_rng(0)
    found = checked(stretches(rng, 50, 20, order=0.1), ratio=False)
    assert found.order_effect == pytest.approx(0.1, rel=0.2)
    assert found.order_p_value < 1e-6


def test_without_an_effect_of_the_order_stretches_show_one_as_seldom_as_stated():
    rng = np.random.default_rng(1)
    found = [checked(stretches(rng, 30, 4), ratio=False).order_p_value < 0.05 for _ in range(200)]
    # 200 tests of a share of 0.05 exceed 0.105 once in a thousand times.
    assert 0.0 < np.mean(found) <= 0.105


def test_stretches_of_one_order_alone_show_nothing_of_it():
    alike = [(np.array([0.1, 0.2]), np.array([True, True]))] * 20
    assert isnan(checked(alike, ratio=False).order_p_value)


def test_a_trend_and_dependence_between_neighbours_are_seen():
    rng = np.random.default_rng(0)
    steady = checked(pairs(rng.normal(size=300), np.ones(300, bool)), ratio=False)
    walk = checked(pairs(np.cumsum(rng.normal(size=300)) + np.arange(300), np.ones(300, bool)), ratio=False)
    assert abs(steady.autocorrelation) < 0.2
    assert walk.autocorrelation > 0.9
    assert walk.trend_p_value < 0.001 < steady.trend_p_value
    assert isnan(steady.order_p_value)


def test_phases_that_differ_from_each_other_are_no_uncertainty_of_their_mean():
    """95 % of intervals have the mean of two phases of which the second has a quarter of the observations."""
    rng = np.random.default_rng(0)
    phases = np.array([0, 0, 0, 1] * 25)
    within = []
    for _ in range(200):
        drawn = np.where(phases == 1, -2.0, 0.5) + rng.normal(0.0, 0.3, phases.size)
        level = balanced(drawn, phases)
        assert level.mean() == pytest.approx((drawn[phases == 0].mean() + drawn[phases == 1].mean()) / 2.0)
        found = effect(level, ratio=False, alpha=0.05, resamples=300, planned=100)
        assert found.high - found.low < 0.25  # of the raw differences it is 0.44
        within.append(found.low < -0.75 < found.high)
    # 200 intervals of 0.95 have it in fewer than 180 once in a thousand times.
    assert np.mean(within) >= 0.9


def test_intervals_of_few_observations_are_too_narrow_and_of_many_are_not():
    rng = np.random.default_rng(0)

    def covered(count):
        found = [
            effect(rng.normal(size=count), ratio=False, alpha=0.05, resamples=499, planned=count)
            for _ in range(400)
        ]
        return np.mean([each.low < 0.0 < each.high for each in found])

    assert 0.82 < covered(8) < 0.9 < covered(50)


def test_observations_keep_their_spread_without_their_phase():
    rng = np.random.default_rng(0)
    phases = np.arange(16) % 4
    drawn = [balanced(rng.normal(size=16) + phases, phases).var() for _ in range(500)]
    assert np.mean(drawn) == pytest.approx(1.0, rel=0.05)


@pytest.mark.parametrize("phases", [[0, 0, 0, 0], [0, 0, 0, 1]])
def test_without_two_observations_of_each_phase_they_stay_as_they_are(phases):
    differences = np.array([1.0, 2.0, 4.0, 8.0])
    assert balanced(differences, np.array(phases)) is differences


def test_the_power_is_what_a_simulation_finds():
    found = power(0.2, planned=100, wanted=0.05, alpha=0.05, power=0.9, ratio=False)
    rng = np.random.default_rng(0)
    drawn = rng.normal(found.detectable, 0.2, (300, 100))
    seen = np.mean([wilcoxon(each).pvalue < 0.05 for each in drawn])
    assert seen >= 0.87
    # (1.96 + 1.2816)² · (0.2 / 0.05)² / 0.864
    assert found.needed == pytest.approx(195, abs=4)


def test_an_effect_far_above_the_spread_needs_the_fewest_pairs():
    assert power(0.01, planned=100, wanted=0.5, alpha=0.05, power=0.9, ratio=True).needed == 6.0
    assert power(0.0, planned=100, wanted=0.5, alpha=0.05, power=0.9, ratio=True).detectable == 1.0


def test_false_positives_of_a_run_without_a_difference_are_as_rare_as_stated():
    nothing = np.random.default_rng(0).normal(size=4000)
    found, made, chance = false_positives(nothing, 40, 0.05)
    assert made == 100
    assert found <= 11
    assert chance > 0.01
    found, made, chance = false_positives(nothing + 0.5, 40, 0.05)
    assert chance < 1e-6
