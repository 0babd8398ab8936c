"""Generators of arrivals, each vectorised over runs.

Every generator takes a random generator, the number of steps and of runs, and
its parameters; it returns `Traffic` of shape (steps, runs). The defaults of
the first four are calibrated, see `loads`. Levels are mean arrivals per
interval in units of size; times are in intervals.
"""

from __future__ import annotations

from math import pi

import numpy as np

from quantum_control.simulation.traffic import FloatArray, Traffic, poisson


def markov_bursts(
    rng: np.random.Generator,
    steps: int,
    runs: int,
    *,
    low: float = 14.0,
    high: float = 36.0,
    start_chance: float = 0.01,
    stop_chance: float = 0.08,
) -> Traffic:
    """Two-state Markov-modulated Poisson process.

    The intensity jumps from `low` to `high` with probability `start_chance`
    per interval and back with `stop_chance`, so that a burst lasts
    1/stop_chance intervals and fills start/(start + stop) of the time. Runs
    begin in the stationary distribution.

    References
    ----------
    W. Fischer and K. Meier-Hellstern, "The Markov-modulated Poisson process
    (MMPP) cookbook", Performance Evaluation 18 (1993) 149-171.
    """
    burst = rng.random(runs) < start_chance / (start_chance + stop_chance)
    chance = rng.random((steps, runs))
    intensity = np.empty((steps, runs))
    for step in range(steps):
        intensity[step] = np.where(burst, high, low)
        burst = np.where(burst, chance[step] >= stop_chance, chance[step] < start_chance)
    return poisson(rng, intensity)


def periodic(
    rng: np.random.Generator,
    steps: int,
    runs: int,
    *,
    mean: float = 55.0,
    amplitude: float = 0.73,
    harmonic: float = 0.15,
    period: float = 120.0,
    period_drift: float = 0.01,
    phase_drift: float = 0.01,
) -> Traffic:
    """Sinusoid with a second harmonic whose phase and period wander, with Poisson noise.

    lambda(t) = mean·max(0, 1 + amplitude·sin(phi) + harmonic·sin(2·phi + 1)),
    with phi advancing by 2·pi/P(t) an interval plus a random step. Over one
    period, ln P wanders by `period_drift` and phi/(2·pi) by `phase_drift`
    (standard deviations of random walks). Every run starts at a phase of its
    own.
    """
    log_period = np.cumsum(rng.standard_normal((steps, runs)), axis=0) * (period_drift / np.sqrt(period))
    advance = np.exp(-log_period) / period
    advance += rng.standard_normal((steps, runs)) * (phase_drift / np.sqrt(period))
    phase = 2.0 * pi * (rng.random(runs) + np.cumsum(advance, axis=0))
    shape = 1.0 + amplitude * np.sin(phase) + harmonic * np.sin(2.0 * phase + 1.0)
    return poisson(rng, mean * np.maximum(0.0, shape))


def level_steps(
    rng: np.random.Generator,
    steps: int,
    runs: int,
    *,
    low: float = 20.0,
    high: float = 200.0,
    dwell: float = 180.0,
) -> Traffic:
    """Levels that are held, then left at once for another, with Poisson noise.

    Levels are log-uniform between `low` and `high`, holding times geometric
    with mean `dwell`.
    """
    levels = _log_uniform(rng, low, high, (steps, runs))
    return poisson(rng, np.take_along_axis(levels, _last_change(rng, steps, runs, dwell), axis=0))


def heavy_tail(
    rng: np.random.Generator,
    steps: int,
    runs: int,
    *,
    rate: float = 20.0,
    tail: float = 1.67,
    smallest: float = 1.0,
    largest: float = 2500.0,
) -> Traffic:
    """Compound Poisson: `rate` jobs an interval, their sizes Pareto with exponent `tail`.

    P(size > s) = (smallest/s)^tail for s >= smallest, all above `largest`
    counted as `largest`, so that the variance exists (without that the mean
    cost over runs does not converge). Mean job size:
    (tail·smallest - largest·(smallest/largest)^tail)/(tail - 1).
    The intensity is constant: nothing here can be predicted.

    References
    ----------
    M. Crovella and A. Bestavros, "Self-similarity in World Wide Web traffic",
    IEEE/ACM Trans. Networking 5 (1997) 835-846 (file sizes: tail 1.1 to 1.5).
    """
    jobs = rng.poisson(rate, (steps, runs))
    # 1 - random() is in (0, 1]: no division by zero.
    sizes = np.minimum(largest, smallest * (1.0 - rng.random(int(jobs.sum()))) ** (-1.0 / tail))
    owner = np.repeat(np.arange(jobs.size), jobs.ravel())
    work: FloatArray = np.bincount(owner, weights=sizes, minlength=jobs.size).astype(np.float64, copy=False)
    mean_size = (tail * smallest - largest * (smallest / largest) ** tail) / (tail - 1.0)
    return Traffic(arrivals=work.reshape(steps, runs), intensity=np.full((steps, runs), rate * mean_size))


