"""Finds the period of demand, says when there is none, and locks onto its phase.

Detection: every few intervals the last amplitudes are detrended by a parabola
and projected on two harmonics of every period on a grid (generalised
least-squares periodogram, Zechmeister & Kürster, A&A 496, 577, 2009), which
tells periods apart that an FFT's bins cannot. A fit of level, slope and three
harmonics that favours the latest cycles then refines period and phase by
Gauss-Newton steps. Coherence is the share R² of the variance explained: the
smaller of that in the latest cycles, which says whether the rhythm still is,
and that in the whole window, without which any two bursts would pass for one.

Lock: between detections each harmonic k is a phasor z_k that turns by k·w
each interval and is corrected by what it did not explain, e:

    known part of the amplitude = sum of Re z_k,   z_k <- exp(i·k·w)·(z_k + g·e)
"""

from __future__ import annotations

from functools import cache
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

WINDOW = 512
"""Intervals that detection looks back on; half of it suffices for a first lock."""

EVERY = 64
"""Intervals between detections."""

LOCK, RELEASE = 0.6, 0.5
"""Coherence from which a period is believed, and below which it is given up. 99th percentile of Poisson
noise .05, of Markov bursts .4; steps and ramps reach .7."""

FLAT = 0.01
"""Variance of the amplitude that is not worth explaining: a 25th of the shot noise. size."""

SHORTEST = 6.0
"""Shortest period, in intervals."""

CYCLES = 2.0
"""Fewest cycles in the window: what was seen once is not yet a rhythm."""

SPACING = 0.4
"""Spacing of the grid of frequencies, in units of the window's resolution."""

SEARCHED, FITTED = 2, 3
"""Harmonics in the search, and in the fit (a sinusoid's square root has more than two)."""

RECENT = 2.0
"""Memory of the fit in periods: long enough for a phase, short enough for one that drifts."""

REFINEMENTS = 2
"""Gauss-Newton steps of the period."""

PHASE_GAIN = 0.002
"""g, per harmonic: corrects a phasor over about a window; more passes shot noise on."""

EASE = 0.1
"""Share by which the feed-forward fades in or out per interval: transfer without a bump."""

TOGETHER = 32
"""Rows that are refined at once: what that computes on the way stays in the processor's cache."""

STRIDE = 16
"""Intervals between exponentials that are worked out as such; the others are products of two."""

RIDGE = 1e-6
"""Trace of it that keeps a degenerate window (all the same amplitude) solvable."""

TINY = 1e-12


@cache
def _grid(length: int) -> tuple[Array, NDArray[np.float32], NDArray[Any]]:
    """Frequencies, their orthonormal bases (length x 2·SEARCHED·frequencies) and the parabola's basis.

    The bases are in single precision, as what is found by them is refined.
    """
    frequencies: Array = np.arange(CYCLES / length, 1.0 / SHORTEST, SPACING / length, dtype=np.float64)
    time = _time(length)
    trend, _ = np.linalg.qr(np.vander(time / length, 3))
    angle = 2.0 * np.pi * np.outer(time, frequencies)
    waves = np.stack([wave(k * angle) for k in range(1, SEARCHED + 1) for wave in (np.cos, np.sin)], axis=2)
    waves -= np.tensordot(trend, np.tensordot(trend, waves, (0, 0)), 1)
    orthonormal, _ = np.linalg.qr(waves.transpose(1, 0, 2))
    bases = orthonormal.transpose(1, 0, 2).reshape(length, -1).astype(np.float32)
    return frequencies, bases, trend


def _time(length: int) -> Array:
    """Intervals since now, which is the last of the window."""
    return np.arange(1.0 - length, 1.0)


