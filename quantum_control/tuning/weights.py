"""Weights of candidates by what each would have cost: prediction with expert advice.

The flow is seen whatever the size, so that at every step every candidate can
be charged (full information). The exponentially weighted average is within
O(sqrt(T log K)) of the best of K candidates (Cesa-Bianchi & Lugosi 2006,
ch. 2); with convex costs its average decision costs no more than the average
cost. Losses are discounted, so that what was best long ago does not count for
ever, and scaled by their own spread across candidates, so that there is no
unit to tune.
"""

from __future__ import annotations

from math import nan

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

TOGETHER = 4
"""Intervals whose losses are weighed together: the weights move over hundreds of them, and weighing costs
as much time as all else that a candidate does."""

DISCOUNT = 0.996
"""Forgetting per TOGETHER intervals: a memory of 1000 intervals."""

LEARNING_RATE = 3.0
"""Times 1/sqrt(memory) and over the losses' spread; 1 to 10 differ by less than 1 %."""

FORGOTTEN = 0.05
"""What remains of the losses when a law begins to know something new."""


NEGLIGIBLE = 1e-12
"""Relative variance below which losses do not differ: rounding must not be taken for evidence."""

TINY = 1e-300
"""Keeps a quotient finite while nothing costs anything."""


LEAST = 1e-6
"""No candidate is recalled as hopeless: the load may have changed."""


def numbers(recorded: object) -> Array:
    """What was recorded as lists of numbers; an array of no shape, and no number, if it is anything else."""
    try:
        return np.array(recorded if isinstance(recorded, list) else nan, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        return np.array(nan)


class Weights:
    """Discounted exponential weights of the first axis of the losses.

    Parameters
    ----------
    prior
        Weight of each candidate before anything is known, shape (candidates,).
    discount, rate
        Forgetting per TOGETHER intervals, and how fast is learnt.
    shape
        Of the losses of one candidate: () for one resource, (rows,) for many.
    """

    def __init__(
        self,
        prior: Array,
        discount: float = DISCOUNT,
        rate: float = LEARNING_RATE,
        *,
        shape: tuple[int, ...] = (),
    ) -> None:
        self._discount = discount
        self._rate = rate
        column = prior.reshape(-1, *(1 for _ in shape))
        self._log_prior = np.log(column)
        self._share = 1.0 / len(prior)
        self._losses: Array = np.zeros((len(prior), *shape))
        self._square: Array = np.zeros(shape)
        self._pending: Array = np.zeros((len(prior), *shape))  # losses since the weights last changed
        self._count = 0  # intervals of them
        self.values: Array = np.broadcast_to(column / prior.sum(), self._losses.shape).copy()
        """Weight of each candidate; the first axis sums to 1."""

    def recall(self, values: Array) -> None:
        """Start from these weights, as if they had been the prior; call it before the first losses."""
        self._log_prior = np.log(np.maximum(values, LEAST))
        self.values = values / values.sum(axis=0)

    def forget(self, where: Array) -> None:
        """Let all losses so far count for little `where` (true or false, shape of one candidate) is true."""
        keep = np.where(where, FORGOTTEN, 1.0)
        self._losses *= keep
        self._square *= keep
        self._pending *= keep

    def update(self, losses: Array) -> None:
        """Take the losses of one interval, candidates along the first axis."""
        self._pending += losses
        self._count += 1
        if self._count == TOGETHER:
            losses, self._pending, self._count = self._pending, np.zeros(losses.shape), 0
            self._weigh(losses)

    def _weigh(self, losses: Array) -> None:
        """Take the losses of TOGETHER intervals."""
        mean = np.add.reduce(losses, axis=0) * self._share
        deviation = losses - mean
        self._losses *= self._discount
        self._losses += deviation
        deviation *= deviation
        self._square *= self._discount
        self._square += np.add.reduce(deviation, axis=0) * self._share + NEGLIGIBLE * mean * mean
        score = self._log_prior - self._losses * (self._rate / np.sqrt(self._square + TINY))
        score -= np.maximum.reduce(score, axis=0)
        weights = np.exp(score)
        weights /= np.add.reduce(weights, axis=0)
        self.values = weights
