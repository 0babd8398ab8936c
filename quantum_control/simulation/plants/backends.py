"""Unequal back ends behind one load balancer; each weight is a size."""

from __future__ import annotations

from typing import cast

import numpy as np

from quantum_control.core.errors import ConfigError
from quantum_control.simulation.plants.base import TINY, Plant, Reading
from quantum_control.simulation.traffic import FloatArray

NEARLY_FULL = 0.99
"""Utilisation above which the M/M/1 latency is cut off: a queue of one interval does not reach it."""


class BackEnds(Plant):
    """Servers of different speed that share the arrivals by weight.

    Back end i with capacity mu_i gets the share w_i/sum(w) of the arrivals
    and answers like an M/M/1 queue, in 1/(mu_i - lambda_i) seconds on average
    (Kleinrock 1975), its own backlog b_i in front: b_i/mu_i more. Work that
    does not fit carries over on the back end where it waits.

    `step(weights, arrivals)` takes one weight a back end, an array of shape
    (back ends,) or (back ends, runs), and arrivals that are a number or of
    shape (runs,). The demand of a weight is the weight at which its back end
    would be as busy as the whole,

        w_i·rho/rho_i,   rho_i = (b_i + a_i)/mu_i,   rho = sum(b + a)/sum(mu),

    so that a positive position still says "grow me".

    Parameters
    ----------
    capacities
        mu_i, requests per second of each.
    """

    def __init__(self, capacities: FloatArray, *, delay: int = 0, interval: float = 1.0) -> None:
        super().__init__(delay=delay, interval=interval)
        self.capacities = np.asarray(capacities, dtype=np.float64)
        if self.capacities.ndim != 1 or not (self.capacities > 0.0).all():
            raise ConfigError(f"capacities={capacities!r}: one positive number per back end")
        self.backlogs: FloatArray = np.zeros_like(self.capacities)
        """Work waiting on each back end."""

    def _run(self, size: float, arrivals: float) -> Reading:
        weights = np.asarray(size, dtype=np.float64)
        capacity = self.capacities.reshape((-1,) + (1,) * (weights.ndim - 1)) * self.interval
        arrived = weights / weights.sum(axis=0) * arrivals
        work = (
            self.backlogs.reshape(self.backlogs.shape + (1,) * (arrived.ndim - self.backlogs.ndim)) + arrived
        )
        served = np.minimum(work, capacity)
        self.backlogs = work - served
        busy = np.maximum(work / capacity, TINY)
        overall = work.sum(axis=0) / capacity.sum()
        latency = self.interval / (capacity * (1.0 - np.minimum(busy, NEARLY_FULL)))
        # One cast for the whole reading: a float is announced, arrays pass through.
        return Reading(
            demand=cast(float, weights * overall / busy),
            size=cast(float, weights),
            arrived=cast(float, arrived),
            served=cast(float, served),
            left=cast(float, self.backlogs),
            throughput=cast(float, served / self.interval),
            wait_seconds=cast(
                float, latency - self.interval / capacity + self.backlogs / capacity * self.interval
            ),
            service_seconds=cast(float, np.broadcast_to(self.interval / capacity, latency.shape)),
        )

    def _empty(self) -> None:
        self.backlogs = np.zeros_like(self.capacities)