def detect(window: Array, needed: NDArray[np.bool_] | None = None) -> tuple[Array, Array, Array, Array]:
    """Rhythm of each column of `window` (length x rows).

    Where `needed`, shape (rows,), says so, columns whose coherence is below RELEASE in any case are
    not refined: theirs is a bound then, their phasors and level are 0. All are if it is not given.

    Returns
    -------
    frequency
        Cycles per interval, shape (rows,).
    coherence
        Share R² of the variance explained, of the latest cycles or the whole window, whichever is less;
        shape (rows,).
    phasors
        z_k, with Re z_k the k-th harmonic now, complex, shape (FITTED, rows).
    level
        The amplitude now without its rhythm, shape (rows,).
    """
    length, rows = window.shape
    frequencies, bases, trend = _grid(length)
    rest = window - trend @ (trend.T @ window)
    power = (
        np.square(bases.T @ rest.astype(np.float32)).reshape(len(frequencies), 2 * SEARCHED, rows).sum(axis=1)
    )
    best = np.clip(np.argmax(power, axis=0), 1, len(frequencies) - 2)
    column = np.arange(rows)
    left, middle, right = (power[best + shift, column] for shift in (-1, 0, 1))
    # Vertex of the parabola through the best and its neighbours.
    bend = np.minimum(left - 2.0 * middle + right, -TINY)
    offset = np.clip(0.5 * (left - right) / bend, -1.0, 1.0)
    share = power[best, column] / (np.square(rest).sum(axis=0) + FLAT * length)
    frequency: Array = frequencies[best] + offset * SPACING / length
    coherence, level = share.copy(), np.zeros(rows)
    phasors = np.zeros((FITTED, rows), dtype=np.complex128)
    chosen = np.arange(rows) if needed is None else np.flatnonzero(needed | (share >= RELEASE))
    for begin in range(0, len(chosen), TOGETHER):
        some = chosen[begin : begin + TOGETHER]
        found = _refined(window[:, some], frequency[some])
        frequency[some], coherence[some], phasors[:, some], level[some] = found
    return frequency, np.minimum(coherence, share), cast(Array, phasors), level


def _refined(window: Array, frequency: Array) -> tuple[Array, Array, Array, Array]:
    length, rows = window.shape
    time = _time(length)
    order = np.arange(1.0, FITTED + 1.0)
    values = window.T[:, :, None].copy()
    weight = np.exp(time * frequency[:, None] / RECENT)[:, None]
    design = np.empty((rows, 2 + 2 * FITTED, length))
    design[:, 0], design[:, 1] = 1.0, time / length
    cosine, sine = design[:, 2 : 2 + FITTED], design[:, 2 + FITTED :]
    angular: Array = 2.0 * np.pi * frequency
    limit = 2.0 * np.pi * SPACING / length
    ridge = RIDGE * np.eye(design.shape[1])
    for step in range(REFINEMENTS + 1):
        _harmonics(angular, cosine, sine)
        weighed = design * weight
        gram = weighed @ design.transpose(0, 2, 1) + ridge
        solution = cast(Array, np.linalg.solve(gram, weighed @ values))
        a, b = (order[:, None] * part for part in np.split(solution[:, 2:], 2, axis=1))
        unexplained = values - design.transpose(0, 2, 1) @ solution
        if step < REFINEMENTS:
            # Derivative of the fit by the frequency, and what of it no other column can stand for.
            slope = time[:, None] * (cosine.transpose(0, 2, 1) @ b - sine.transpose(0, 2, 1) @ a)
            shared = weighed @ slope
            pull = slope.transpose(0, 2, 1) * weight
            own = pull @ slope - shared.transpose(0, 2, 1) @ np.linalg.solve(gram, shared)
            shift = (pull @ unexplained / (own + RIDGE))[:, 0, 0]
            angular = angular + np.clip(shift, -limit, limit)
    line = weighed[:, :2]
    variation = values - design[:, :2].transpose(0, 2, 1) @ np.linalg.solve(gram[:, :2, :2], line @ values)
    coherence = 1.0 - _weighed_square(weight, unexplained) / (_weighed_square(weight, variation) + TINY)
    phasors = solution[:, 2 : 2 + FITTED, 0] - 1j * solution[:, 2 + FITTED :, 0]
    return angular / (2.0 * np.pi), coherence, cast(Array, phasors.T), solution[:, 0, 0]


def _harmonics(angular: Array, cosine: Array, sine: Array) -> None:
    """Fill in the harmonics (rows x FITTED x length), by as few exponentials as will do: they are slow."""
    length = cosine.shape[-1]
    far = np.exp(1j * np.multiply.outer(angular, _time(length)[::STRIDE]))
    near = np.exp(1j * np.multiply.outer(angular, np.arange(STRIDE)))
    first = (far[:, :, None] * near[:, None]).reshape(-1, length)
    power = first
    for k in range(FITTED):
        cosine[:, k], sine[:, k] = power.real, power.imag
        power = power * first


def _weighed_square(weight: Array, values: Array) -> Array:
    total: Array = (weight @ np.square(values))[:, 0, 0]
    return total


