"""What paired differences say: effect, interval, rank test, effect size; and what may be wrong with them.

A ratio is estimated by its logarithm, so that half and double are equally far
from 1. Everything that is computed is left to scipy and statsmodels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, exp, inf, isfinite, nan, sqrt

import numpy as np
from numpy.typing import NDArray

from quantum_control.validation.sequential import ConfidenceSequence

FloatArray = NDArray[np.float64]

Stretch = tuple[FloatArray, NDArray[np.bool_]]
"""Of one observation: the differences of its pairs, and in which of them ours came first."""

FEWEST = 6
"""Observations below which there is no interval and no test: 2^-5 is the least two-sided p-value of five."""

RANK_EFFICIENCY = 0.864
"""Least efficiency of the signed-rank test beside the t-test, over all distributions (Hodges & Lehmann
1956): by so much more pairs the power analysis of the t-test is made safe."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What one arm is, over or above another, in one metric."""

    count: int
    """Independent observations that it rests on."""
    value: float
    """Geometric mean of the paired ratios, or mean of the differences."""
    low: float
    high: float
    """Ends of its bootstrap interval (BCa); nan if there are too few."""
    always_low: float
    always_high: float
    """Ends of the interval that holds at every moment; unbounded if there are too few."""
    p_value: float
    """Of Wilcoxon's signed-rank test, two-sided; nan if there are too few."""
    rank_biserial: float
    """Matched-pairs rank-biserial correlation: share of favour less share of disfavour, by ranks. Unit 1."""
    dz: float
    """Cohen's d of the paired differences: mean over standard deviation. Unit 1."""


@dataclass(frozen=True, slots=True)
class Checks:
    """What would make an effect doubtful."""

    order_effect: float
    """Ratio (or difference) of the effect where the arm ran before the other to that where it ran after."""
    order_p_value: float
    """Of the signed-rank test over stretches that have both; Mann-Whitney's if a stretch is a pair."""
    trend_p_value: float
    """Of Spearman's correlation with time."""
    autocorrelation: float
    """Between neighbouring observations. Unit 1."""


def effect(
    differences: FloatArray, *, ratio: bool, alpha: float, resamples: int, planned: int, seed: int = 0
) -> Effect:
    """Effect of independent differences (of logarithms, if it is a `ratio`).

    Parameters
    ----------
    differences
        One for each independent observation; finite.
    ratio
        Whether they are logarithms of ratios, so that the effect is a ratio.
    alpha
        One minus the confidence of the intervals.
    resamples
        Of the bootstrap.
    planned
        Observations that the plan has: where the interval for early looks is to be tightest.
    seed
        Of the bootstrap.
    """
    from scipy.stats import bootstrap, wilcoxon

    back = np.exp if ratio else np.asarray
    n = differences.size
    if n == 0:
        return Effect(0, nan, nan, nan, 0.0 if ratio else -inf, inf, nan, nan, nan)
    mean = float(differences.mean())
    spread = float(differences.std(ddof=1)) if n > 1 else nan
    low = high = p_value = nan
    if n >= FEWEST and spread > 0.0:
        found = bootstrap(
            (differences,),
            np.mean,
            confidence_level=1.0 - alpha,
            n_resamples=resamples,
            method="BCa",
            rng=seed,
        ).confidence_interval
        low, high = float(found.low), float(found.high)
        p_value = float(wilcoxon(differences).pvalue)
    elif n >= FEWEST:
        low = high = mean  # all alike: nothing to resample
        p_value = 1.0 if mean == 0.0 else float(wilcoxon(differences).pvalue)
    sequence = ConfidenceSequence(alpha, planned)
    for value in differences:
        sequence.take(float(value))
    always = sequence.interval()
    value, low, high, always_low, always_high = (
        float(back(each)) for each in (mean, low, high, always.low, always.high)
    )
    dz = mean / spread if spread > 0.0 else (0.0 if mean == 0.0 else inf * np.sign(mean))
    return Effect(
        n, value, low, high, always_low, always_high, p_value, _rank_biserial(differences), float(dz)
    )


def balanced(differences: FloatArray, phases: Sequence[str]) -> FloatArray:
    """Observations without what their phase makes of them, about the mean of the phases.

        d' = m + (d - m_p)·sqrt(n_p / (n_p - 1))·n / (k·n_p),    m = mean of the m_p over the k phases p

    Phases are not drawn, they are all there are: that they differ from each other is no
    uncertainty of their mean. The root gives the residuals the spread that they had before a
    mean of theirs was taken off; the last factor makes the variance of the mean of all n that
    of m, the sum of s_p²/n_p over k², where a phase has fewer than the others. As they are, if
    a phase has fewer than two.

    Parameters
    ----------
    differences
        One for each observation.
    phases
        Name of the phase in which each was made.
    """
    _, which, counts = np.unique(phases, return_inverse=True, return_counts=True)
    if counts.size < 2 or counts.min() < 2:
        return differences
    means = np.bincount(which, differences) / counts
    scale = np.sqrt(counts / (counts - 1.0)) * differences.size / (counts.size * counts)
    residuals = (differences - means[which]) * scale[which]
    return np.asarray(means.mean() + residuals, dtype=np.float64)


