"""The interface that all plants share, and the delay between an order and its effect."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass
from math import inf, nan

from quantum_control.core.errors import ConfigError
from quantum_control.core.resource import ResourceState

TINY = 1e-12
"""Keeps a quotient finite where nothing flows; far below any rate that is looked at."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One interval of a plant. `nan` where the quantity has no meaning for it."""

    demand: float
    """In use + waiting: the size that would have been exactly full. As size."""
    size: float
    """Size in force during the interval."""
    arrived: float
    """Work that came in, in the plant's unit of work."""
    served: float
    """Work completed."""
    left: float
    """Work that is still there at the end of the interval."""
    throughput: float
    """Completions per second."""
    lost: float = 0.0
    """Work dropped, rejected or timed out."""
    wait_seconds: float = nan
    service_seconds: float = nan
    drops: float = nan
    """Rejections per second."""
    errors: float = nan
    """Failures per second."""

    def state(self, *, time: float, interval: float, commanded: float = nan) -> ResourceState:
        """State that an adapter would report, `commanded` being the size last ordered."""
        return ResourceState(
            self.demand / self.size - 1.0,
            size=self.size,
            time=time,
            interval=interval,
            commanded=commanded,
            throughput=self.throughput,
            wait_seconds=self.wait_seconds,
            service_seconds=self.service_seconds,
            drops=self.drops,
            errors=self.errors,
        )


class Plant(ABC):
    """A resource in simulation.

    Sizes and arrivals are floats, or arrays of one row a run; the plant keeps
    its state in whichever it is given.

    Parameters
    ----------
    delay
        Intervals that an order takes on top of the sampling: with 0 a size
        decided after interval t acts in t + 1, with d in t + 1 + d.
    interval
        Seconds per step.
    """

    def __init__(self, *, delay: int = 0, interval: float = 1.0) -> None:
        if delay < 0:
            raise ConfigError(f"delay={delay!r}: intervals until an order acts, 0 or more")
        if not 0.0 < interval < inf:
            raise ConfigError(f"interval={interval!r}: seconds per step, a positive number")
        self.delay = delay
        self.interval = interval
        self.time: float = 0.0
        """Seconds since the last reset."""
        self._orders: deque[float] = deque(maxlen=delay + 1)

    def step(self, size: float, arrivals: float) -> Reading:
        """Run one interval: `size` is the order of before it (acting after `delay`), `arrivals` its work.

        The first order is taken to have been in force all along.
        """
        # The oldest of the last delay + 1 orders; until there are so many, the first.
        self._orders.append(size)
        self.time += self.interval
        return self._run(self._orders[0], arrivals)

    def reset(self) -> None:
        """Forget all: empty, with nothing in flight, at time 0."""
        self.time = 0.0
        self._orders.clear()
        self._empty()

    def clock(self) -> float:
        """Seconds simulated since the last reset; a controller's clock."""
        return self.time

    @abstractmethod
    def _run(self, size: float, arrivals: float) -> Reading:
        """One interval with `size` in force."""

    @abstractmethod
    def _empty(self) -> None:
        """Drop all work."""
