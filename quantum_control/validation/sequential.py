"""An interval that holds at every moment: for those who look before the experiment is over."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isfinite, log, sqrt

FEWEST = 30
"""Observations before which there is no interval: it is asymptotic, and misses more often the earlier one
looks. How often from here on is measured in the tests: `ConfidenceSequence` has the figures."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An interval around an estimate."""

    low: float
    high: float


def reach(count: int, tightest: int, alpha: float) -> float:
    """Half of the interval after `count` observations, in standard deviations."""
    r2 = (-2.0 * log(alpha) + log(1.0 - 2.0 * log(alpha))) / max(tightest, 1)
    scaled = count * r2 + 1.0
    return sqrt(2.0 * scaled / (count * count * r2) * log(sqrt(scaled) / alpha))


class ConfidenceSequence:
    """Confidence sequence of a mean, for those who look as often as they like.

    In the limit it ever misses with a probability of `alpha` at the most.

        m_n ± s_n·sqrt( 2·(n·r² + 1) / (n²·r²) · ln( sqrt(n·r² + 1) / alpha ) )

    with the mean m_n, the standard deviation s_n, and a parameter r that makes
    it tightest at about `tightest` observations. Normal approximation: the
    observations need a variance, and `FEWEST` of them. How often it ever
    misses with an alpha of 0.05, in 2000 runs of as many observations as
    `tightest`, 50 to 1000: symmetric ones 1 to 2 %, exponential ones 4 to 6 %,
    lognormal ones (sigma 1) 7 to 11 %; in runs of 1000 with a `tightest` of
    50: 4, 8 and 14 %. With skewed ones nearly all misses lie on the side of
    the short tail.

    Parameters
    ----------
    alpha
        Probability of ever missing.
    tightest
        Number of observations at which it is to be tightest.

    References
    ----------
    I. Waudby-Smith, D. Arbour, R. Sinha, E. H. Kennedy and A. Ramdas,
    "Time-uniform central limit theory and asymptotic confidence sequences",
    Annals of Statistics 52 (2024) 2613-2640, theorem 2.2 and appendix B.2.
    """

    def __init__(self, alpha: float, tightest: int) -> None:
        self._alpha, self._tightest = alpha, tightest
        self.count = 0
        self.mean = 0.0
        self._squares = 0.0  # sum of squared deviations from the mean (Welford 1962)

    def take(self, value: float) -> None:
        """Take one observation.

        Raises
        ------
        ValueError
            It is not finite: one such would leave no interval for ever.
        """
        if not isfinite(value):
            raise ValueError(f"an observation of a confidence sequence is finite, not {value}")
        self.count += 1
        delta = value - self.mean
        self.mean += delta / self.count
        self._squares += delta * (value - self.mean)

    def interval(self) -> Interval:
        """Interval of now; unbounded before there are `FEWEST` observations."""
        n = self.count
        if n < FEWEST:
            return Interval(-inf, inf)
        half = sqrt(self._squares / n) * reach(n, self._tightest, self._alpha)
        return Interval(self.mean - half, self.mean + half)