def _rank_biserial(differences: FloatArray) -> float:
    """(R+ - R-)/(R+ + R-) of the signed ranks (Kerby 2014); ties at zero count for neither."""
    from scipy.stats import rankdata

    signed = differences[differences != 0.0]
    if not signed.size:
        return 0.0
    ranks = rankdata(np.abs(signed))
    return float(np.sum(ranks * np.sign(signed)) / ranks.sum())


def check(stretches: Sequence[Stretch], differences: FloatArray, *, ratio: bool) -> Checks:
    """Look for what should not be there.

    Parameters
    ----------
    stretches
        Each one observation, ascending in time, and none of them empty; finite.
    differences
        What is made of each: its mean, or that without its phase (`balanced`).
    ratio
        As for `effect`.
    """
    from scipy.stats import spearmanr

    order, order_p = carry_over(stretches)
    trend_p = correlation = nan
    if differences.size >= FEWEST and np.ptp(differences) > 0.0:
        trend_p = float(spearmanr(np.arange(differences.size), differences).pvalue)
        centred = differences - differences.mean()
        correlation = float(centred[1:] @ centred[:-1] / (centred @ centred))
    return Checks(exp(order) if ratio else order, order_p, trend_p, correlation)


def carry_over(stretches: Sequence[Stretch]) -> tuple[float, float]:
    """What it makes whether the arm comes first, and the p-value of that; nan if there are too few.

    Pairs of one stretch depend on each other, so that each stretch gives one
    value: the mean of its pairs in which the arm came first, less that of the others.
    """
    from scipy.stats import mannwhitneyu, wilcoxon

    if all(values.size == 1 for values, _ in stretches):
        before, after = (
            np.array([values[0] for values, first in stretches if first[0] == wanted], dtype=np.float64)
            for wanted in (True, False)
        )
        if min(before.size, after.size) < FEWEST:
            return nan, nan
        return float(before.mean() - after.mean()), float(mannwhitneyu(before, after).pvalue)
    both = [(values, first) for values, first in stretches if first.any() and not first.all()]
    each = np.array([values[first].mean() - values[~first].mean() for values, first in both])
    if each.size < FEWEST:
        return nan, nan
    return float(each.mean()), float(wilcoxon(each).pvalue) if each.any() else 1.0


def holm(p_values: Sequence[float], family: int) -> list[float]:
    """p-values corrected for the number of tests planned (Holm 1979).

    Those of the `family` that are not there yet count as 1, so that none of
    them can become smaller by another being run.
    """
    from statsmodels.stats.multitest import multipletests

    known = [value for value in p_values if isfinite(value)]
    if not known:
        return list(p_values)
    filled = known + [1.0] * max(0, family - len(known))
    corrected = iter(multipletests(filled, method="holm")[1][: len(known)].tolist())
    return [next(corrected) if isfinite(value) else value for value in p_values]


@dataclass(frozen=True, slots=True)
class Power:
    """What the plan can see, by the spread of a pilot."""

    spread: float
    """Standard deviation of the pilot's differences (of logarithms, if it is of ratios)."""
    detectable: float
    """Smallest ratio above 1 (or difference) that is found with the planned power."""
    needed: float
    """Observations with which `wanted` would be found; inf if there are never enough."""


def power(spread: float, *, planned: int, wanted: float, alpha: float, power: float, ratio: bool) -> Power:
    """Analyse the power of the signed-rank test, through that of the t-test and its least efficiency.

    Parameters
    ----------
    spread
        Standard deviation of the differences in a pilot.
    planned
        Observations in the plan.
    wanted
        Effect that is to be found, as a difference (of logarithms, if it is of ratios).
    alpha, power
        Of the test: rate of false alarms, and probability of finding the effect.
    ratio
        Whether `detectable` is to be given as a ratio.
    """
    from statsmodels.stats.power import TTestPower

    if not spread > 0.0:
        return Power(spread, 1.0 if ratio else 0.0, 2.0)
    t_test = TTestPower()
    effective = max(planned * RANK_EFFICIENCY, 3.0)
    least = float(np.squeeze(t_test.solve_power(nobs=effective, alpha=alpha, power=power))) * spread
    # Of effects far above the spread two observations would do, which the solver does not reach.
    size = abs(wanted) / spread
    needed = float(FEWEST)
    if size < sqrt(FEWEST):
        needed = float(
            ceil(
                float(np.squeeze(t_test.solve_power(effect_size=size, alpha=alpha, power=power)))
                / RANK_EFFICIENCY
            )
        )
    return Power(spread, exp(least) if ratio else least, needed)


def false_positives(differences: FloatArray, window: int, alpha: float) -> tuple[int, int, float]:
    """Count significant tests where there is nothing to find, in windows of an A/A run.

    Returns
    -------
    tuple
        Tests that were significant, tests made, and the probability of as
        many or more if each is so with probability `alpha`.
    """
    from scipy.stats import binomtest, wilcoxon

    windows = [differences[at : at + window] for at in range(0, differences.size - window + 1, window)]
    made = [float(wilcoxon(each).pvalue) for each in windows if np.any(each)]
    found = sum(value < alpha for value in made)
    chance = float(binomtest(found, len(made), alpha, alternative="greater").pvalue) if made else nan
    return found, len(made), chance
