"""Guard rails: what ends an experiment on somebody's own resource before it is over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log1p

from quantum_control.core.watch import BETS
from quantum_control.validation.experiment import EndedEarlyError, difference, shown
from quantum_control.validation.plan import Plan, ResourcePlan
from quantum_control.validation.records import Row, by_pair
from quantum_control.validation.sequential import ConfidenceSequence

EARLY = 50
"""Pairs at which the interval that looks for harm is tightest: harm is to be found early."""


class Evidence:
    """Evidence that differences, each in [-1, 1], have a mean above zero.

    For each stake λ the wealth of one who bets on it, Π (1 + λ·x), and their
    mean. If each x, given those before, has a mean of zero or less, it ever
    reaches 1/alpha with a probability of alpha at the most, whatever the
    distribution (Ville 1939; Waudby-Smith & Ramdas 2024, "Estimating means of
    bounded random variables by betting"). Two arms that do not differ, in an
    order drawn anew, are such a case.
    """

    def __init__(self) -> None:
        self._wealth = [1.0] * len(BETS)

    def take(self, difference: float) -> float:
        """Take one difference, and return the evidence so far."""
        self._wealth = [
            wealth * (1.0 + bet * difference) for wealth, bet in zip(self._wealth, BETS, strict=True)
        ]
        return sum(self._wealth) / len(self._wealth)


class Rails:
    """Looks at each pair, and ends the experiment where ours does harm.

    Two rails, each of which gives a false alarm in a whole run with a
    probability of the plan's alpha at the most:

    - the always-valid interval of the primary metric is above a loss of `harm`;
    - errors, drops or failures (the safety metrics) rise: evidence by betting.

    Parameters
    ----------
    plan, of
        What was planned, and for the resource.
    ours, base
        The arm that is judged, and the one that it is compared with.
    harm
        Relative loss of the primary metric that is tolerated. Unit 1.
    """

    def __init__(self, plan: Plan, of: ResourcePlan, ours: str, base: str, harm: float) -> None:
        self._of = of
        self._ours, self._base = ours, base
        self._harm = harm
        self._alpha = plan.alpha
        self._cost = ConfidenceSequence(plan.alpha, EARLY)
        self._safety = {metric.name: Evidence() for metric in of.metrics if metric.role == "safety"}
        self._kept = 0.0  # sum of the primary metric of `base`
        self._pairs = 0

    def take(self, rows: Sequence[Row]) -> None:
        """Take one pair, or several of a run that is taken up again.

        Raises
        ------
        EndedEarlyError
            It does harm.
        """
        for arms in by_pair(rows).values():
            self._pairs += 1
            self._look(arms[self._ours], arms[self._base])

    def _look(self, ours: Row, base: Row) -> None:
        metric = self._of.primary
        self._kept += base.metrics[metric.name]
        self._cost.take(difference(metric, ours.metrics[metric.name], base.metrics[metric.name]))
        found = self._cost.interval()
        ratio = metric.scale == "ratio"
        tolerated = log1p(self._harm) if ratio else self._harm * self._kept / self._pairs
        if found.low > tolerated:
            told = shown(metric, found)
            what = "times" if ratio else "above"
            raise EndedEarlyError(
                f"steering does harm: {metric.name} is {told.low:.3g} to {told.high:.3g} {what} that of"
                f" {self._base} after {self._pairs} pairs, with {100.0 * (1.0 - self._alpha):g} % at every"
                f" moment; {100.0 * self._harm:g} % more was tolerated"
            )
        for name, evidence in self._safety.items():
            grown = evidence.take(_relative(ours.metrics, base.metrics, name))
            if grown >= len(self._safety) / self._alpha:
                raise EndedEarlyError(
                    f"steering does harm: {name} have risen, after {self._pairs} pairs (p <"
                    f" {self._alpha:g} at every moment)"
                )


def _relative(ours: Mapping[str, float], base: Mapping[str, float], name: str) -> float:
    """(a - b)/(a + b) of two rates that are 0 or more; 0 where there is nothing to compare."""
    both = ours[name] + base[name]
    return (ours[name] - base[name]) / both if both > 0.0 else 0.0
