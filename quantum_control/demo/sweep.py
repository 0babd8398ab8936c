"""The best fixed size in hindsight: every size, on the very arrivals of the run.

A pool of a fixed size that serves first come, first served is a function of
when its tasks are due and how long each takes (Kiefer & Wolfowitz 1955), so
that a size need not be run to know what it costs. How well that holds is
checked in each run: the sizes that are run are replayed with their own service
times, and the report prints both costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heapify, heapreplace

import numpy as np

from quantum_control.core.physics import Objective
from quantum_control.demo.load import FloatArray, Load, Segment
from quantum_control.demo.run import Played
from quantum_control.demo.work import Calibration
from quantum_control.resources.adaptive import INTERVAL
from quantum_control.resources.threads import MAX_THREADS


@dataclass(frozen=True, slots=True)
class Replay:
    """One segment on a pool of a fixed size."""

    waits: FloatArray
    """Seconds."""
    seconds: float
    """Until the last task is done, or the segment is over if that is later."""


def cost(
    objective: Objective, waits: FloatArray, services: FloatArray, thread_seconds: float, change: float
) -> float:
    """Cost of a stretch by the controller's own prices, in units of size times seconds.

    The integral of `objective.cost` per interval: the backlog's integral is the
    sum of the waits, times what a waiting task asks for (`core.queueing.offered_load`).
    """
    share = min(1.0, float(services.mean()) / INTERVAL) if services.size else 0.0
    return objective.cost(float(waits.sum()) * share, thread_seconds, change * INTERVAL)


def replay(segment: Segment, services: FloatArray, size: int) -> Replay:
    """Serve a segment's tasks first come, first served by `size` threads; `services` in seconds."""
    free = [0.0] * size
    heapify(free)
    waits = np.empty(services.size)
    last = 0.0
    for index, (due, service) in enumerate(zip(segment.due.tolist(), services.tolist(), strict=True)):
        begun = max(free[0], due)
        heapreplace(free, begun + service)
        waits[index] = begun - due
        last = max(last, begun + service)
    return Replay(waits, max(segment.seconds, last))


def expected_services(load: Load, calibration: Calibration) -> list[FloatArray]:
    """Service times of all tasks, by segment; seconds."""
    return [
        np.where(segment.waits > 0.0, segment.waits + calibration.overhead, calibration.cpu_seconds)
        for segment in load.segments
    ]


def replayed_cost(load: Load, services: Sequence[FloatArray], size: int, objective: Objective) -> float:
    """Cost of the whole load at a fixed size."""
    replays = [replay(*pair, size) for pair in zip(load.segments, services, strict=True)]
    waits = np.concatenate([each.waits for each in replays])
    return cost(objective, waits, np.concatenate(services), size * sum(each.seconds for each in replays), 0.0)


def enough(load: Load, services: Sequence[FloatArray], wait: float) -> int | None:
    """Least fixed size whose p99 of the wait in bursts is at most `wait` seconds; None if there is none."""
    for size in range(1, MAX_THREADS + 1):
        replays = [replay(*pair, size).waits for pair in zip(load.segments, services, strict=True)]
        bursts = [waits[segment.burst] for waits, segment in zip(replays, load.segments, strict=True)]
        if np.percentile(np.concatenate(bursts), 99.0) <= wait:
            return size
    return None


def measured_cost(played: Sequence[Played], objective: Objective) -> float:
    """Cost of the whole load as it was played."""
    return cost(
        objective,
        np.concatenate([each.waits for each in played]),
        np.concatenate([each.services for each in played]),
        sum(each.thread_seconds for each in played),
        sum(each.change for each in played),
    )


def sweep(load: Load, services: Sequence[FloatArray], objective: Objective) -> dict[int, float]:
    """Cost of every size from 1 to the controller's own bound, as far as it can still be the least."""
    costs: dict[int, float] = {}
    for size in range(1, MAX_THREADS + 1):
        # Threads alone cost this much, and larger sizes cost more of them.
        if costs and objective.size * size * load.seconds > min(costs.values()):
            break
        costs[size] = replayed_cost(load, services, size, objective)
    return costs
