"""Two arms in one metric: which observations there are, and what they say."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite, nan

import numpy as np

from quantum_control.validation.plan import Metric, Plan, ResourcePlan
from quantum_control.validation.records import Row
from quantum_control.validation.statistics import Checks, Effect, FloatArray, balanced, check, effect


@dataclass(frozen=True, slots=True)
class Comparison:
    """One arm of ours against another, in one metric."""

    ours: str
    other: str
    metric: Metric
    effect: Effect
    checks: Checks
    tested: bool
    """Whether its p-value is one of the family."""
    differences: FloatArray
    """One for each observation, in the order of time."""
    spread: float
    """Standard deviation of what its effect rests on: the differences, less those of their phases."""
    dropped: int
    """Pairs without a value: a ratio with a block of 0, or a block in which there was nothing to measure."""
    corrected: float = nan
    """p-value after Holm's correction; nan if it is not one of the family."""

    @property
    def differs(self) -> bool:
        """Whether its interval leaves out that there is no difference."""
        neutral = 1.0 if self.metric.scale == "ratio" else 0.0
        return self.effect.high < neutral or self.effect.low > neutral

    def verdict(self, alpha: float) -> str:
        """`better` or `worse` by the corrected test; nothing where none was planned or none was significant.

        Nor where mean and ranks point to different sides: the test is about the ranks.
        """
        sign = self.effect.dz
        if not self.corrected < alpha or sign * self.effect.rank_biserial <= 0.0:
            return ""
        return "better" if (sign < 0.0) == (self.metric.better == "lower") else "worse"


def compare(
    pairs: Mapping[int, Mapping[str, Row]],
    ours: str,
    other: str,
    metric: Metric,
    plan: Plan,
    of: ResourcePlan,
) -> Comparison:
    """Compare in the pairs that have both; the mean over a stretch is one observation.

    Where the plan has phases, the effect is the mean of theirs (`statistics.balanced`).
    """
    by_stretch: dict[int, list[tuple[float, bool]]] = defaultdict(list)
    phases: dict[int, str] = {}
    dropped = 0
    for _, arms in sorted(pairs.items()):
        if ours in arms and other in arms:
            one, two = arms[ours], arms[other]
            value = metric.difference(one.metrics[metric.name], two.metrics[metric.name])
            if isfinite(value):
                by_stretch[one.stretch].append((value, one.place < two.place))
                phases[one.stretch] = one.phase
            else:
                dropped += 1
    stretches = [
        (np.array([value for value, _ in each]), np.array([first for _, first in each]))
        for each in by_stretch.values()
    ]
    values = np.array([each.mean() for each, _ in stretches], dtype=np.float64)
    level = balanced(values, list(phases.values())) if of.phases else values
    ratio = metric.scale == "ratio"
    found = effect(
        level,
        ratio=ratio,
        alpha=plan.alpha,
        resamples=plan.resamples,
        planned=max(1, plan.pairs // of.stretch),
    )
    tested = ours == of.ours and other in plan.compared and metric.role != "other"
    spread = float(level.std(ddof=1)) if level.size > 1 else nan
    checks = check(stretches, level, ratio=ratio)
    return Comparison(ours, other, metric, found, checks, tested, values, spread, dropped)


def on_time(pairs: Mapping[int, Mapping[str, Row]], of: ResourcePlan) -> dict[int, Mapping[str, Row]]:
    """Pairs that the plan's rule does not leave out."""
    return {
        pair: arms
        for pair, arms in pairs.items()
        if all(row.late is None or row.late <= of.late for row in arms.values())
    }


def whole_stretches(
    pairs: Mapping[int, Mapping[str, Row]], played: int, of: ResourcePlan
) -> dict[int, Mapping[str, Row]]:
    """Pairs of stretches that were played to their end: half a stretch is no observation like the others."""
    return {pair: arms for pair, arms in pairs.items() if pair < played - played % of.stretch}
