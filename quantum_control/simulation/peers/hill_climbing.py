"""The .NET thread pool's hill climbing: a wave on the size, looked for in the throughput."""

from __future__ import annotations

from math import inf, pi
from typing import cast

import numpy as np
import numpy.typing as npt

from quantum_control.core.numeric import SCALAR, ops_for
from quantum_control.core.resource import ResourceState
from quantum_control.simulation.peers.base import Peer, ordered, require
from quantum_control.simulation.traffic import FloatArray

WAVE_PERIOD = 4
"""Samples per period of the wave."""

HISTORY_PERIODS = 8
"""Periods in which it is looked for."""

LARGEST_WAVE = 20.0
WAVE_MULTIPLIER = 1.0
BIAS = 0.15
"""Throughput that one more thread must bring, relative to its share."""

SIGNAL_TO_NOISE = 3.0
CHANGE_PER_SECOND = 4.0
CHANGE_PER_SAMPLE = 20.0
ERROR_SMOOTHING = 0.01
GAIN_EXPONENT = 2.0
LARGEST_SAMPLE_ERROR = 0.15
"""Defaults of CoreCLR's `HillClimbing_*` settings."""

Complexes = npt.NDArray[np.complex128]


def wave_tables(period: int, history: int) -> tuple[Complexes, Complexes, Complexes]:
    """Weights of Goertzel's filter for the wave and its two neighbouring bands.

    Row N holds, for N samples (the newest first), exp(i·2·pi·k/P)/N for age
    k < N and 0 beyond, so that one product yields the component of period P
    that the recursion would. P is `period` for the wave, N/(N/period ± 1) for
    its neighbours; the slower of them is left out (0) where it does not fit.
    """
    ages = np.arange(history)
    tables = [np.zeros((history + 1, history), dtype=np.complex128) for _ in range(3)]
    for count in range(2 * period, history + 1, period):
        waves = count / period
        for table, cycles in zip(tables, (waves, waves + 1.0, waves - 1.0), strict=True):
            if cycles >= 1.0:
                table[count] = np.where(ages < count, np.exp(2j * pi * cycles / count * ages) / count, 0.0)
    return tables[0], tables[1], tables[2]


