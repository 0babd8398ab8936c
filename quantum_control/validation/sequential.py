"""An interval that holds at every moment: for those who look before the experiment is over."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, log, sqrt

FEWEST = 20
"""Observations before which there is no interval: it is asymptotic. How often it misses from here on is
measured in the tests."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An interval around an estimate."""

    low: float
    high: float


class ConfidenceSequence:
    """Confidence sequence of a mean: with probability 1 - alpha it never misses, however often one looks.

        m_n ± s_n·sqrt( 2·(n·r² + 1) / (n²·r²) · ln( sqrt(n·r² + 1) / alpha ) )

    with the mean m_n, the standard deviation s_n, and a parameter r that makes
    it tightest at about `tightest` observations. Normal approximation: the
    observations need a variance, and `FEWEST` of them.

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
        self._alpha = alpha
        self._r2 = (-2.0 * log(alpha) + log(1.0 - 2.0 * log(alpha))) / max(tightest, 1)
        self.count = 0
        self.mean = 0.0
        self._squares = 0.0  # sum of squared deviations from the mean (Welford 1962)

    def take(self, value: float) -> None:
        """Take one observation."""
        self.count += 1
        delta = value - self.mean
        self.mean += delta / self.count
        self._squares += delta * (value - self.mean)

    def interval(self) -> Interval:
        """Interval of now; unbounded before there are `FEWEST` observations."""
        n = self.count
        if n < FEWEST:
            return Interval(-inf, inf)
        scaled = n * self._r2 + 1.0
        factor = 2.0 * scaled / (n * n * self._r2) * log(sqrt(scaled) / self._alpha)
        half = sqrt(self._squares / n * factor)
        return Interval(self.mean - half, self.mean + half)
