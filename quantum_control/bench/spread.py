"""How sure a median over pairs is: one way to tell it, for the tables of all paired benchmarks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from quantum_control.simulation.traffic import FloatArray

FEWEST = 6
"""Pairs below which no interval of confidence is given, but the range."""

RESAMPLES = 2000
"""Of the bootstrap over pairs."""

MARKS = f"[95 % bootstrap interval], or (range) of fewer than {FEWEST} pairs"
"""What stands behind a median, in the words of a table's header."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Median over pairs, and what surrounds it."""

    median: float
    low: float
    high: float
    """Ends of its 95 % bootstrap interval; lowest and highest of fewer than `FEWEST` pairs."""
    pairs: int
    """How many it is of."""

    def __format__(self, digits: str) -> str:
        """Each number in the format `digits`; an interval in square brackets, a range in round ones."""
        median, low, high = (format(each, digits) for each in (self.median, self.low, self.high))
        return f"{median} [{low}, {high}]" if self.pairs >= FEWEST else f"{median} ({low} to {high})"


def spread(values: FloatArray) -> Spread:
    """Median over pairs of `values`, one a pair, at least one; infinite ones leave it defined.

    The interval is that of percentiles: of the medians of resamples of the pairs,
    drawn with replacement (Efron & Tibshirani 1993, chapter 13).
    """
    low, high = values.min(), values.max()
    if values.size >= FEWEST:
        medians = np.median(np.random.default_rng(0).choice(values, (RESAMPLES, values.size)), axis=1)
        # Of those that were drawn: between a number and infinity there is nothing to interpolate.
        low, high = np.percentile(medians, (2.5, 97.5), method="inverted_cdf")
    return Spread(float(np.median(values)), float(low), float(high), values.size)
