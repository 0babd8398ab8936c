"""From the costs of paired runs to a table: ratios, intervals, and which differences are real."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from quantum_control.bench.contest import FIXED, FORESIGHT, Costs
from quantum_control.simulation.loads import TRACES
from quantum_control.simulation.traffic import FloatArray

SEVEN = ("bursts", "periodic", "steps", "heavy_tail", *TRACES)
"""Loads that the summary is the geometric mean of."""

RESAMPLES = 2000
"""Of the bootstrap over runs."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One law on one load."""

    law: str
    load: str
    to_foresight: float
    """Geometric mean over runs of the cost over that of perfect foresight in the same run."""
    low: float
    high: float
    """95 % bootstrap interval of it."""
    to_fixed: float
    """Ratio of the mean cost to that of the best fixed size."""
    movement: float
    """Mean |change| per interval over the mean size of perfect foresight. Unit 1."""
    samples: int


class Standings:
    """All laws on all loads."""

    def __init__(self, results: Iterable[Costs], seed: int = 0) -> None:
        parts: dict[tuple[str, str], list[Costs]] = defaultdict(list)
        for result in results:
            parts[result.law, result.load].append(result)
        self._cost: dict[tuple[str, str], FloatArray] = {}
        self._movement: dict[tuple[str, str], FloatArray] = {}
        for key, pieces in parts.items():
            pieces.sort(key=lambda piece: piece.first)
            self._cost[key] = np.concatenate([piece.cost for piece in pieces])
            self._movement[key] = np.concatenate([piece.movement for piece in pieces])
        self._seed = seed

    def laws(self) -> list[str]:
        """Laws that took part, in the order given."""
        return list(dict.fromkeys(law for law, _ in self._cost))

    def loads(self) -> list[str]:
        """Loads that were run."""
        return list(dict.fromkeys(load for _, load in self._cost))

    def cost(self, law: str, load: str) -> FloatArray | None:
        """Costs of each run; None if the law did not take part in the load."""
        return self._cost.get((law, load))

    def movement(self, law: str, load: str) -> FloatArray:
        """Mean |change| per interval of each run."""
        return self._movement[law, load]

    def log_ratio(self, law: str, base: str, load: str) -> FloatArray | None:
        """Logarithm of the cost over that of `base` in the same run.

        A trace is one run: its segments are weighed by what they cost `base`, so
        that their mean is the ratio over the whole trace, to first order.
        """
        own, reference = self.cost(law, load), self.cost(base, load)
        if own is None or reference is None:
            return None
        if load in TRACES:
            overall = float(own.sum() / reference.sum())
            ratio: FloatArray = np.log(overall) + (own - overall * reference) / (overall * reference.mean())
            return ratio
        logs: FloatArray = np.log(own / reference)
        return logs

    def standing(self, law: str, load: str) -> Standing | None:
        """Summary of one law on one load; None if it did not take part."""
        logs = self.log_ratio(law, FORESIGHT, load)
        fixed = self._fixed_cost(load)
        own, bound = self.cost(law, load), self.cost(FORESIGHT, load)
        if logs is None or own is None or bound is None or fixed is None:
            return None
        low, high = np.exp(self._interval(logs))
        movement = self.movement(law, load)
        return Standing(
            law,
            load,
            float(np.exp(logs.mean())),
            float(low),
            float(high),
            float(own.mean() / fixed),
            float(movement.mean() / bound.mean()),
            len(logs),
        )

    def overall(self, law: str, loads: Sequence[str] = SEVEN) -> tuple[float, float, float] | None:
        """Geometric mean over `loads` of the ratio to foresight, with its 95 % interval."""
        logs = [self.log_ratio(law, FORESIGHT, load) for load in loads]
        present = [log for log in logs if log is not None]
        if len(present) < len(loads):
            return None
        means = np.array([self._resampled(log) for log in present]).mean(axis=0)
        low, high = np.exp(np.quantile(means, (0.025, 0.975)))
        return float(np.exp(np.mean([log.mean() for log in present]))), float(low), float(high)

    def p_value(self, law: str, rival: str, load: str) -> float:
        """Two-sided Wilcoxon signed-rank test of the paired log ratios; 1 if they never differ."""
        from scipy.stats import wilcoxon

        logs = self.log_ratio(law, rival, load)
        if logs is None or not np.any(logs):
            return 1.0
        return float(wilcoxon(logs).pvalue)

    def _fixed_cost(self, load: str) -> float | None:
        fixed = self.cost(FIXED, load)
        return None if fixed is None else float(fixed.mean())

    def _resampled(self, values: FloatArray) -> FloatArray:
        """Bootstrap distribution of the mean."""
        from scipy.stats import bootstrap

        drawn: FloatArray = bootstrap(
            (values,), np.mean, n_resamples=RESAMPLES, method="percentile", rng=self._seed
        ).bootstrap_distribution
        return drawn

    def _interval(self, values: FloatArray) -> FloatArray:
        return np.quantile(self._resampled(values), (0.025, 0.975))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number (Holm 1979)."""
    from statsmodels.stats.multitest import multipletests

    return [float(value) for value in multipletests(p_values, method="holm")[1]] if p_values else []
