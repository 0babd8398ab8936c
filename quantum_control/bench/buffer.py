"""`quantum-control bench buffer`: limits of a queue before a link whose rate changes, in pairs."""

from __future__ import annotations

import os
from dataclasses import asdict
from functools import partial
from pathlib import Path

import click
import numpy as np

from quantum_control.bench.queue_course import DEFAULT, Course, run
from quantum_control.bench.queue_results import Results, place, read, write
from quantum_control.bench.settings import keep_settings
from quantum_control.bench.spread import MARKS
from quantum_control.bench.together import run_together
from quantum_control.core.errors import ConfigError
from quantum_control.terminal import AS_JSON, examples, print_json

FIXED = (15_000, 25_000, 150_000, 250_000)
"""Fixed limits, bytes: 12 to 200 ms at 10 Mbit/s, 1.2 to 20 ms at 100 Mbit/s."""

MODELS = ("optomechanical", "parametric", "coherent")

KNOWN = "bdp"
"""Arm that is told each rate at the moment of its change, and sets the bandwidth-delay product."""

TOLD = "told"
"""Arm that is told each rate likewise, and sets what drains in the target: what any control that aims at
it can reach at most, TCP being as it is."""

ARMS = ("default", *map(str, FIXED), KNOWN, TOLD, *MODELS)
"""By the names that files and options use; a number is a fixed limit in bytes."""


def title(arm: str) -> str:
    """What an arm is called in the table."""
    if arm.isdigit():
        return f"fixed, {arm}"
    named = {
        "default": "kernel's default",
        KNOWN: "bandwidth-delay product, told the rate",
        TOLD: "the target, told the rate",
    }
    return named.get(arm, f"steered, {arm}")


@click.command(
    "buffer",
    epilog=examples(
        "bench buffer --out results",
        "bench buffer --pairs 5 --arm default --arm optomechanical --out results --json",
    ),
)
@click.option("--pairs", default=30, show_default=True, type=click.IntRange(1), help="Runs of every arm.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder for the raw data. A run that was interrupted goes on where it was.",
)
@click.option("--seconds", default=Course().seconds, show_default=True, help="Length of each phase.")
@click.option("--distance", default=Course().distance, show_default=True, help="Round trip, s.")
@click.option("--streams", default=Course().streams, show_default=True, help="TCP connections.")
@click.option("--target", default=Course().target, show_default=True, help="Longest wait to steer for, s.")
@click.option("--interval", default=Course().interval, show_default=True, help="Seconds between steps.")
@click.option("--seed", default=1, show_default=True, help="Of the order of arms and phases.")
@click.option("--jobs", default=1, show_default=True, type=click.IntRange(1), help="Runs at the same time.")
@click.option("--arm", "chosen", multiple=True, type=click.Choice(ARMS), help="Only these; by default all.")
@AS_JSON
def command(
    pairs: int,
    out: Path,
    seconds: float,
    distance: float,
    streams: int,
    target: float,
    interval: float,
    seed: int,
    jobs: int,
    chosen: tuple[str, ...],
    as_json: bool,
) -> None:
    """Compare limits of a queue before a link that changes between 10 and 100 Mbit/s.

    Each pair runs every arm, in an order drawn anew, with the same order of
    the rates. TCP connections (iperf3) keep the link busy, a probe measures what
    a small packet waits. All of it in network namespaces of its own, so that --jobs
    runs, each of which takes a fifth of a core, need not wait for one another. Needs
    root, iproute2, iperf3 and /dev/net/tun.
    """
    if not seconds >= 2.0:
        raise ConfigError(f"--seconds={seconds:g}: 2 or more, or there is nothing but the change")
    course = Course(seconds=seconds, distance=distance, streams=streams, target=target, interval=interval)
    out.mkdir(parents=True, exist_ok=True)
    keep_settings(out, {**asdict(course), "seed": seed, "jobs": jobs})
    arms = chosen or ARMS
    runs = []
    for pair in range(pairs):
        rng = np.random.default_rng((seed, pair))
        order = rng.permutation(course.rates).tolist()
        for arm in rng.permutation(ARMS).tolist():
            if arm in arms and not place(out, pair, arm).exists():
                name = f"pair {pair + 1} of {pairs}: {title(arm)}"
                runs.append((name, partial(_make, place(out, pair, arm), course, order, arm)))
    run_together(runs, jobs, lambda name: click.echo(name, err=True))
    results = Results(out, arms, pairs, course.rates)
    fixed = [arm for arm in arms if arm.isdigit()]
    if as_json:
        print_json(results.as_json(fixed))
        return
    click.echo(
        f"{len(results.pairs)} pairs, phases of {seconds:g} s, {streams} connections, round trip"
        f" {1e3 * distance:g} ms, {os.cpu_count()} cores, runs at the same time: {jobs}. Limits in bytes,"
        " medians over pairs; throughput and p95 of the delay over those of the best fixed limit of the rate"
        f" {MARKS}. Refused are packets of the probe that did not arrive: the queue was full.\n"
    )
    if results.pairs and fixed:
        click.echo(results.table(fixed, title))
        models = [arm for arm in arms if arm in MODELS]
        for arm in models if TOLD in arms else ():
            click.echo(f"\n{title(arm)}, over {title(TOLD)}: {results.beside(arm, TOLD)}.")
        click.echo(_cost(out, results.pairs, models, course))


def _make(path: Path, course: Course, order: list[float], arm: str) -> None:
    """Make a run of an arm, and keep it."""
    write(path, run(course, order, *_way(arm, course)))


def _way(arm: str, course: Course) -> tuple[dict[float, int] | None, str]:
    """Limit of each rate, or else the model, of an arm."""
    if arm in MODELS:
        return None, arm
    if arm in (KNOWN, TOLD):
        seconds = course.distance if arm == KNOWN else course.target
        return {rate: round(rate / 8.0 * seconds) for rate in course.rates}, ""
    return dict.fromkeys(course.rates, DEFAULT if arm == "default" else int(arm)), ""


def _cost(out: Path, pairs: list[int], models: list[str], course: Course) -> str:
    """What the control took of a processor."""
    lines = []
    for arm in models:
        phases = [phase for pair in pairs for phase in read(place(out, pair, arm))]
        share = sum(phase.cpu for phase in phases) / (course.seconds * len(phases))
        lines.append(f"{arm}: {100.0 * share:.3f} % of one core, a step every {course.interval:g} s")
    return "\n" + "\n".join(lines)
