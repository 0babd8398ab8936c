"""What the dashboards show, as PromQL: independent of who draws it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Draw(StrEnum):
    """How a panel is drawn."""

    CURVES = "curves"
    NUMBER = "number"
    TABLE = "table"


@dataclass(frozen=True, slots=True)
class Query:
    """One expression of a panel; `$resource`, `$instance` and `$__rate_interval` are Grafana's to fill in."""

    expression: str
    legend: str


@dataclass(frozen=True, slots=True)
class Panel:
    """A field of a dashboard; `unit` as Grafana names it, `width` in 24ths of the page."""

    title: str
    text: str
    unit: str
    queries: tuple[Query, ...]
    draw: Draw = Draw.CURVES
    width: int = 12


@dataclass(frozen=True, slots=True)
class Page:
    """A dashboard: rows of panels, about resources whose `type` label is one of `types` (all if empty)."""

    uid: str
    title: str
    text: str
    rows: tuple[tuple[str, tuple[Panel, ...]], ...]
    types: tuple[str, ...] = ()


def of(name: str, *more: str) -> str:
    """Selector of the family `quantum_control_<name>`, of the resources that were picked at the top."""
    labels = ",".join(('instance=~"$instance"', 'resource=~"$resource"', *more))
    return f"quantum_control_{name}{{{labels}}}"


def curve(name: str, legend: str, *more: str) -> Query:
    """Show one family as it is."""
    return Query(of(name, *more), f"{{{{resource}}}} {legend}".strip())


def rate(name: str, *more: str) -> str:
    """Rate of the counter `name`, per second."""
    return f"rate({of(f'{name}_total', *more)}[$__rate_interval])"


def per_minute(name: str, label: str) -> Query:
    """Show a counter per minute, by one of its labels."""
    return Query(f"60 * {rate(name)}", f"{{{{resource}}}} {{{{{label}}}}}")


def number(title: str, text: str, expression: str, unit: str = "short") -> Panel:
    """Show one figure of all resources, small."""
    return Panel(title, text, unit, (Query(expression, ""),), Draw.NUMBER, width=4)


NOT_SET = f"on (job, instance, resource) {of('active')} == 0"
"""Behind `unless`: resources in shadow or only observed, whose figures are a twin's, or change nothing."""

SAVED = f"1 - {rate('cost')} / ({rate('cost_at_original')} > 0)"
"""Relative saving against the size found at the start; no value where that would have cost nothing."""

SAVING = Panel(
    "Saving",
    "Estimated, in the objective's prices: what the same flow would have cost at the size found at the "
    "start, against what it costs. Negative: steering costs more.",
    "percentunit",
    (Query(SAVED, "{{resource}}"),),
)

SKILL = Panel(
    "Predictions of the law",
    "1 is perfect, 0 no better than no prediction; below 0 the law does not fit this resource.",
    "percentunit",
    (curve("model_skill", ""),),
)

OUTCOMES = Panel(
    "Decisions",
    "Steps per minute, by how they ended.",
    "short",
    (per_minute("decisions", "outcome"),),
)

INTERVENTIONS = Panel(
    "Interventions",
    "Steps per minute at which a limit, the knee or another link of the safety chain held a size back or "
    "replaced it.",
    "short",
    (per_minute("interventions", "reason"),),
)

ROLL_BACKS = Panel(
    "Roll-backs",
    "Times that the original size was put back: asked for, after failures, or because steering cost more.",
    "short",
    (Query(f"increase({of('roll_backs_total')}[$__rate_interval])", "{{resource}} {{reason}}"),),
)

STEP = Panel(
    "Time of a step",
    "Mean, with the answers of the resource.",
    "s",
    (Query(f"{rate('step_seconds')} / ({rate('steps')} > 0)", "{{resource}}"),),
)

FORCE = Panel(
    "Force",
    "Relative change of size per second that the law asks for.",
    "short",
    (curve("force_per_second", ""),),
)

TABLE = Panel(
    "Resources",
    "As of now.",
    "short",
    tuple(
        # Without the name of the family, which would keep the columns from joining in one line.
        Query(f"max by (instance, resource{labels}) ({of(name)})", title)
        for name, title, labels in (
            ("size", "size", ""),
            ("size_wanted", "wanted", ""),
            ("size_original", "found", ""),
            ("demand", "demand", ""),
            ("backlog", "backlog", ""),
            ("force_per_second", "force", ""),
            ("active", "active", ""),
            ("suspended", "handed back", ""),
            ("saving_ratio", "saving", ""),
            ("resource_info", "info", ", model, type, unit"),
        )
    ),
    Draw.TABLE,
    width=24,
)

OVERVIEW = Page(
    "quantum-control-fleet",
    "quantum_control: fleet",
    "Every steered resource: what is steered, how far it is from what was found, and whether it pays.",
    (
        (
            "Now",
            (
                number("Under control", "Resources that are steered or watched.", f"count({of('size')})"),
                number(
                    "Handed back",
                    "After too many failures: the original size is in force.",
                    f"sum({of('suspended')} unless {NOT_SET}) or vector(0)",
                ),
                number(
                    "Changes per minute",
                    "Of all resources whose size is set.",
                    "60 * sum({} unless {}) or vector(0)".format(
                        rate("decisions", 'outcome="changed"'), NOT_SET
                    ),
                ),
                number(
                    "Failures per minute",
                    "Of all resources.",
                    f"60 * sum({rate('failures')})",
                ),
                number(
                    "Mean saving",
                    "Over the resources whose size is set, estimated; see the panel below.",
                    f"avg({SAVED} unless {NOT_SET})",
                    "percentunit",
                ),
                number(
                    "Short of room",
                    "Resources at their upper bound whose demand is more.",
                    f"count(({of('size')} >= {of('size_maximum')}) and ({of('demand')} > {of('size')})"
                    f" unless {NOT_SET}) or vector(0)",
                ),
            ),
        ),
        ("Each", (TABLE,)),
        (
            "Over time",
            (
                Panel(
                    "Size, relative to what was found",
                    "1 is the size found at the start.",
                    "short",
                    (Query(f"{of('size')} / {of('size_original')}", "{{resource}}"),),
                ),
                Panel(
                    "Demand over size",
                    "In use and waiting, over the size in force: above 1 something waits.",
                    "short",
                    (Query(f"{of('demand')} / {of('size_in_force')}", "{{resource}}"),),
                ),
                FORCE,
                OUTCOMES,
                INTERVENTIONS,
                ROLL_BACKS,
                SAVING,
                SKILL,
                STEP,
            ),
        ),
    ),
)
