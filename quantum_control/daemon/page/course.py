"""What one resource did of late: figures of the last steps, and the decisions worth telling."""

from __future__ import annotations

import threading
from array import array
from collections import deque
from collections.abc import Sequence
from math import isfinite, nan
from typing import NamedTuple

from quantum_control.core.decision import Decision, Outcome
from quantum_control.core.resource import ResourceState

STEPS = 600
"""Steps that are kept: ten minutes at one a second, in 18 kB."""

SLACK = 60
"""Steps beyond, so that the old ones are dropped many at a time."""

TOLD = 40
"""Decisions that are kept; equal ones in a row count as one."""

FIGURES = ("size", "demand", "force", "as_if_size", "as_if_demand")
"""Of each step. `as_if` is the twin's in shadow mode, nan otherwise."""


class Told(NamedTuple):
    """A decision, and how often in a row it was the same."""

    when: float
    """Of the last time; seconds since 1970."""
    times: int
    outcome: Outcome
    demand: float
    size: float
    wanted: float
    allowed: int
    reasons: tuple[str, ...]


class Course:
    """Bounded memory of the steps of one resource; may be read and written by several threads."""

    def __init__(self) -> None:
        self.latest = (nan, nan)
        """Size and demand when it was last measured."""
        self._lock = threading.Lock()
        self._times = array("d")
        self._figures = array("f")
        self._told: deque[Told] = deque(maxlen=TOLD)

    def add(self, when: float, decision: Decision, real: ResourceState | None, *, twin: bool) -> None:
        """Remember a step, taken at `when` (seconds since 1970).

        `real` is what was measured, if that is not what was decided on: then,
        with `twin`, the decision is about a twin.
        """
        seen = decision.state if real is None else real
        as_if = decision.state if twin else None
        size, demand = (nan, nan) if seen is None else (seen.size, seen.demand)
        if seen is not None:
            self.latest = (size, demand)
        figures = (
            size,
            demand,
            decision.force,
            nan if as_if is None else as_if.size,
            nan if as_if is None else as_if.demand,
        )
        with self._lock:
            self._times.append(when)
            self._figures.extend(figures)
            if len(self._times) > STEPS + SLACK:
                del self._times[:-STEPS]
                del self._figures[: -STEPS * len(FIGURES)]
            times = 1
            if self._told and _same(self._told[-1], decision):
                times += self._told.pop().times
            self._told.append(
                Told(
                    when,
                    times,
                    decision.outcome,
                    nan if decision.state is None else decision.state.demand,
                    nan if decision.state is None else decision.state.size,
                    decision.wanted,
                    decision.allowed,
                    decision.reasons,
                )
            )

    def times(self) -> list[float]:
        """When the steps were taken, oldest first; seconds since 1970."""
        with self._lock:
            return [round(when, 3) for when in self._times[-STEPS:]]

    def figures(self, names: Sequence[str] = FIGURES, steps: int = STEPS) -> dict[str, list[float | None]]:
        """Figures of the last steps, oldest first; None where there is none."""
        with self._lock:
            figures = self._figures[-min(steps, STEPS) * len(FIGURES) :]
        return {name: list(map(short, figures[FIGURES.index(name) :: len(FIGURES)])) for name in names}

    def told(self) -> list[Told]:
        """Decisions, the latest first."""
        with self._lock:
            return list(reversed(self._told))


def _same(told: Told, decision: Decision) -> bool:
    return (
        told.outcome is decision.outcome is not Outcome.CHANGED
        and told.allowed == decision.allowed
        and told.reasons == decision.reasons
    )


def short(value: float) -> float | None:
    """Six digits, which is more than any of this is known to; JSON has no nan and no infinity."""
    return float(f"{value:.6g}") if isfinite(value) else None
