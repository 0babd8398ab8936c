"""What arrives, and when: a bursty day played fast, or a recorded trace."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from quantum_control.core.errors import ConfigError
from quantum_control.demo.trace import read

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

SLOT = 0.05
"""Seconds for which the rate of arrivals stays the same."""

SEGMENT = 3.2
"""Seconds, about, that one arm plays before the next has its turn: one burst, and the time that
Python's default pool needs to get over it."""

SHORTEST = 0.2
"""Fewest seconds of a segment."""

TWO_CORES = 6
"""Python's default size on two cores, for which waits and demands are given below. Where it is larger both
are so in proportion, and the bursts mean the same to it; the tasks per second stay as many as one process
of Python can send."""

WAIT = (0.02, 0.05)
"""Seconds that an I/O task waits for the server, least and most."""

CPU_SHARE = 0.1
"""Share of tasks that compute instead."""

CPU_SECONDS = 0.003
"""Seconds, about, that such a task takes."""

NIGHT, NOON = 0.6, 2.4
"""Demand between bursts, in threads, at the two ends of the day."""

HEIGHT = (16.0, 28.0)
"""Demand of a burst, in threads: several times what a default pool of two cores has."""

LENGTH = (0.09, 0.19)
"""Length of a burst over that of its segment."""

START = (0.1, 0.4)
"""Beginning of a burst, likewise."""

MEAN_DEMAND = 4.5
"""Mean demand that a trace is scaled to, in threads; about that of the day."""

MOST_DEMAND = 48.0
"""Demand that no slot of a trace exceeds after scaling, in threads: 1500 tasks a second, about
half of what one process of Python can send."""

BURST = 2.0
"""A burst is where the demand is more than so many times the mean of the load."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of the load that one arm plays at a time."""

    seconds: float
    due: FloatArray
    """When each task arrives, seconds after the beginning, ascending."""
    waits: FloatArray
    """Seconds that each task waits for the server; 0 for one that computes instead."""
    burst: BoolArray
    """Whether each task arrives in a burst."""


@dataclass(frozen=True, slots=True)
class Load:
    """The same for every arm."""

    segments: tuple[Segment, ...]
    demand: FloatArray
    """Expected demand of each slot, in threads."""
    waits: tuple[float, float]
    """Seconds that a task waits for the server, least and most."""
    source: str
    """Where it comes from, for people."""

    @property
    def service(self) -> float:
        """Mean service time expected, seconds."""
        return _service(self.waits)

    @property
    def seconds(self) -> float:
        """Length."""
        return sum(segment.seconds for segment in self.segments)

    @property
    def tasks(self) -> int:
        """Number of tasks."""
        return sum(segment.due.size for segment in self.segments)


def default_size() -> int:
    """Number of threads of a `ThreadPoolExecutor` that nobody has thought about."""
    return min(32, (os.cpu_count() or 1) + 4)


def daily(seconds: float, seed: int) -> Load:
    """Give a day in `seconds`: few tasks at night, more at noon, and a burst in each segment.

    The bursts begin at random in the first half of their segments, are of
    random length and height, and the higher the nearer they are to noon.
    """
    rng = np.random.default_rng(seed)
    count, slots = _division(seconds)
    total = count * slots
    light = (1.0 - np.cos(2.0 * np.pi * (np.arange(total) + 0.5) / total)) / 2.0
    demand = NIGHT + (NOON - NIGHT) * light
    for index in range(count):
        start, length, height = (rng.uniform(*bounds) for bounds in (START, LENGTH, HEIGHT))
        first = index * slots + round(start * slots)
        last = first + max(1, round(length * slots))
        demand[first:last] = height * (0.85 + 0.3 * light[first:last])
    return _load(demand, count, rng, f"generated day with {count} bursts, seed {seed}")


def recorded(path: Path, seconds: float, seed: int) -> Load:
    """Give a stretch of a trace, one line a slot, scaled to the capacity of a small pool.

    `seed` says where the stretch begins. A file of fewer lines than there are
    slots is stretched, so that each of its lines lasts longer.

    Raises
    ------
    ConfigError
        The file is no trace; see `trace.read`. Or nothing arrives in it.
    """
    rng = np.random.default_rng(seed)
    counts = read(path)
    count, slots = _division(seconds)
    total = count * slots
    first = 0
    if counts.size > total:
        sums = np.convolve(counts, np.ones(total), mode="valid")
        starts = np.flatnonzero(sums > 0.5)
        first = int(rng.choice(starts)) if starts.size else 0
        lines = counts[first : first + total]
    else:
        lines = counts[np.arange(total) * counts.size // total]
    if not lines.any():
        raise ConfigError(f"trace {str(path)!r}: nothing arrives in it; every count is 0")
    demand = min(MEAN_DEMAND / lines.mean(), MOST_DEMAND / lines.max()) * lines
    last = min(first + total, counts.size)
    source = (
        f"{path.name}, counts {first + 1} to {last} of {counts.size} in {total * SLOT:.3g} s, "
        f"scaled to a mean demand of {_stretch() * demand.mean():.2g} threads, seed {seed}"
    )
    return _load(demand, count, rng, source)


def _division(seconds: float) -> tuple[int, int]:
    """Number of segments, and slots in each."""
    count = max(2, round(seconds / SEGMENT))
    return count, max(round(SHORTEST / SLOT), round(seconds / count / SLOT))


def _stretch() -> float:
    """How much longer waits and larger demands are than on two cores."""
    return default_size() / TWO_CORES


def _service(waits: tuple[float, float]) -> float:
    """Mean service time, seconds: the rate of tasks times this is the demand in threads (Little)."""
    return (1.0 - CPU_SHARE) * sum(waits) / 2.0 + CPU_SHARE * CPU_SECONDS


def _load(demand: FloatArray, count: int, rng: np.random.Generator, source: str) -> Load:
    """Draw the tasks; `demand` in threads as on two cores."""
    demand = _stretch() * demand
    waits = (WAIT[0] * _stretch(), WAIT[1] * _stretch())
    service = _service(waits)
    bursting = demand > BURST * demand.mean()
    segments = []
    for part, burst in zip(np.split(demand, count), np.split(bursting, count), strict=True):
        arrivals = rng.poisson(part * SLOT / service)
        slot = np.repeat(np.arange(part.size), arrivals)
        due = np.sort(slot * SLOT + rng.random(slot.size) * SLOT)
        each = rng.uniform(*waits, size=slot.size)
        each[rng.random(slot.size) < CPU_SHARE] = 0.0
        segments.append(Segment(part.size * SLOT, due, each, burst[slot]))
    return Load(tuple(segments), demand, waits, source)