def flash_crowd(
    rng: np.random.Generator,
    steps: int,
    runs: int,
    *,
    base: float = 20.0,
    peak: float = 200.0,
    every: float = 500.0,
    rise: float = 4.0,
    decay: float = 40.0,
) -> Traffic:
    """Crowds that fall onto a steady base: quick rise, slow decay.

    Crowds arrive as a Poisson process, one in `every` intervals on average;
    each adds peak·g(t) with g ~ exp(-t/decay) - exp(-t/rise), scaled so that
    its maximum is 1.

    References
    ----------
    I. Ari et al., "Managing flash crowds on the Internet", MASCOTS 2003 (ramp
    up, sustained traffic, ramp down).
    """
    crowds = rng.poisson(1.0 / every, (steps, runs)).astype(np.float64)
    top = np.log(decay / rise) * decay * rise / (decay - rise)
    scale = (peak - base) / (np.exp(-top / decay) - np.exp(-top / rise))
    slow, fast = np.zeros(runs), np.zeros(runs)
    keep_slow, keep_fast = np.exp(-1.0 / decay), np.exp(-1.0 / rise)
    intensity = np.empty((steps, runs))
    for step in range(steps):
        # The difference is 0 in the interval of the arrival itself: a crowd needs time to gather.
        slow = slow * keep_slow + crowds[step]
        fast = fast * keep_fast + crowds[step]
        intensity[step] = base + scale * (slow - fast)
    return poisson(rng, intensity)


def ramps(
    rng: np.random.Generator,
    steps: int,
    runs: int,
    *,
    low: float = 15.0,
    high: float = 120.0,
    length: float = 80.0,
) -> Traffic:
    """Straight lines between levels: roll-outs, draining, slow growth, with Poisson noise.

    Levels are log-uniform between `low` and `high`; the line from one to the
    next takes a geometric time with mean `length`.
    """
    levels = _log_uniform(rng, low, high, (steps + 1, runs))
    begin = _last_change(rng, steps, runs, length)
    # The next change, seen from each step: the last change of the reversed series.
    changes = begin == np.arange(steps)[:, None]
    ahead = np.where(changes, np.arange(steps)[:, None], steps)
    following = np.minimum.accumulate(ahead[::-1], axis=0)[::-1]
    end = np.vstack([following[1:], np.full((1, runs), steps)])
    share = (np.arange(steps)[:, None] - begin) / (end - begin)
    start_level = np.take_along_axis(levels, begin, axis=0)
    end_level = np.take_along_axis(levels, end, axis=0)
    return poisson(rng, start_level + (end_level - start_level) * share)


def quiet_nights(
    rng: np.random.Generator,
    steps: int,
    runs: int,
    *,
    day: float = 60.0,
    night: float = 0.3,
    period: float = 300.0,
    sharpness: float = 3.0,
) -> Traffic:
    """Day and night: a load that all but stops at night, with Poisson noise.

    lambda = night·(day/night)^s, s = (1 + tanh(sharpness·sin(phi))/tanh(sharpness))/2:
    plateaus joined by slopes that are straight in the logarithm. Small counts
    and long silence are what laws in logarithmic coordinates fail on. Every
    run starts at a phase of its own.
    """
    phase = 2.0 * pi * (rng.random(runs) + np.arange(steps)[:, None] / period)
    share = 0.5 * (1.0 + np.tanh(sharpness * np.sin(phase)) / np.tanh(sharpness))
    return poisson(rng, night * (day / night) ** share)


def steady(rng: np.random.Generator, steps: int, runs: int, *, mean: float = 50.0) -> Traffic:
    """Poisson noise about a constant: nothing to do but to hold still."""
    return poisson(rng, np.full((steps, runs), mean))


def _log_uniform(rng: np.random.Generator, low: float, high: float, shape: tuple[int, int]) -> FloatArray:
    return np.exp(rng.uniform(np.log(low), np.log(high), shape))


def _last_change(rng: np.random.Generator, steps: int, runs: int, dwell: float) -> np.ndarray:
    """Index of the latest change at or before each step; step 0 is one."""
    change = rng.random((steps, runs)) < 1.0 / dwell
    change[0] = True
    return np.maximum.accumulate(np.where(change, np.arange(steps)[:, None], 0), axis=0)
