"""What an experiment needs of the real part on which it runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from types import TracebackType
from typing import Any, ClassVar, Self, cast

import numpy as np

from quantum_control.core.errors import ConfigError, unknown_name
from quantum_control.validation.plan import BEST, ResourcePlan

BEDS: Mapping[str, str] = {
    "threads": "quantum_control.validation.beds.threads:ThreadsBed",
    "buffer": "quantum_control.validation.beds.buffer:BufferBed",
    "memory": "quantum_control.validation.beds.memory:MemoryBed",
    "connections": "quantum_control.validation.beds.connections:ConnectionsBed",
    "loadbalancer": "quantum_control.validation.beds.loadbalancer:LoadBalancerBed",
}
"""Where the real part of each resource is; imported when it is used."""

TIMES = frozenset({"interval", "wash_in", "seconds"})
"""Settings of every real part."""

RUN, PILOT, WARM_UP, SWEEP = range(4)
"""Streams of random numbers: what one of them draws says nothing of the others."""


@dataclass(frozen=True, slots=True)
class Turn:
    """Which block this is: the same turn has the same arrivals, whoever serves them."""

    seed: int
    stream: int
    pair: int
    stretch: int
    """Number of the pairs in a row that this one belongs to."""
    place: int
    """Its place among them, from 0."""
    length: int
    """How many those are."""

    @classmethod
    def of(cls, seed: int, stream: int, pair: int, length: int) -> Turn:
        """Turn of a pair, with `length` pairs to a stretch."""
        return cls(seed, stream, pair, *divmod(pair, length), length)

    def arrivals(self) -> np.random.Generator:
        """Random numbers of this pair."""
        return np.random.default_rng((self.seed, self.stream, 0, self.pair))

    def conditions(self) -> np.random.Generator:
        """Random numbers of its stretch."""
        return np.random.default_rng((self.seed, self.stream, 1, self.stretch))

    def order(self) -> np.random.Generator:
        """Random numbers that put the arms in order."""
        return np.random.default_rng((self.seed, self.stream, 2, self.pair))


@dataclass(frozen=True, slots=True)
class Block:
    """What one arm made of one turn."""

    metrics: Mapping[str, float]
    """By the names of the plan."""
    control_cpu: float = 0.0
    """Processor seconds of what steers."""
    steps: int = 0
    """Steps that it took."""
    late: float | None = None
    """Seconds by which the load left late, 99th percentile, if measured."""
    course: list[tuple[float, float, float]] = field(default_factory=list)
    """Seconds into the block, size, and demand in the same unit, again and again."""
    control_memory: float | None = None
    """Bytes of the objects that what steers holds in the end (`footprint.held_bytes`), if measured."""
    phase: str = ""
    """Condition of its stretch, where several take turns."""


class Bed(ABC):
    """The real part of one resource, with one set-up for each arm that lasts over all blocks.

    A context manager: nothing is left of it afterwards.

    Parameters
    ----------
    settings
        As the plan has them.
    """

    SETTINGS: ClassVar[frozenset[str]] = frozenset()
    """Names of the settings that it takes, all of them."""
    METRICS: ClassVar[frozenset[str]] = frozenset()
    """Names of the metrics that its blocks have; a plan may do with fewer."""
    SEARCHED: ClassVar[frozenset[str]] = frozenset({BEST})
    """Arms whose calibration takes the turns of the run."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings = settings

    @abstractmethod
    def calibrate(self, turns: list[Turn], tell: Callable[[str], object]) -> dict[str, Any]:
        """Measure what the arms need to know beforehand, among it the best fixed size; JSON.

        `turns` are those of the run; none if no arm is `SEARCHED`.
        What is told is for people who wait.
        """

    @abstractmethod
    def prepare(self, calibration: Mapping[str, Any], arms: list[str]) -> None:
        """Set the arms up."""

    @abstractmethod
    def run(self, arm: str, turn: Turn) -> Block:
        """Play a turn to an arm."""

    def inputs(self) -> dict[str, str]:
        """Say what the arrivals depend on beside plan and seed; a run goes on only with the same."""
        return {}

    def versions(self) -> dict[str, str]:
        """Versions of what it runs beside Python's libraries."""
        return {}

    def __enter__(self) -> Self:
        return self

    @abstractmethod
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End everything that was begun."""


def check_bed(made: type[Bed], of: ResourcePlan, where: str) -> None:
    """Refuse a plan whose words a bed does not know, or that lacks one.

    Raises
    ------
    ConfigError
        The message names them all.
    """
    given, measured = set(of.bed), [metric.name for metric in of.metrics]
    wrong = [f"{where}.bed: {unknown_name('setting', name, made.SETTINGS)}" for name in given - made.SETTINGS]
    wrong += [f"{where}.bed: {name} is missing" for name in made.SETTINGS - given]
    wrong += [
        f"{where}.metrics: {unknown_name('metric', name, made.METRICS)}"
        for name in measured
        if name not in made.METRICS
    ]
    if wrong:
        raise ConfigError("\n".join(sorted(wrong)))


def open_bed(resource: str, of: ResourcePlan) -> Bed:
    """Make the real part of a resource.

    Raises
    ------
    ConfigError
        There is none, something that it needs is missing, or its plan is wrong.
    """
    if resource not in BEDS:
        raise ConfigError(unknown_name("resource to validate", resource, BEDS))
    module, _, name = BEDS[resource].partition(":")
    try:
        made = cast(type[Bed], getattr(import_module(module), name))
    except ImportError as error:
        raise ConfigError(
            f"validating {resource} needs {error.name}; install it: pip install 'quantum-control[dev]'"
        ) from error
    check_bed(made, of, f"resources.{resource}")
    return made(of.bed)
