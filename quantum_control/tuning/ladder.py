"""A belief over the levels of demand, with the hopping between them learnt.

Bursty demand lives on a few levels and hops between them, as a particle in a
multi-well potential does. The ladder discretises the amplitude into RUNGS and
keeps the conditional probability p of each given all that was measured: the
classical filtering (stochastic master) equation of a hidden Markov chain
(Wonham 1965; Rabiner 1989), with the hopping rates estimated as it goes by
counting expected hops (online Baum-Welch, Mongillo & Deneve 2008):

    joint_ij ∝ p_i·A_ij·L_j(y)     p_j <- sum_i joint_ij     C_ij <- f·C_ij + joint_ij
    A_ij ∝ C_ij + PRIOR·(STAY·[i = j] + NEAR/2·[|i - j| = 1] + VISITED·pi_j)

L is the shot noise plus the width of a rung; pi the share of time spent on
each rung. The quantiles of the predicted mixture are what a law needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from quantum_control.core.errors import ConfigError
from quantum_control.tuning.weights import numbers

Array = NDArray[np.float64]

RUNGS = 24
"""Resolution of the range of demand; more learn slower, fewer blur the levels."""

MEMORY = 0.999
"""f, forgetting of hops per interval."""

PRIOR = 2.0
STAY, NEAR, VISITED = 0.85, 0.05, 0.10
"""Before anything is learnt: mostly stay, sometimes a rung up or down, sometimes to where it has been."""

REFIT = 64
"""Intervals between fits of the ladder to the range of demand."""

LEARN = 16
"""Intervals between uses of what was learnt about hops."""

SHRINK = 0.06
"""Share of the remembered range that is given up at either end at each fit, until it is seen again."""

MARGIN = 2.0
"""Room left above and below the range seen, in standard deviations of the shot noise."""

SHOT_NOISE_DEVIATION = 0.5

EDGES = np.arange(RUNGS + 1.0)
"""Lower edge of each rung and upper one of the last, in rungs above the low end of the ladder."""

DISTANCES = np.arange(2.0 * RUNGS) - RUNGS + 0.5
"""Of an edge from the middle of a rung, in rungs: the last RUNGS + 1 are those of all edges from the lowest
rung, RUNGS + 1 that begin one earlier those from the next rung, and so on."""

HELD_BACK = 4
"""Intervals of which many rows keep the hops uncounted, to count them together; they take 48 numbers each."""

LEARNT = ("low", "high", "belief", "visits", "hops")
"""Names of what is kept over a restart."""

UNHEARD_OF = 1e-6
"""Probability that any rung is kept at: where the range has just grown nothing was ever believed, and without
it rounding would decide between the new rungs."""

FLOOR = 1e-12
"""What any level is believed to be capable of: keeps the belief from dying out far from where it was."""


class Ladder:
    """Belief over RUNGS levels for each of `rows` resources.

    Of many rows, where memory is what counts, probabilities are kept in single precision.

    Parameters
    ----------
    rows
        How many.
    phase
        Intervals by which all that is done every LEARN or REFIT intervals is done earlier.
    """

    def __init__(self, rows: int, phase: int = 0) -> None:
        self._rows = rows
        self._phase = phase
        self._number: Any = np.float64 if rows == 1 else np.float32
        distance = np.abs(np.subtract.outer(np.arange(RUNGS), np.arange(RUNGS)))
        stay = np.where(distance == 0, STAY, 0.0) + np.where(distance == 1, NEAR / 2.0, 0.0)
        stay[0, 0] += NEAR / 2.0
        stay[-1, -1] += NEAR / 2.0
        self._prior: Array = (PRIOR * stay).astype(self._number)
        self._belief = np.full((rows, RUNGS), 1.0 / RUNGS, self._number)
        self._hops = np.zeros((rows, RUNGS, RUNGS), self._number)
        self._visits = np.full((rows, RUNGS), 1.0 / RUNGS, self._number)
        self._low = np.zeros((rows, 1))
        self._high = np.zeros((rows, 1))
        self._seen_low = np.zeros((rows, 1))
        self._seen_high = np.zeros((rows, 1))
        self._width = np.zeros((rows, 1))
        self._rungs = np.zeros((rows, RUNGS))
        self._sharpness = np.zeros((rows, 1))
        # Many rows keep it by distance, and lay it out when it is used: that is a twelfth of the memory.
        self._below = np.zeros((1, RUNGS, RUNGS + 1) if rows == 1 else (rows, 2 * RUNGS), self._number)
        self._all = np.arange(rows)
        self._hopped: list[tuple[Array, Array]] = []
        self._count = 0
        self._gain = 1.0
        self._ahead: Array | None = None
        self._chain = self._normalised()

    def update(self, amplitude: Array) -> None:
        """Take the amplitudes sqrt(flow) of this interval, shape (rows,)."""
        y = amplitude[:, None]
        if self._count == 0:
            self._seen_low, self._seen_high = y.copy(), y.copy()
            self._fit(self._all)
        self._seen_low = np.minimum(y, self._seen_low)
        self._seen_high = np.maximum(y, self._seen_high)
        self._count += 1
        at = self._count + self._phase
        if at % REFIT == 0:
            self._count_hops()
            self._hops /= self._gain
            self._visits /= self._gain
            self._gain = 1.0
            shrink = SHRINK * (self._seen_high - self._seen_low)
            self._seen_low = np.minimum(y, self._seen_low + shrink)
            self._seen_high = np.maximum(y, self._seen_high - shrink)
            self._fit(self._all)
        else:
            outside = (y < self._low) | (y > self._high)
            if outside.any():
                self._count_hops()
                self._fit(np.flatnonzero(outside))
        distance = ((y - self._rungs) * self._sharpness).astype(self._number)
        likelihood = np.exp(distance * -distance) + FLOOR
        belief = (self._predicted() + UNHEARD_OF) * likelihood
        likely = (1.0 / np.add.reduce(belief, axis=1))[:, None]
        # Old hops are not scaled down; new ones are scaled up, until the next fit.
        self._gain /= MEMORY
        self._hopped.append((self._gain * self._belief, likelihood * likely))
        self._belief = belief * likely
        self._visits += self._gain * self._belief
        self._ahead = None
        if at % LEARN == 0:
            self._count_hops()
            self._chain = self._normalised()
        elif len(self._hopped) == HELD_BACK and self._rows > 1:
            self._count_hops()

    def learned(self) -> dict[str, object]:
        """Levels, hops and belief of all rows, as lists."""
        self._count_hops()
        self._chain = self._normalised()
        self._ahead = None
        arrays = (self._low, self._high, self._belief, self._visits / self._gain, self._hops / self._gain)
        return dict(zip(LEARNT, (array.tolist() for array in arrays), strict=True))

    def recall(self, learned: Mapping[str, object]) -> None:
        """Go on from what `learned()` returned; call it before the first update.

        Raises
        ------
        ConfigError
            It was learnt for another number of rows or rungs, or is not what a ladder learns.
        """
        arrays = [numbers(learned.get(name)) for name in LEARNT]
        shapes = [(self._rows, 1)] * 2 + [(self._rows, RUNGS)] * 2 + [(self._rows, RUNGS, RUNGS)]
        if [array.shape for array in arrays] != shapes or not all(np.isfinite(a).all() for a in arrays):
            raise ConfigError(f"what was learnt of levels is not of {self._rows} x {RUNGS} of them")
        low, high, belief, visits, hops = arrays
        shares = (belief, visits)
        if (
            not (low < high).all()
            or hops.min() < 0.0
            or not all(a.min() >= 0.0 < a.sum(1).min() for a in shares)
        ):
            raise ConfigError("what was learnt of levels is no range of demand with shares of time in it")
        self._seen_low, self._seen_high = low.copy(), high.copy()
        self._low, self._high = low, high
        self._belief, self._visits, self._hops = (a.astype(self._number) for a in (belief, visits, hops))
        self._lay(self._all)
        self._chain = self._normalised()
        self._ahead = None
        self._count = 1

    def quantiles(self, probabilities: Array, delay: int = 0) -> Array:
        """Quantiles of the amplitude `delay` + 1 intervals on; shape (len(probabilities), rows)."""
        below = self._below if self._rows == 1 else _laid_out(self._below)
        belief = self._predicted()[:, None, :]
        for _ in range(delay):
            belief = np.matmul(belief, self._chain)
        cumulative = np.matmul(belief, below)[:, 0, :]
        if self._rows == 1:
            rungs = np.interp(probabilities, cumulative[0], EDGES)[:, None]
        else:
            rungs = _interpolated(probabilities[:, None], cumulative)
        return cast(Array, self._low[:, 0] + rungs * self._width[:, 0])

    def _predicted(self) -> Array:
        """Belief about the next interval, before it is seen."""
        if self._ahead is None:
            self._ahead = np.matmul(self._belief[:, None, :], self._chain)[:, 0, :]
        return self._ahead

    def _count_hops(self) -> None:
        """Add the hops since the chain last changed: its entries times the sums of p_i·L_j."""
        if not self._hopped:
            return
        left = np.stack([belief for belief, _ in self._hopped], axis=2)
        right = np.stack([likelihood for _, likelihood in self._hopped], axis=1)
        joint = np.matmul(left, right)
        joint *= self._chain
        self._hops += joint
        self._hopped.clear()

    def _normalised(self, rows: NDArray[np.intp] | slice = slice(None)) -> Array:
        """Chain of hops of `rows`; all by default."""
        visited = self._visits[rows]
        visits = visited * (self._gain * PRIOR * VISITED / np.add.reduce(visited, axis=1))[:, None]
        chain: Array = self._hops[rows] + self._gain * self._prior
        chain += visits[:, None, :]
        chain /= np.add.reduce(chain, axis=2)[:, :, None]
        return chain

    def _fit(self, rows: NDArray[np.intp]) -> None:
        """Lay the ladder over the range seen by `rows`, and carry over what was learnt."""
        margin = MARGIN * SHOT_NOISE_DEVIATION + 0.1 * (self._seen_high - self._seen_low)
        low = np.maximum(self._seen_low - margin, 0.0)[rows]
        high = (self._seen_high + margin)[rows]
        if self._count > 0:
            old_width = (self._high[rows] - self._low[rows]) / RUNGS
            new_width = (high - low) / RUNGS
            edges = low + new_width * np.arange(RUNGS + 1)
            # Share of old rung i that new rung j takes over: overlap of the two intervals.
            old_low = self._low[rows] + old_width * np.arange(RUNGS)
            overlap = np.minimum((old_low + old_width)[:, :, None], edges[:, None, 1:]) - np.maximum(
                old_low[:, :, None], edges[:, None, :-1]
            )
            share = (np.maximum(overlap, 0.0) / old_width[:, :, None]).astype(self._number)
            # What falls off either end goes to the end.
            lost = 1.0 - share.sum(axis=2)
            below = old_low + 0.5 * old_width < low
            share[:, :, 0] += np.where(below, lost, 0.0)
            share[:, :, -1] += np.where(below, 0.0, lost)
            across = share.transpose(0, 2, 1)
            self._belief[rows] = np.matmul(across, self._belief[rows][:, :, None])[:, :, 0]
            self._visits[rows] = np.matmul(across, self._visits[rows][:, :, None])[:, :, 0]
            self._hops[rows] = across @ self._hops[rows] @ share
            # The other rows go on with what they had: rows do not know of each other.
            self._chain[rows] = self._normalised(rows)
            self._ahead = None
        self._low[rows], self._high[rows] = low, high
        self._lay(rows)

    def _lay(self, rows: NDArray[np.intp]) -> None:
        low = self._low[rows]
        width = (self._high[rows] - low) / RUNGS
        noise = np.sqrt(SHOT_NOISE_DEVIATION**2 + width**2 / 12.0)
        self._width[rows] = width
        self._rungs[rows] = low + width * (np.arange(RUNGS) + 0.5)
        self._sharpness[rows] = np.sqrt(0.5) / noise
        # P(amplitude below edge k | rung j), with the logistic approximation of the normal's: it depends on
        # the distance of the two alone.
        gap = DISTANCES * (width / noise)
        below = 1.0 / (1.0 + np.exp(np.minimum(-1.702 * gap, 500.0)))
        self._below[rows] = _laid_out(below) if self._rows == 1 else below


def _laid_out(by_distance: Array) -> Array:
    """For each rung (second axis), what holds at its distance from each edge (third axis)."""
    return np.ascontiguousarray(sliding_window_view(by_distance, RUNGS + 1, axis=1)[:, ::-1])


def _interpolated(probabilities: Array, cumulative: Array) -> Array:
    """As np.interp(probabilities, each, EDGES) for each row of `cumulative` at once; a column a row."""
    index = np.add.reduce(cumulative < probabilities[:, :, None], axis=2)
    index = np.minimum(np.maximum(index, 1), RUNGS)
    row = np.arange(len(cumulative))
    lower = cumulative[row, index - 1]
    upper = cumulative[row, index]
    share = (probabilities - lower) / np.maximum(upper - lower, FLOOR)
    return cast(Array, index - 1.0 + np.minimum(np.maximum(share, 0.0), 1.0))
