"""`quantum-control bench distance`: how much of a long line TCP can use, in pairs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from quantum_control.bench.long_line import ARMS, SAMPLE, Line, run
from quantum_control.bench.settings import FILE, keep_settings
from quantum_control.bench.spread import MARKS, spread
from quantum_control.bench.together import run_together
from quantum_control.core.errors import ConfigError, SensorError
from quantum_control.terminal import AS_JSON, examples, print_json

ATTEMPTS = 3
"""Times that a run is made whose iperf3 fails."""


def measure(directory: Path, line: Line, pairs: int, arms: Sequence[str], seed: int, jobs: int = 1) -> None:
    """Make the runs that are not in `directory` yet, one file each, `jobs` at the same time.

    The arms of a pair come in an order drawn anew.

    Raises
    ------
    ConfigError
        The directory holds runs of other settings; and as `run`.
    """
    directory.mkdir(parents=True, exist_ok=True)
    keep_settings(directory, {**asdict(line), "seed": seed, "jobs": jobs})
    runs = []
    for pair in range(pairs):
        for index in np.random.default_rng([seed, pair]).permutation(len(arms)).tolist():
            place = _place(directory, pair, arms[index])
            if not place.exists():
                name = f"pair {pair + 1} of {pairs}: {ARMS[arms[index]].title}"
                runs.append((name, partial(_make, place, arms[index], line)))
    run_together(runs, jobs, lambda name: click.echo(name, err=True))


def _make(place: Path, name: str, line: Line) -> None:
    """Make one run, and keep it whole or not at all."""
    whole = place.with_suffix(".part")
    whole.write_text(json.dumps(_run(name, line)))
    whole.replace(place)


def _run(name: str, line: Line) -> dict[str, object]:
    """Make one run, again if iperf3 failed; the attempts are counted."""
    for attempt in range(1, ATTEMPTS):
        try:
            return run(name, line) | {"attempts": attempt}
        except SensorError as error:
            click.echo(f"{name}: {error} (attempt {attempt})", err=True)
    return run(name, line) | {"attempts": ATTEMPTS}


def measured(directory: Path, arms: Sequence[str]) -> dict[str, dict[str, NDArray[np.float64]]]:
    """Figures of all complete pairs in `directory`: by arm and name, a pair each.

    Raises
    ------
    ConfigError
        There is none.
    """
    line, _ = _settings(directory)
    pairs = 0
    while all(_place(directory, pairs, name).exists() for name in arms):
        pairs += 1
    if not pairs:
        raise ConfigError(f"{directory} holds no complete pair of {', '.join(arms)}")
    figures = {}
    for name in arms:
        runs = [json.loads(_place(directory, pair, name).read_text()) for pair in range(pairs)]
        figures[name] = {
            "settled_percent": np.array(
                [100.0 * _speed(each["arrived"], line.settled) / line.bound for each in runs]
            ),
            "whole_percent": np.array([100.0 * _speed(each["arrived"], 0.0) / line.bound for each in runs]),
            "p95_delay_ms": np.array([1e3 * each["delay"] for each in runs]),
            "sent_again": np.array([float(each["retransmits"]) for each in runs]),
            "steps": np.array([float(each["steps"]) for each in runs]),
            "control_seconds": np.array([float(each["cost"]) for each in runs]),
        }
    return figures


def medians(directory: Path, arms: Sequence[str]) -> dict[str, dict[str, float]]:
    """Medians over the pairs of each figure of each arm; raises as `measured`."""
    return {
        name: {key: float(np.median(each)) for key, each in own.items()}
        for name, own in measured(directory, arms).items()
    }


def table(directory: Path, arms: Sequence[str]) -> str:
    """Table of all complete pairs in `directory`, in Markdown; raises as `measured`."""
    line, settings = _settings(directory)
    figures = measured(directory, arms)
    pairs = figures[arms[0]]["steps"].size
    lines = [
        f"{pairs} pairs; medians over them {MARKS}. {line.rate / 1e6:g} Mbit/s, {1e3 * line.distance:g} ms"
        f" round trip: {line.product / 1e6:.2f} MB under way; bound {8 * line.bound / 1e6:.1f} Mbit/s of"
        f" payload. {settings['cores']} cores, runs at the same time: {settings['jobs']}.",
        "",
        f"| arm | % of the bound after {line.settled:g} s | from the start | p95 delay one way, ms"
        " | sent again | processor per step, ms | share of one processor, % |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in arms:
        own = figures[name]
        steps = float(own["steps"].sum())
        step = float(own["control_seconds"].sum()) / steps if steps else 0.0
        cells = [
            f"{spread(own['settled_percent']):.1f}",
            f"{spread(own['whole_percent']):.1f}",
            f"{spread(own['p95_delay_ms']):.1f}",
            f"{spread(own['sent_again']):.0f}",
        ]
        cells += [f"{1e3 * step:.2f}", f"{100.0 * step / SAMPLE:.2f}"] if steps else ["", ""]
        lines.append(f"| {ARMS[name].title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _speed(arrived: Sequence[tuple[float, int]], since: float) -> float:
    """Payload per second from the first sample at or after `since`; from 0 bytes at 0 s if that is 0."""
    times, counts = zip(*arrived, strict=True)
    if since <= 0.0:
        return float(counts[-1] / times[-1])
    first = next((i for i, at in enumerate(times) if at >= since), len(times) - 1)
    if first == len(times) - 1:
        raise SensorError(f"no two samples after {since:g} s: the run was too short")
    return float((counts[-1] - counts[first]) / (times[-1] - times[first]))


def _settings(directory: Path) -> tuple[Line, dict[str, float]]:
    """Line that the runs are of, and all that was kept with them."""
    kept = json.loads((directory / FILE).read_text())
    return Line(**{field.name: kept[field.name] for field in fields(Line)}), kept


def _place(directory: Path, pair: int, arm: str) -> Path:
    return directory / f"{pair:04d}-{arm}.json"


@click.command(
    "distance", epilog=examples("bench distance results", "bench distance results --pairs 5 --json")
)
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--pairs", default=30, show_default=True, type=click.IntRange(1), help="Pairs to have in the end."
)
@click.option("--rate", default=Line().rate, show_default=True, help="Bit/s of the line.")
@click.option("--distance", default=Line().distance, show_default=True, help="Seconds of a round trip.")
@click.option("--seconds", default=Line().seconds, show_default=True, help="Length of one transfer.")
@click.option("--settled", default=Line().settled, show_default=True, help="Seconds left out as the start.")
@click.option("--seed", default=1, show_default=True, help="Of the order of the arms.")
@click.option("--jobs", default=1, show_default=True, type=click.IntRange(1), help="Runs at the same time.")
@click.option(
    "--arm", "arms", multiple=True, type=click.Choice(list(ARMS)), help="Only these; by default all."
)
@AS_JSON
def command(
    directory: Path,
    pairs: int,
    rate: float,
    distance: float,
    seconds: float,
    settled: float,
    seed: int,
    jobs: int,
    arms: tuple[str, ...],
    as_json: bool,
) -> None:
    """Compare the control of TCP's buffers with fixed ones, over a long line.

    Needs root, iperf3, /dev/net/tun and a cgroup v2 hierarchy. Raw data are kept in
    DIRECTORY, one file per run; a benchmark that was interrupted goes on where it was.
    """
    if not 0.0 <= settled <= seconds - 2.0 * SAMPLE:
        raise ConfigError(
            f"--settled {settled:g} of --seconds {seconds:g}: leave {2.0 * SAMPLE:g} s or more to be measured"
        )
    chosen = arms or tuple(ARMS)
    measure(directory, Line(rate, distance, seconds, settled), pairs, chosen, seed, jobs)
    if as_json:
        print_json(medians(directory, chosen))
        return
    click.echo(table(directory, chosen))


if __name__ == "__main__":
    command()
