"""What shadow mode would have been worth, and what another law would have done, from the audit log."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf

import numpy as np

from quantum_control.core.controller import QuantumController
from quantum_control.core.errors import ConfigError
from quantum_control.core.physics import Objective
from quantum_control.core.resource import Resource, ResourceState
from quantum_control.daemon.audit import Record
from quantum_control.terminal import tracked

BLOCK = 30
"""Intervals that are drawn together in the bootstrap: queues carry costs from one to the next."""

FEWEST = 3 * BLOCK
"""Intervals below which nothing is said about worth."""

DRAWS = 2000


@dataclass(frozen=True, slots=True)
class Played:
    """Two ways in which one resource was or would have been sized under the same demand."""

    intervals: int
    changes: int
    """Of size, of the second way."""
    mean_size: float
    mean_backlog: float
    """Of the first way."""
    other_size: float
    other_backlog: float
    """Of the second way."""
    saving: float
    """Part of the cost of the first way that the second would have spared; negative is a loss. Unit 1."""
    interval: tuple[float, float]
    """In which the saving lies with 95 % confidence, by a block bootstrap; for as long as demand is
    of the same kind."""


def measured(records: Iterable[Record]) -> tuple[list[float], list[float]]:
    """Demand and size of each interval, as measured."""
    found = [
        (each["demand"], each["size"])
        for each in records
        if each.get("demand") is not None and each.get("size")
    ]
    return [demand for demand, _ in found], [size for _, size in found]


def shadowed(records: Iterable[Record], objective: Objective) -> Played:
    """Compare what was with what the twin in shadow mode did.

    Raises
    ------
    ConfigError
        Too little was recorded.
    """
    kept = [
        each
        for each in records
        if each.get("as_if_size") and each.get("demand") is not None and each.get("size")
    ]
    real = ([each["demand"] for each in kept], [each["size"] for each in kept])
    twin = ([each["as_if_demand"] for each in kept], [each["as_if_size"] for each in kept])
    return _compared(real, twin, objective)


def replayed(
    demand: Sequence[float],
    size: Sequence[float],
    law: str,
    *,
    auto_tune: bool,
    objective: Objective,
    bounds: tuple[int, int | None] = (1, None),
) -> Played:
    """Compare what was with what `law` would have done, on a fluid queue that gets the same flow.

    Raises
    ------
    ConfigError
        Too little was recorded, or there is no such law.
    """
    twin = _Recorded(demand, size, bounds)
    now = [0.0]
    controller = QuantumController(twin, law, auto_tune, objective=objective, clock=lambda: now[0])
    for step in tracked(range(len(demand)), "intervals replayed", len(demand)):
        now[0] = float(step + 1)
        controller.optimize()
    return _compared((demand, size), (twin.demands, twin.sizes), objective)


class _Recorded(Resource):
    """Gets the flow that was recorded, and has a size of its own."""

    def __init__(
        self, demand: Sequence[float], size: Sequence[float], bounds: tuple[int, int | None]
    ) -> None:
        self.min_size, self.max_size = bounds
        self.demands: list[float] = []
        self.sizes: list[float] = []
        self._flows = [
            max(new - max(before - held, 0.0), 0.0)
            for new, before, held in zip(demand, [0.0, *demand[:-1]], [inf, *size[:-1]], strict=True)
        ]
        self._size = max(1, round(size[0])) if size else 1
        self._backlog = 0.0

    def measure_state(self) -> ResourceState:
        """Take the next interval."""
        demand = self._backlog + self._flows[len(self.demands)]
        self._backlog = max(demand - self._size, 0.0)
        self.demands.append(demand)
        self.sizes.append(float(self._size))
        return ResourceState.from_demand(demand, size=self._size)

    def apply_control(self, new_size: int) -> None:
        """Take the size from the next interval on."""
        self._size = new_size

    def get_metrics(self) -> dict[str, float]:
        """Nothing."""
        return {}


Course = tuple[Sequence[float], Sequence[float]]


def _compared(first: Course, second: Course, objective: Objective) -> Played:
    intervals = len(first[0])
    if intervals < FEWEST:
        raise ConfigError(
            f"{intervals} intervals are recorded; {FEWEST} are the least to say anything of worth"
        )
    (backlog, size, cost), (other_backlog, other_size, other_cost) = (
        _costs(each, objective) for each in (first, second)
    )
    blocks = np.arange(0, intervals, BLOCK)
    spent, other = np.add.reduceat(cost, blocks), np.add.reduceat(other_cost, blocks)
    drawn = np.random.default_rng(1).integers(0, len(blocks), (DRAWS, len(blocks)))
    total = spent[drawn].sum(axis=1)
    savings = 1.0 - other[drawn].sum(axis=1) / np.where(total > 0.0, total, 1.0)
    low, high = np.quantile(savings, (0.025, 0.975))
    return Played(
        intervals,
        int(np.count_nonzero(np.diff(other_size))),
        float(size.mean()),
        float(backlog.mean()),
        float(other_size.mean()),
        float(other_backlog.mean()),
        float(1.0 - other.sum() / spent.sum()) if spent.sum() > 0.0 else 0.0,
        (float(low), float(high)),
    )


def _costs(course: Course, objective: Objective) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Backlog, size and cost of each interval."""
    demand, size = (np.asarray(each, float) for each in course)
    backlog = np.maximum(demand - size, 0.0)
    moved = np.abs(np.diff(size, prepend=size[0]))
    cost = objective.waiting * backlog + objective.size * size + objective.change * moved
    return backlog, size, cost
