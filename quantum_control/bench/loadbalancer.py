"""`quantum-control bench loadbalancer`: weights against policies, in pairs, behind real balancers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from quantum_control.bench.course import PHASES, Course, run
from quantum_control.bench.settings import FILE, keep_settings
from quantum_control.bench.spread import MARKS, spread
from quantum_control.bench.steering import ARMS
from quantum_control.core.errors import ConfigError
from quantum_control.terminal import AS_JSON, examples, print_json

REFERENCES = ("ours", "ours-envoy")
"""The arms that the others on the same balancer are compared with."""

LATE = 0.02
"""Seconds: a run in which one request in a hundred left later than this has measured a machine that
was busy with something else, and is made again. So late is the client, whatever the balancer does."""

ATTEMPTS = 5
"""Times that it is made; then its pair is set aside whole."""

MEASURED = PHASES[1:]
"""Phases that are reported: the first is for learning."""


def measure(directory: Path, course: Course, pairs: int, arms: Sequence[str], seed: int) -> None:
    """Make the runs that are not in `directory` yet, one file each.

    Within a pair all arms get the same arrivals and the same work, in an
    order of its own.

    Raises
    ------
    ConfigError
        The directory holds runs of other settings.
    """
    directory.mkdir(parents=True, exist_ok=True)
    keep_settings(directory, {**asdict(course), "seed": seed})
    for pair in range(pairs):
        order = np.random.default_rng([seed, pair]).permutation(len(arms))
        for name in (arms[i] for i in order):
            place = _place(directory, pair, name)
            if place.exists():
                continue
            text = json.dumps(_run(name, course, seed * 100_000 + pair))
            whole = place.with_suffix(".part")
            whole.write_text(text)
            whole.replace(place)
        click.echo(f"pair {pair + 1} of {pairs} is there", err=True)


def _run(name: str, course: Course, seed: int) -> dict[str, object]:
    """Make one run, again where the machine was too busy; the attempts are counted."""
    for attempt in range(1, ATTEMPTS + 1):
        result = run(ARMS[name], course, seed)
        late = float(np.percentile([answer.late for answer in result.answers], 99))
        if late <= LATE:
            break
        click.echo(f"{name}: requests left {1e3 * late:.0f} ms late (attempt {attempt})", err=True)
    return {
        "due": [round(answer.due, 4) for answer in result.answers],
        "seconds": [round(answer.seconds, 5) for answer in result.answers],
        "status": [answer.status for answer in result.answers],
        "late": late,
        "attempts": attempt,
        "cost": result.cost,
        "steps": result.steps,
    }


@dataclass(frozen=True, slots=True)
class Measured:
    """What the tables are made of."""

    course: Mapping[str, float]
    pairs: int
    """Complete ones, those set aside included."""
    again: int
    """Runs that were made once more, as the machine was busy."""
    kept: list[list[Any]]
    """Raw data of the pairs that count, an arm each."""
    figures: dict[str, list[tuple[list[float], list[float], list[float]]]]
    """Of each arm, for each pair: p50 (ms), p99 (ms) and part that failed, of each measured phase."""


def measured(directory: Path, arms: Sequence[str]) -> Measured:
    """Read all complete pairs in `directory`.

    Raises
    ------
    ConfigError
        There is none, or the machine was too busy in each.
    """
    course = json.loads((directory / FILE).read_text())
    quarter = course["seconds"] / len(PHASES)
    pairs = 0
    while all(_place(directory, pairs, name).exists() for name in arms):
        pairs += 1
    if not pairs:
        raise ConfigError(f"{directory} holds no complete pair of {', '.join(arms)}")
    runs = [[json.loads(_place(directory, pair, name).read_text()) for name in arms] for pair in range(pairs)]
    again = sum(one["attempts"] - 1 for pair in runs for one in pair)
    kept = [pair for pair in runs if all(one["late"] <= LATE for one in pair)]
    if not kept:
        raise ConfigError(
            f"in each of {pairs} pairs in {directory} requests left late: this machine is too busy"
        )
    figures = {name: [_figures(pair[i], quarter) for pair in kept] for i, name in enumerate(arms)}
    return Measured(course, pairs, again, kept, figures)


def medians(found: Measured) -> dict[str, dict[str, dict[str, float]]]:
    """Medians over the pairs: by phase and arm the p50 and p99 (ms), and the mean part that failed."""
    return {
        title: {
            name: {
                "p50_ms": float(np.median([one[0][phase] for one in own])),
                "p99_ms": float(np.median([one[1][phase] for one in own])),
                "failed": float(np.mean([one[2][phase] for one in own])),
            }
            for name, own in found.figures.items()
        }
        for phase, title in enumerate(MEASURED)
    }


def table(found: Measured, arms: Sequence[str]) -> str:
    """Tables of all complete pairs, in Markdown."""
    kept, figures = found.kept, found.figures
    lines = [
        f"{len(kept)} pairs; medians over them {MARKS}; latency of what succeeded, ms.",
        f"As the machine was busy, {found.again} runs were made again and "
        f"{found.pairs - len(kept)} pairs set aside.",
    ]
    for phase, title in enumerate(MEASURED):
        lines += [
            "",
            f"**{title}**",
            "",
            "| arm | p50 | p99 | failed % | p99 of ours on the same balancer, over this |",
            "|---|---|---|---|---|",
        ]
        for name in arms:
            p50, p99, failed = (np.array([one[kind][phase] for one in figures[name]]) for kind in range(3))
            cells = [f"{spread(p50):.1f}", f"{spread(p99):.0f}", f"{100.0 * failed.mean():.2f}"]
            ours = _reference(name, arms)
            if ours and ours != name:
                reference = np.array([one[1][phase] for one in figures[ours]])
                cells.append(f"{spread(reference / p99):.2f}")
            else:
                cells.append("")
            lines.append(f"| {ARMS[name].title} | {' | '.join(cells)} |")
    lines += ["", *_costs(kept, arms, found.course)]
    return "\n".join(lines)


def _reference(name: str, arms: Sequence[str]) -> str:
    """Name of ours on the same balancer; empty if it is not among the arms."""
    same = (ours for ours in REFERENCES if ours in arms and ARMS[ours].kind is ARMS[name].kind)
    return next(same, "")


def _costs(
    pairs: Sequence[Sequence[Mapping[str, float]]], arms: Sequence[str], course: Mapping[str, float]
) -> list[str]:
    lines = [
        "| arm | processor per step, ms | share of one processor here | at one step a second |",
        "|---|---|---|---|",
    ]
    for i, name in enumerate(arms):
        cost, steps = sum(pair[i]["cost"] for pair in pairs), sum(pair[i]["steps"] for pair in pairs)
        step = cost / steps if steps else 0.0
        if step * 1e6 >= 10.0:  # the others do nothing
            lines.append(
                f"| {ARMS[name].title} | {1e3 * step:.2f} | {100.0 * step / course['interval']:.2f} %"
                f" | {100.0 * step:.3f} % |"
            )
    return lines


def _figures(
    raw: Mapping[str, Sequence[float]], quarter: float
) -> tuple[list[float], list[float], list[float]]:
    """p50 (ms), p99 (ms) and part that failed, of each measured phase."""
    due, seconds, status = (np.array(raw[key]) for key in ("due", "seconds", "status"))
    p50, p99, failed = [], [], []
    for phase in range(1, len(PHASES)):
        inside = (due >= phase * quarter) & (due < (phase + 1) * quarter)
        good = seconds[inside & (status == 200)]
        p50.append(float(1e3 * np.percentile(good, 50)) if good.size else np.inf)
        p99.append(float(1e3 * np.percentile(good, 99)) if good.size else np.inf)
        failed.append(float(np.mean(status[inside] != 200)))
    return p50, p99, failed


def _place(directory: Path, pair: int, arm: str) -> Path:
    return directory / f"{pair:04d}-{arm}.json"


@click.command(
    "loadbalancer",
    epilog=examples(
        "bench loadbalancer results", "bench loadbalancer results --pairs 5 --arm leastconn --arm ours --json"
    ),
)
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--pairs", default=30, show_default=True, type=click.IntRange(1), help="Pairs to have in the end."
)
@click.option("--seconds", default=Course().seconds, show_default=True, help="Length of one run.")
@click.option("--utilisation", default=Course().utilisation, show_default=True, help="Rate over capacity.")
@click.option("--interval", default=Course().interval, show_default=True, help="Seconds between steps.")
@click.option("--seed", default=1, show_default=True)
@click.option(
    "--arm", "arms", multiple=True, type=click.Choice(list(ARMS)), help="Only these; by default all."
)
@AS_JSON
def command(
    directory: Path,
    pairs: int,
    seconds: float,
    utilisation: float,
    interval: float,
    seed: int,
    arms: tuple[str, ...],
    as_json: bool,
) -> None:
    """Compare ways to share requests among six unequal servers that change, stall and fail.

    Raw data are kept in DIRECTORY, one file per run; runs that are there are
    not made again, so that an interrupted benchmark goes on where it was.
    """
    chosen = arms or tuple(ARMS)
    measure(directory, Course(seconds, utilisation, interval), pairs, chosen, seed)
    found = measured(directory, chosen)
    if as_json:
        print_json({"pairs": len(found.kept), "phases": medians(found)})
        return
    click.echo(table(found, chosen))
