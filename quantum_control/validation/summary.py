"""A line for each experiment, to begin the report with."""

from __future__ import annotations

from collections.abc import Sequence

from quantum_control.validation.analysis import Analysis
from quantum_control.validation.comparison import Comparison
from quantum_control.validation.plan import Plan

Table = tuple[list[str], list[list[str]]]
"""Head and rows."""

FINE = "#.4g"
"""Form of effects that are to be next to nothing: a ratio of 1.004 is not to be read as 1."""


def effects(analyses: Sequence[Analysis], plan: Plan) -> Table:
    """What steering was worth: the primary metric against each arm it is tested against, and safety."""
    head = ["resource", "metric", "pairs", *(f"against {other}" for other in plan.compared)]
    rows = [
        [
            each.plan.title,
            each.plan.primary.name,
            _pairs(each),
            *(_cell(each, each.comparison(other, each.plan.primary.name)) for other in plan.compared),
            ", ".join(
                f"{metric.name} {_cell(each, each.comparison(each.base, metric.name))}"
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
            _pairs(each),
            _cell(each, each.comparison(each.base, each.plan.primary.name), FINE),
            _core(each),
        ]
        for each in analyses
        if each.mode == "overhead"
    ]
    return head, rows


def again(analyses: Sequence[Analysis]) -> Table:
    """What a difference is where there is none: each metric of A/A runs."""
    head = ["resource", "metric", "pairs", "one arm against itself"]
    rows = [
        [
            each.plan.title,
            metric.name,
            _pairs(each),
            _cell(each, each.comparison(each.base, metric.name), FINE),
        ]
        for each in analyses
        if each.mode == "aa"
        for metric in each.plan.metrics
    ]
    return head, rows


def _pairs(each: Analysis) -> str:
    return str(each.pairs) if each.pairs == each.planned else f"{each.pairs} of {each.planned}"


def _core(each: Analysis) -> str:
    if each.ours not in each.control:
        return "not measured"
    share, step = each.control[each.ours]
    return f"{100.0 * share:.2g} % here, {100.0 * step:.2g} % at one step a second"


def _cell(each: Analysis, one: Comparison | None, form: str = ".3g") -> str:
    """Effect and interval; that of every moment where the run has not the pairs of the plan."""
    if one is None:
        return "not made"
    found = one.effect
    sign = "+" if one.metric.scale == "difference" else ""
    low, high, kind = found.low, found.high, ""
    if not each.whole:
        low, high, kind = found.always_low, found.always_high, ", at every moment"
    return f"{found.value:{sign}{form}} [{low:{sign}{form}}, {high:{sign}{form}}]{kind}"
