"""What the blocks of each arm show by themselves: means, and what its control costs."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan

import numpy as np

from quantum_control.validation.plan import ResourcePlan
from quantum_control.validation.records import Row


def arms(rows: Sequence[Row], of: ResourcePlan) -> list[str]:
    """Arms that have run, the base first."""
    return sorted({row.arm for row in rows}, key=lambda arm: (arm != of.base, arm))


def means(rows: Sequence[Row], of: ResourcePlan) -> dict[str, dict[str, float]]:
    """Mean of each metric over the blocks of an arm that have it; nan if none has."""
    return {
        arm: {
            metric.name: _mean([row.metrics[metric.name] for row in rows if row.arm == arm])
            for metric in of.metrics
        }
        for arm in arms(rows, of)
    }


def control(rows: Sequence[Row], of: ResourcePlan) -> dict[str, tuple[float, float]]:
    """By arm with a control: its processor seconds over those that it steered for, and those of one step."""
    found = {}
    for arm in arms(rows, of):
        mine = [row for row in rows if row.arm == arm]
        cpu, steps = sum(row.control_cpu for row in mine), sum(row.steps for row in mine)
        if steps:
            # It does not steer while the last tasks of a block are served: elapsed time would flatter it.
            found[arm] = cpu / (steps * float(of.bed["interval"])), cpu / steps
    return found


def memory(rows: Sequence[Row], of: ResourcePlan) -> dict[str, float]:
    """Most bytes that the objects of the control held, of arms where that was measured."""
    found = {}
    for arm in arms(rows, of):
        held = [row.control_memory for row in rows if row.arm == arm and row.control_memory is not None]
        if held:
            found[arm] = max(held)
    return found


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if value == value]
    return float(np.mean(known)) if known else nan
