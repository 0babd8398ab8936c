"""Guard rails: what ends an experiment on somebody's own resource before it is over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite, log1p

from quantum_control.core.errors import ConfigError
from quantum_control.core.watch import BETS
from quantum_control.validation.experiment import EndedEarlyError, shown
from quantum_control.validation.plan import Metric, Plan, ResourcePlan
from quantum_control.validation.records import Row, by_pair
from quantum_control.validation.sequential import ConfidenceSequence

EARLY = 50
"""Pairs at which the interval that looks for harm is tightest: harm is to be found early."""


def tolerated(of: ResourcePlan) -> float:
    """Relative loss of the primary metric that the plan tolerates (`bed.harm`). Unit 1.

    Raises
    ------
    ConfigError
        It has none, or one that is no share.
    """
    harm = of.bed.get("harm")
    if isinstance(harm, bool) or not isinstance(harm, int | float) or not 0.0 <= harm < 1.0:
        raise ConfigError(
            f"the plan's bed.harm is {harm!r}: give the loss beyond which the experiment is ended, as a"
            " share of 0 to 1"
        )
    return float(harm)


FAILURES = "failures"
"""Safety metric of one's own resource: share of intervals that could not be measured or set."""


class Evidence:
    """Evidence that differences, each in [-1, 1], have a mean above zero: ever since the first, or of late.

    For each stake λ the wealth of one who bets on it, Π (1 + λ·x), and their
    mean. If each x, given those before, has a mean of zero or less, it ever
    reaches 1/alpha with a probability of alpha at the most, whatever the
    distribution (Ville 1939; Waudby-Smith & Ramdas 2024, "Estimating means of
    bounded random variables by betting"). Two arms that do not differ, in an
    order drawn anew, are such a case.

    That is slow to see harm that begins after a long time without. So a new one
    begins to bet with each difference; the sum of what they have after n of them
    has a mean of n at the most (Shiryaev 1963, Roberts 1966; Shin, Ramdas & Rinaldo
    2024, "E-detectors"), and ever reaches n/alpha with a probability of alpha (Doob).

    Parameters
    ----------
    planned
        Differences that there will be at the most.
    """

    def __init__(self, planned: int) -> None:
        self._planned = planned
        self._first = [1.0] * len(BETS)
        self._all = [0.0] * len(BETS)

    def take(self, difference: float) -> float:
        """Take one difference, and return the evidence: what it reaches 1/alpha with is alpha at the most."""
        won = [1.0 + bet * difference for bet in BETS]
        self._first = [has * each for has, each in zip(self._first, won, strict=True)]
        self._all = [(has + 1.0) * each for has, each in zip(self._all, won, strict=True)]
        # The mean of two of which either is bounded so is bounded so as well.
        return (sum(self._first) + sum(self._all) / self._planned) / (2.0 * len(BETS))


class Rails:
    """Looks at each pair, and ends the experiment where ours does harm.

    Two rails:

    - the always-valid interval of the primary metric is above a loss of `harm`.
      It is asymptotic. Where the loss is as large as `harm`, it gives a false
      alarm in a run of 1000 pairs with a probability of 2 % for symmetric
      differences; 8 and 14 % where they have a tail like that of an exponential
      or lognormal variable (sigma 1) on the side of a gain, next to never where
      it is on the other (tests; alpha 0.05). With a smaller loss, or none, it is less;
    - the safety metrics (errors, drops, failures) get worse: evidence by
      betting, with the plan's alpha at the most, whatever the distribution.

    Parameters
    ----------
    plan, of
        What was planned, and for the resource.
    ours, base
        The arm that is judged, and the one that it is compared with.
    harm
        Relative loss of the primary metric that is tolerated (`tolerated`). Unit 1.
    """

    def __init__(self, plan: Plan, of: ResourcePlan, ours: str, base: str, harm: float) -> None:
        self._of = of
        self._ours, self._base = ours, base
        self._harm = harm
        self._alpha = plan.alpha
        self._cost = ConfidenceSequence(plan.alpha, EARLY)
        self._safety = [(metric, Evidence(plan.pairs)) for metric in of.metrics if metric.role == "safety"]
        self._kept = 0.0  # sum of the primary metric of `base`, over pairs that have a difference
        self._pairs = 0

    @property
    def watched(self) -> str:
        """What ends the experiment, for people."""
        worse = "more" if self._of.primary.better == "lower" else "less"
        told = [f"{100.0 * self._harm:g} % {worse} {self._of.primary.name}"]
        told += [
            f"{'more' if metric.better == 'lower' else 'less'} {metric.name}" for metric, _ in self._safety
        ]
        return ", ".join(told)

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

    def take_unmeasured(self, arm: str) -> None:
        """Take a block of an arm that could not be measured: it failed, and the other did not.

        Raises
        ------
        EndedEarlyError
            It does harm.
        """
        for metric, evidence in self._safety:
            if metric.name == FAILURES:
                self._bet(metric, evidence, 1.0 if arm == self._ours else -1.0)

    def _look(self, ours: Row, base: Row) -> None:
        metric = self._of.primary
        value = metric.difference(ours.metrics[metric.name], base.metrics[metric.name])
        if isfinite(value):  # the report counts those that are not
            self._kept += base.metrics[metric.name]
            self._cost.take(value)
            self._compare(metric)
        for safety, evidence in self._safety:
            self._bet(safety, evidence, _relative(ours.metrics, base.metrics, safety))

    def _bet(self, safety: Metric, evidence: Evidence, lost: float) -> None:
        if evidence.take(lost) >= len(self._safety) / self._alpha:
            changed = "risen" if safety.better == "lower" else "fallen"
            raise EndedEarlyError(
                f"steering does harm: {safety.name} have {changed}, after {self._pairs} pairs (p <"
                f" {self._alpha:g} at every moment)"
            )

    def _compare(self, metric: Metric) -> None:
        found = self._cost.interval()
        ratio, lower = metric.scale == "ratio", metric.better == "lower"
        change = self._harm if lower else -self._harm
        bound = log1p(change) if ratio else change * self._kept / self._cost.count
        if not (found.low > bound if lower else found.high < bound):
            return
        told = shown(metric, found)
        raise EndedEarlyError(
            f"steering does harm: {metric.name} is {told.low:.3g} to {told.high:.3g}"
            f" {'times' if ratio else 'above'} that of {self._base} after {self._pairs} pairs, with"
            f" {100.0 * (1.0 - self._alpha):g} % at every moment; {100.0 * self._harm:g} %"
            f" {'more' if lower else 'less'} was tolerated"
        )


def _relative(ours: Mapping[str, float], base: Mapping[str, float], metric: Metric) -> float:
    """(a - b)/(a + b) of two rates that are 0 or more, as a loss; 0 where there is nothing to compare."""
    one, two = ours[metric.name], base[metric.name]
    both = one + two
    lost = one - two if metric.better == "lower" else two - one
    return lost / both if both > 0.0 else 0.0
