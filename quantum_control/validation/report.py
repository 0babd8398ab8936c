"""The report: a Markdown table, and one HTML page that needs nothing else."""

from __future__ import annotations

import html
import json
import time
from collections.abc import Sequence
from math import isinf, isnan

from quantum_control.validation import pictures, summary
from quantum_control.validation.analysis import Analysis
from quantum_control.validation.comparison import Comparison
from quantum_control.validation.pilot import power_told
from quantum_control.validation.plan import Plan

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto; }
td { font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid #ccc; padding: .25rem .6rem; text-align: left; white-space: nowrap; }
pre { background: #f4f4f4; padding: 1rem; overflow-x: auto; font-size: 12px; }
svg { max-width: 100%; height: auto; }
"""

HEAD = (
    "ours",
    "against",
    "metric",
    "effect",
    "interval",
    "n",
    "p",
    "p, Holm",
    "rank-biserial",
    "dz",
    "at every moment",
)

MODES = {
    "run": "",
    "aa": " (A/A: one arm against itself)",
    "overhead": " (overhead: a controller that only looks)",
}


FEWEST_FALSE = 1.0
"""False positives that are to be expected, below which their rate says nothing."""


def markdown(analyses: Sequence[Analysis], plan: Plan, command: str, left_out: Sequence[str] = ()) -> str:
    """Everything but the pictures; `left_out` are folders with data of another plan."""
    lines = ["# Validation", "", f"`{command}`.", ""]
    lines += [unlike(left_out), ""] if left_out else []
    for head, rows in _short(analyses, plan):
        lines += [*map(_row, [head, ["---"] * len(head), *rows]), ""]
    for analysis in analyses:
        lines += [f"## {analysis.plan.title}{MODES[analysis.mode]}", ""]
        lines += [f"{line}" for line in _prose(analysis, plan)]
        lines += ["", _row(HEAD), _row(["---"] * len(HEAD))]
        lines += [_row(_cells(one, analysis, plan)) for one in analysis.comparisons]
        lines += ["", *_means(analysis), ""]
    return "\n".join(lines)


def page(
    analyses: Sequence[Analysis], plan: Plan, text: str, command: str, left_out: Sequence[str] = ()
) -> str:
    """Everything, in HTML."""
    parts = [f"<h1>Validation</h1><p><code>{html.escape(command)}</code></p>"]
    parts += [f"<p>{html.escape(unlike(left_out))}</p>"] if left_out else []
    parts += [_table(head, rows) for head, rows in _short(analyses, plan)]
    for analysis in analyses:
        parts.append(f"<h2>{html.escape(analysis.plan.title + MODES[analysis.mode])}</h2>")
        parts += [f"<p>{html.escape(line)}</p>" for line in _prose(analysis, plan) if line]
        parts.append(_table(HEAD, [_cells(one, analysis, plan) for one in analysis.comparisons]))
        head, rows = _mean_rows(analysis)
        parts.append(_table(head, rows))
        shown = [one for one in analysis.comparisons if one.ours == analysis.ours]
        shown = [one for one in shown if one.metric.role == "primary" and one.differences.size > 1]
        if shown:
            parts.append(pictures.distribution(shown))
        pair, samples = analysis.typical()
        if samples:
            parts.append(pictures.course(analysis, pair, samples))
        parts.append(f"<h3>Checks</h3>{_table(*_checks(analysis))}")
        about = {
            "machine": analysis.machine,
            "calibration": analysis.calibration,
            "seed": plan.seed_of(analysis.resource),
        }
        parts.append(f"<pre>{html.escape(json.dumps(about, indent=1))}</pre>")
    parts.append(f"<h2>Plan</h2><pre>{html.escape(text)}</pre>")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Validation</title>'
        f"<style>{STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def unlike(left_out: Sequence[str]) -> str:
    """What the report leaves out."""
    return f"Left out, since their data were made by another plan: {', '.join(left_out)}."


def _short(analyses: Sequence[Analysis], plan: Plan) -> list[summary.Table]:
    """A line for each experiment."""
    tables = [summary.effects(analyses, plan), summary.costs(analyses), summary.again(analyses)]
    return [(head, rows) for head, rows in tables if rows]


def _prose(analysis: Analysis, plan: Plan) -> list[str]:
    stretch, alpha = analysis.plan.stretch, plan.alpha
    observations = "" if stretch == 1 else f", {stretch} to an observation"
    if analysis.plan.phases:
        observations += f", each of {analysis.plan.phases} phases with the same weight"
    rest = analysis.pairs % stretch
    over = f"; the last {rest} are no whole observation and are not compared" if rest else ""
    late = "" if isinf(analysis.plan.late) else f"; {analysis.excluded} left out by the plan's rule"
    lines = [
        f"{analysis.pairs} of {plan.pairs} planned pairs{observations}{over}{late}; {analysis.minutes:.1f}"
        " minutes of blocks. Effects are ratios of ours to the other (differences where a metric may be 0),"
        f" with {100.0 * (1.0 - alpha):g} % intervals. Pairs without a value, such as a ratio with a block of"
        " 0, are counted beside n. Better or worse is said of planned tests only, where p after Holm's"
        f" correction is below {alpha:g}. Plan {analysis.fingerprint[:16]}, seed"
        f" {plan.seed_of(analysis.resource)}."
    ]
    if not analysis.whole:
        lines.append(
            "This run has not the pairs of the plan: interval and p are those of a fixed number of pairs and"
            ' hold for whole runs. Go by "at every moment".'
        )
    if analysis.failed:
        told = ", ".join(f"{arm} {count}" for arm, count in sorted(analysis.failed.items()))
        lines.append(f"Blocks that failed, and were played again with their whole pair: {told}.")
    lines += [
        f"Ended early after {end.pairs} pairs, {time.strftime('%F %T', time.localtime(end.time))}: {end.why}."
        for end in analysis.ends
    ]
    if analysis.pilot:
        lines.append(power_told(analysis.power, analysis.pilot, plan, analysis.plan))
    if analysis.false_positives is not None:
        lines.append(_false_positives(analysis, plan, *analysis.false_positives))
    for arm, (share, step) in analysis.control.items():
        held = f", {analysis.memory[arm] / 1024.0:.0f} KiB of memory" if arm in analysis.memory else ""
        lines.append(
            f"Control of {arm}: {1e3 * step:.3f} ms a step; {100.0 * share:.2f} % of one core or"
            f" {3600.0 * share:.1f} processor seconds an hour here, {3600.0 * step:.2f} at one step a"
            f" second{held}."
        )
    return lines


def _false_positives(analysis: Analysis, plan: Plan, wrong: int, made: int, chance: float) -> str:
    apart = sum(one.differs for one in analysis.comparisons)
    whole = f"{apart} of {len(analysis.comparisons)} intervals leave out that there is no difference."
    if made * plan.alpha < FEWEST_FALSE:
        return (
            f"False positives: {wrong} of {made} tests of {plan.window} observations, which are too few for a"
            f" rate of {plan.alpha:g}; what this run shows are effects and intervals. {whole}"
        )
    return (
        f"False positives: {wrong} of {made} tests of {plan.window} observations at {plan.alpha:g}; so many"
        f" or more come with a probability of {chance:.2g}, metrics of a block taken as independent. {whole}"
    )


def _cells(one: Comparison, analysis: Analysis, plan: Plan) -> list[str]:
    found = one.effect
    # By a test that is looked at once, and so of whole runs.
    verdict = one.verdict(plan.alpha) if analysis.whole else ""
    return [
        one.ours,
        one.other,
        f"{one.metric.name}{'' if one.metric.role == 'other' else f' ({one.metric.role})'}",
        f"{_number(found.value)} {verdict}".strip(),
        f"[{_number(found.low)}, {_number(found.high)}]",
        f"{found.count}{f' ({one.dropped} pairs without a value)' if one.dropped else ''}",
        _p(found.p_value),
        _p(one.corrected) if one.tested else "",
        f"{found.rank_biserial:+.2f}",
        f"{found.dz:+.2f}",
        f"[{_number(found.always_low)}, {_number(found.always_high)}]",
    ]


def _checks(analysis: Analysis) -> tuple[Sequence[str], list[list[str]]]:
    head = (
        "against",
        "effect where ours came first, over (less) where it came last",
        "p",
        "trend, p",
        "neighbours' correlation",
    )
    mine = [c for c in analysis.comparisons if c.ours == analysis.ours and c.metric.role == "primary"]
    rows = [
        [
            one.other,
            _number(one.checks.order_effect),
            _p(one.checks.order_p_value),
            _p(one.checks.trend_p_value),
            _number(one.checks.autocorrelation),
        ]
        for one in mine
    ]
    return head, rows


def _mean_rows(analysis: Analysis) -> tuple[list[str], list[list[str]]]:
    names = [metric.name for metric in analysis.plan.metrics]
    units = [metric.unit for metric in analysis.plan.metrics]
    head = [
        "arm",
        "blocks",
        *(f"{name}, {unit}" for name, unit in zip(names, units, strict=True)),
        "what it is",
    ]
    arms = sorted(analysis.means, key=lambda arm: (arm != analysis.base, arm))
    rows = [
        [
            arm,
            str(analysis.blocks[arm]),
            *(f"{analysis.means[arm][name]:.4g}" for name in names),
            analysis.plan.arms.get(arm, ""),
        ]
        for arm in arms
    ]
    return head, rows


def _means(analysis: Analysis) -> list[str]:
    head, rows = _mean_rows(analysis)
    checks, found = _checks(analysis)
    return [
        f"Means over blocks{_unlike(analysis)}:",
        "",
        *map(_row, [head, ["---"] * len(head), *rows]),
        "",
        *map(_row, [checks, ["---"] * len(checks), *found]),
    ]


def _unlike(analysis: Analysis) -> str:
    if not analysis.plan.others:
        return ""
    return "; arms that did not run in every pair had other arrivals than the rest"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str], kind: str) -> str:
        return "<tr>" + "".join(f"<{kind}>{html.escape(cell)}</{kind}>" for cell in cells) + "</tr>"

    return f"<table>{line(head, 'th')}{''.join(line(row, 'td') for row in rows)}</table>"


def _number(value: float) -> str:
    return "" if isnan(value) else f"{value:.4g}"


def _p(value: float) -> str:
    return "" if isnan(value) else ("< 1e-16" if value < 1e-16 else f"{value:.2g}")
