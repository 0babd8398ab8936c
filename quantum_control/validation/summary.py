"""A line for each experiment, to begin the report with."""

from __future__ import annotations

from collections.abc import Sequence

from quantum_control.validation.analysis import Analysis, Comparison
from quantum_control.validation.plan import Plan

Table = tuple[list[str], list[list[str]]]
"""Head and rows."""


def effects(analyses: Sequence[Analysis], plan: Plan) -> Table:
    """What steering was worth: the primary metric against each arm it is tested against, and safety."""
    head = ["resource", "metric", "pairs", *(f"against {other}" for other in plan.compared)]
    rows = [
        [
            each.plan.title,
            each.plan.primary.name,
            str(each.pairs),
            *(_cell(each.comparison(other, each.plan.primary.name)) for other in plan.compared),
            ", ".join(
                f"{metric.name} {_cell(each.comparison(each.base, metric.name))}"
                for metric in each.plan.tested
                if metric.role == "safety"
            ),
        ]
        for each in analyses
        if each.mode == "run"
    ]
    return [*head, "safety, against " + plan.compared[0]], rows


def costs(analyses: Sequence[Analysis]) -> Table:
    """What looking costs: the primary metric beside a controller that changes nothing, and its time."""
    head = ["resource", "metric", "pairs", "with a controller that only looks, over without", "of one core"]
    rows = [
        [
            each.plan.title,
            each.plan.primary.name,
            str(each.pairs),
            _cell(each.comparison(each.base, each.plan.primary.name)),
            f"{100.0 * each.control[each.ours][0]:.2g} % here, {100.0 * each.control[each.ours][1]:.2g} % at"
            " one step a second",
        ]
        for each in analyses
        if each.mode == "overhead"
    ]
    return head, rows


def _cell(one: Comparison | None) -> str:
    if one is None:
        return "not made"
    found = one.effect
    sign = "+" if one.metric.scale == "difference" else ""
    return f"{found.value:{sign}.3g} [{found.low:{sign}.3g}, {found.high:{sign}.3g}]"