class PhaseLock:
    """Tracks the periodic part of the amplitude; takes floats, or arrays with one row a resource."""

    def __init__(self) -> None:
        self.period: Any = 0.0
        """In intervals; 0 without a lock."""
        self.quality: Any = 0.0
        """Coherence of the last detection, 0 to 1."""
        self.locked: Any = 0.0
        """1 with a lock, else 0."""
        self.beyond: Any = 0.0
        """Known part of the amplitude `delay` + 1 intervals on, less that of the next. sqrt(size)."""
        self._weight: Any = 0.0  # follows `locked` smoothly
        self._phasors: list[Any] = [0j] * FITTED
        self._turns: list[Any] = [1.0 + 0j] * FITTED
        self._level: Any = 0.0
        self._window: NDArray[np.floating[Any]] | None = None
        self._count = 0
        self._stretch = 0  # of EVERY intervals, in which the last one was
        self._idle = True  # nothing locked or fading: skips the arithmetic

    def advance(self, amplitude: float, phase: int = 0, delay: int = 0) -> tuple[float, float]:
        """Take the amplitude of this interval; known parts of it and `delay` + 1 intervals on, in sqrt(size).

        Detections are `phase` intervals earlier.
        """
        if self._window is None:
            # Of many rows in single precision: memory counts there, and it is far finer than the noise.
            shape: tuple[int, ...] = np.shape(amplitude)
            self._window = np.zeros((WINDOW, *shape), np.float32 if shape else np.float64)
        self._window[self._count % WINDOW] = amplitude
        self._count += 1
        # The interval itself with which a stretch ends may not have been measured.
        stretch = (self._count + phase) // EVERY
        due = stretch != self._stretch and self._count >= WINDOW // 2
        self._stretch = stretch
        if self._idle and not due:
            return 0.0, 0.0
        weight = self._weight
        rhythm = sum(z.real for z in self._phasors)
        if due:
            self._detect(self._window)
        else:
            error = amplitude - self._level - rhythm
            self._level = self._level + PHASE_GAIN * error
            self._phasors = [
                turn * (z + 2.0 * PHASE_GAIN * error)
                for z, turn in zip(self._phasors, self._turns, strict=True)
            ]
        self._weight = weight + EASE * (self.locked - weight)
        coming = self._weight * sum(z.real for z in self._phasors)
        self.beyond = 0.0  # else it would outlast the rhythm, where orders act at once meanwhile
        if delay:
            late = (z * turn**delay for z, turn in zip(self._phasors, self._turns, strict=True))
            self.beyond = self._weight * sum(z.real for z in late) - coming
            coming = coming + self.beyond
        return weight * rhythm, coming

    def skip(self, intervals: int) -> None:
        """Let `intervals` pass that were not measured: a rhythm goes on, else the last amplitude stands.

        After a window of them nothing is remembered, and it begins anew.
        """
        if intervals >= WINDOW:
            PhaseLock.__init__(self)
        if self._window is None:
            return
        for _ in range(intervals):
            last = self._window[(self._count - 1) % WINDOW]
            expected = self._level + sum(z.real for z in self._phasors)
            self._window[self._count % WINDOW] = np.where(np.greater(self.locked, 0.0), expected, last)
            self._count += 1
            self._phasors = [turn * z for z, turn in zip(self._phasors, self._turns, strict=True)]

    def _detect(self, ring: NDArray[np.floating[Any]]) -> None:
        # Two lengths only, so that each grid is worked out once.
        length = WINDOW if self._count >= WINDOW else WINDOW // 2
        recent = ring[np.arange(self._count - length, self._count) % WINDOW].reshape(length, -1)
        fading = np.broadcast_to(np.ravel(self._weight) > TINY, recent.shape[1:])
        frequency, coherence, phasors, level = detect(recent.astype(np.float64), fading)
        locked = coherence >= np.where(np.ravel(self.locked) > 0.0, RELEASE, LOCK)
        shape = ring.shape[1:]
        self.quality = _shaped(np.clip(coherence, 0.0, 1.0), shape)
        self.locked = _shaped(locked.astype(float), shape)
        self.period = _shaped(locked / frequency, shape)
        turn = np.exp(2j * np.pi * frequency)
        self._turns = [_shaped(turn ** (k + 1), shape) for k in range(FITTED)]
        # The phasors found are those of this interval; the next one's are a turn further.
        self._phasors = [_shaped(phasors[k] * turn ** (k + 1), shape) for k in range(FITTED)]
        self._level = _shaped(level, shape)
        self._idle = not (locked.any() or np.any(np.asarray(self._weight) > TINY))


def _shaped(row: NDArray[Any], shape: tuple[int, ...]) -> Any:
    return row.reshape(shape) if shape else row[0].item()