class HillClimbing(Peer):
    """Climbs the throughput by the response to a square wave that it puts on the size.

    With the components W of size and Y of throughput at the wave's period, each
    over its mean, and the noise E, the larger of Y's neighbouring bands:

        slope      = Re((Y - bias·W)/W)
        confidence = |W|/max(mean E, E)/snr
        move       = sign·|clip(slope, ±1)·clip(confidence, 0, 1)|²·4·dt, at most 20
        c         <- c + move
        wave       = clip(floor(1/2 + 2·c·(mean E)·snr), 1, 20)
        u          = floor(c + wave·(every second pair of samples))

    A sample counts once the completions are many enough for an error of
    (u - 1)/completions below 15 %; until then they are added up. Memory of
    arrays is per run.

    References
    ----------
    J. Hellerstein, V. Morrison and E. Eilebrecht, "Applying control theory in
    the real world: experience with building a controller for the .NET thread
    pool", SIGMETRICS Perf. Eval. Rev. 37 (2009) 38-42; dotnet/runtime,
    `PortableThreadPool.HillClimbing.cs`.

    Parameters
    ----------
    smallest, largest
        Bounds of the number of threads. The original's lower bound is the
        number of processors.
    """

    name = "hill_climbing"

    def __init__(self, smallest: float = 1.0, largest: float = 32767.0) -> None:
        require("HillClimbing", smallest=(smallest, 1.0, largest), largest=(largest, 1.0, inf))
        self.smallest = smallest
        self.largest = largest
        self._tables = wave_tables(WAVE_PERIOD, WAVE_PERIOD * HISTORY_PERIODS)
        self._started = False

    def wanted_size(self, state: ResourceState) -> float:
        """Next number of threads."""
        # Histories are arrays whatever the state is; the law works on one row a run throughout.
        threads, size, throughput = (
            np.atleast_1d(np.asarray(value, dtype=np.float64))
            for value in (ordered(state), state.size, state.throughput)
        )
        wanted = self._update(threads, size, throughput * state.interval, state.interval)
        return float(wanted[0]) if ops_for(state.size) is SCALAR else cast(float, wanted)

    def _start(self, size: FloatArray) -> None:
        runs, history = len(size), WAVE_PERIOD * HISTORY_PERIODS
        self._sizes = np.zeros((runs, history))  # newest first
        self._throughputs = np.zeros((runs, history))
        self._samples = np.zeros(runs, dtype=np.int64)
        self._noise = np.zeros(runs)  # mean E; 0 until there is one
        self._control = size.copy()  # c
        self._last = size.copy()  # u as last set
        self._pending_seconds = np.zeros(runs)  # of samples that are not accurate enough yet
        self._pending_completions = np.zeros(runs)
        self._started = True

    def _update(
        self, threads: FloatArray, size: FloatArray, completions: FloatArray, seconds: float
    ) -> FloatArray:
        """Next number, from the one ordered, the one that was at work, and what it completed."""
        if not self._started:
            self._start(threads)
        # Someone else changed the number of threads: carry the control along.
        self._control += threads - self._last
        self._pending_seconds += seconds
        self._pending_completions += completions
        enough = size - 1.0 < LARGEST_SAMPLE_ERROR * self._pending_completions
        enough |= (self._samples == 0) | (size <= 1.0)
        elapsed = np.where(enough, self._pending_seconds, 0.0)
        self._record(size, enough)
        slope, confidence = self._slope()
        move = np.clip(slope, -1.0, 1.0) * np.clip(confidence, 0.0, 1.0)
        move = np.sign(move) * np.abs(move) ** GAIN_EXPONENT * CHANGE_PER_SECOND * elapsed
        self._control += np.where(enough, np.minimum(move, CHANGE_PER_SAMPLE), 0.0)
        wave = np.floor(0.5 + self._control * self._noise * SIGNAL_TO_NOISE * WAVE_MULTIPLIER * 2.0)
        wave = np.maximum(np.minimum(wave, LARGEST_WAVE), 1.0)
        self._control = np.maximum(np.minimum(self._control, self.largest - wave), self.smallest)
        up = (self._samples // (WAVE_PERIOD // 2)) % 2
        wanted = np.clip(np.floor(self._control + wave * up), self.smallest, self.largest)
        self._last = np.where(enough, wanted, threads)
        return self._last

    def _record(self, size: FloatArray, enough: npt.NDArray[np.bool_]) -> None:
        """Put the samples that are accurate enough into the histories."""
        rate = self._pending_completions / self._pending_seconds
        for history, value in ((self._sizes, size), (self._throughputs, rate)):
            moved = history[enough]
            moved[:, 1:] = moved[:, :-1]
            moved[:, 0] = value[enough]
            history[enough] = moved
        self._samples += enough
        self._pending_seconds = np.where(enough, 0.0, self._pending_seconds)
        self._pending_completions = np.where(enough, 0.0, self._pending_completions)
        self._fresh = enough

    def _slope(self) -> tuple[FloatArray, FloatArray]:
        """Slope and confidence; both 0 where the history is too short or empty."""
        history = WAVE_PERIOD * HISTORY_PERIODS
        count = np.minimum(self._samples - 1, history) // WAVE_PERIOD * WAVE_PERIOD
        count = np.maximum(count, 0)
        ages = np.arange(history) < count[:, None]
        usable = np.maximum(count, 1)
        mean_rate = (self._throughputs * ages).sum(axis=1) / usable
        mean_size = (self._sizes * ages).sum(axis=1) / usable
        known = self._fresh & (count > WAVE_PERIOD) & (mean_rate > 0.0) & (mean_size > 0.0)
        over_rate = np.where(known, mean_rate, 1.0)

        wave, faster, slower = (table[count] for table in self._tables)
        rate_wave = (self._throughputs * wave).sum(axis=1) / over_rate
        noise = np.maximum(
            np.abs((self._throughputs * faster).sum(axis=1)),
            np.abs((self._throughputs * slower).sum(axis=1)),
        )
        noise = noise / over_rate
        size_wave = (self._sizes * wave).sum(axis=1) / np.where(known, mean_size, 1.0)

        smoothed = np.where(
            self._noise == 0.0, noise, ERROR_SMOOTHING * noise + (1.0 - ERROR_SMOOTHING) * self._noise
        )
        self._noise = np.where(known, smoothed, self._noise)
        moving = known & (np.abs(size_wave) > 0.0)
        ratio = np.where(moving, rate_wave - BIAS * size_wave, 0.0) / np.where(moving, size_wave, 1.0)
        floor_noise = np.maximum(self._noise, noise)
        quiet = floor_noise <= 0.0
        confidence = np.abs(size_wave) / np.where(quiet, 1.0, floor_noise) / SIGNAL_TO_NOISE
        confidence = np.where(quiet, 1.0, confidence)
        return np.where(moving, ratio.real, 0.0), np.where(known, confidence, 0.0)
