"""Queues: work that waits until there is size to serve it."""

from __future__ import annotations

from math import floor
from typing import cast

import numpy as np

from quantum_control.core.errors import ConfigError
from quantum_control.core.numeric import SCALAR, ops_for
from quantum_control.simulation.plants.base import TINY, Plant, Reading


class FluidQueue(Plant):
    """Work like water: one unit of size serves one unit of work an interval.

    w = b + a,  served = min(w, u),  b' = w - served,

    with the backlog b, the arrivals a and the size u. The mean wait is
    Little's, b'·interval/served; service takes one interval.
    """

    def __init__(self, *, delay: int = 0, interval: float = 1.0) -> None:
        super().__init__(delay=delay, interval=interval)
        self.backlog: float = 0.0
        """Work waiting at the end of the interval. As size."""

    def _run(self, size: float, arrivals: float) -> Reading:
        demand = self.backlog + arrivals
        xp = ops_for(demand - size)
        served = xp.minimum(demand, size)
        self.backlog = demand - served
        return Reading(
            demand=demand,
            size=size,
            arrived=arrivals,
            served=served,
            left=self.backlog,
            throughput=served / self.interval,
            wait_seconds=self.backlog * self.interval / xp.maximum(served, TINY),
            service_seconds=self.interval,
        )

    def _empty(self) -> None:
        self.backlog = 0.0


class DiscreteQueue(Plant):
    """Whole jobs on whole servers, each finishing an interval with a fixed probability.

    Of n jobs present min(n, floor(u)) are in service, each of which completes
    within the interval with probability `completion` (geometric service of
    mean 1/completion intervals; 1 is the fluid queue in whole numbers). Jobs
    keep their server while they last, so that demand carries over even where
    nothing waits.
    """

    def __init__(
        self, rng: np.random.Generator, *, completion: float = 1.0, delay: int = 0, interval: float = 1.0
    ) -> None:
        super().__init__(delay=delay, interval=interval)
        if not 0.0 < completion <= 1.0:
            raise ConfigError(f"completion={completion!r}: a probability above 0")
        self.completion = completion
        self.jobs: float = 0.0
        """Jobs present at the end of the interval."""
        self._rng = rng

    def _run(self, size: float, arrivals: float) -> Reading:
        present = self.jobs + arrivals
        xp = ops_for(present - size)
        servers = float(floor(size)) if xp is SCALAR else cast(float, np.floor(size))
        busy = xp.minimum(present, servers)
        served = self._completed(busy)
        self.jobs = present - served
        return Reading(
            demand=present,
            size=size,
            arrived=arrivals,
            served=served,
            left=self.jobs,
            throughput=served / self.interval,
            wait_seconds=(present - busy) * self.interval / xp.maximum(served, TINY),
            service_seconds=self.interval / self.completion,
        )

    def _completed(self, busy: float) -> float:
        if self.completion == 1.0:
            return busy
        drawn = self._rng.binomial(np.asarray(busy, dtype=np.int64), self.completion)
        return float(drawn) if ops_for(busy) is SCALAR else cast(float, drawn.astype(np.float64))

    def _empty(self) -> None:
        self.jobs = 0.0
