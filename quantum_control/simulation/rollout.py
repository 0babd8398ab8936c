"""One law on one plant under one load, on as many runs at once as the arrivals have columns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import cast

import numpy as np

from quantum_control.core.physics import MAX_EXPONENT, Objective, PhysicsModel
from quantum_control.core.resource import ResourceState
from quantum_control.simulation.accounting import DEFAULT_OBJECTIVE
from quantum_control.simulation.plants.base import Plant
from quantum_control.simulation.traffic import FloatArray


@dataclass(frozen=True, slots=True)
class Episode:
    """What happened; every array is of shape (steps, runs)."""

    sizes: FloatArray
    """Size in force."""
    demands: FloatArray
    """In use + waiting. As size."""
    throughputs: FloatArray
    """Completions per second."""
    lost: FloatArray
    """Work dropped, rejected or timed out."""

    def cost(self, objective: Objective = DEFAULT_OBJECTIVE) -> FloatArray:
        """Mean cost per interval of each run: waiting·max(0, w - u) + size·u + change·|move|.

        The first size is taken as found.
        """
        waiting = np.maximum(0.0, self.demands - self.sizes).sum(axis=0)
        moved = np.abs(np.diff(self.sizes, axis=0)).sum(axis=0)
        spent = (
            objective.waiting * waiting + objective.size * self.sizes.sum(axis=0) + objective.change * moved
        )
        cost: FloatArray = spent / self.sizes.shape[0]
        return cost


def rollout(
    law: PhysicsModel,
    plant: Plant,
    arrivals: FloatArray,
    *,
    size: float | FloatArray | None = None,
    smallest: float = 1.0,
    largest: float = inf,
    observe: Callable[[ResourceState], ResourceState] | None = None,
) -> Episode:
    """Let `law` steer `plant` under `arrivals` of shape (steps, runs).

    Sizes may be fractional; there is no guard but the bounds, so that what is
    compared is the laws.

    Parameters
    ----------
    size
        Size at the start; by default the arrivals of the first interval.
    smallest, largest
        Bounds of the size.
    observe
        Estimator between the measurement and the law, if it needs one. Without
        it the state carries the measurement, the backlog max(0, w - u) and the
        flow (demand less the backlog before).
    """
    steps, runs = arrivals.shape
    plant.reset()
    order = np.clip(arrivals[0] if size is None else np.broadcast_to(size, (runs,)), smallest, largest)
    sizes, demands, throughputs, lost = (np.zeros((steps, runs)) for _ in range(4))
    look = observe or _PlainView()
    for step in range(steps):
        # The boundary between arrays and laws that announce floats.
        reading = plant.step(cast(float, order), cast(float, arrivals[step]))
        sizes[step], demands[step] = reading.size, reading.demand
        throughputs[step], lost[step] = reading.throughput, reading.lost
        state = look(reading.state(time=plant.time, interval=plant.interval, commanded=cast(float, order)))
        exponent = np.minimum(law.calculate_force(state) * plant.interval, MAX_EXPONENT)
        order = np.clip(order * np.exp(exponent), smallest, largest)
    return Episode(sizes=sizes, demands=demands, throughputs=throughputs, lost=lost)


class _PlainView:
    """Tells the flow from the backlog carried over, and estimates nothing."""

    def __init__(self) -> None:
        self._carried: float = 0.0

    def __call__(self, measured: ResourceState) -> ResourceState:
        backlog = cast(float, np.maximum(0.0, measured.demand - measured.size))
        flow = cast(float, np.maximum(0.0, measured.demand - self._carried))
        self._carried = backlog
        return ResourceState(
            measured.position,
            size=measured.size,
            time=measured.time,
            interval=measured.interval,
            commanded=measured.commanded,
            flow=flow,
            backlog=backlog,
            throughput=measured.throughput,
            wait_seconds=measured.wait_seconds,
            service_seconds=measured.service_seconds,
            errors=measured.errors,
            drops=measured.drops,
        )
