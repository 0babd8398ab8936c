"""`quantum-control bench memory-cgroup`: a control group whose working set changes, steered in pairs."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from math import inf
from pathlib import Path

import click
import numpy as np

from quantum_control.bench.cgroup_arms import ARMS, INTERVAL, start
from quantum_control.bench.memory_bed import WorkingSet
from quantum_control.bench.settings import keep_settings
from quantum_control.bench.spread import MARKS, spread
from quantum_control.bench.together import run_together
from quantum_control.core.errors import ConfigError
from quantum_control.sources.cgroups import FILES
from quantum_control.sources.pressure import Pressure
from quantum_control.terminal import AS_JSON, examples, print_json

MIB = 1 << 20

TOTAL, SMALL = 200, 60
"""Working set in MiB: of the first and last phase, and of the one between."""

PHASES = ((TOTAL, 0.25), (SMALL, 0.5), (TOTAL, 0.25))
"""Working set, and its share of the run."""

LONG_STALL = 0.01
"""Share of an interval above which a stall counts as long."""


@dataclass(frozen=True, slots=True)
class Run:
    """One arm in one pair; the lists have a value for each interval."""

    arm: str
    usage: list[int]
    """Bytes charged to the group at its end."""
    stalled: list[float]
    """Share of it in which the process waited for memory."""
    hot: list[int]
    """Working set in MiB."""
    slowest: list[float]
    """Longest round of the process over its working set that ended in it, in seconds; 0 if none did."""
    control: float
    """Processor seconds of the arm over the seconds of the run."""

    def figures(self) -> dict[str, float]:
        """Return what the table is made of.

        `delayed` is what the slowest round of each interval took beyond the median of them, over the
        run: the kernel counts as a stall only what it knows to have been in use, and this counts all.
        """
        stalled, usage = np.array(self.stalled), np.array(self.usage)
        jump = next(i for i in range(1, len(self.hot)) if self.hot[i] > self.hot[i - 1])
        long = [i for i in range(jump, len(stalled)) if stalled[i] > LONG_STALL]
        steady = np.delete(stalled, jump)
        slowest = np.array(self.slowest)
        return {
            "resident": float(usage.mean()),
            "resident_small": float(usage[np.array(self.hot) == SMALL].mean()),
            "stalled": float(stalled.mean()),
            "stalled_without_jump": float(steady.mean()),
            "long_stalls": float(len(long)),
            "slowest": float(slowest.max()),
            "delayed": float(np.maximum(slowest - np.median(slowest), 0.0).sum() / (len(slowest) * INTERVAL)),
            "control": self.control,
        }


def run(name: str, seconds: float) -> Run:
    """Run one arm through the phases, in a group of its own."""
    with WorkingSet(TOTAL, TOTAL) as process:
        group = process.group
        usage_file, pressure = group.folder / FILES[group.version][0], Pressure(group.pressure)
        time.sleep(2.0 * INTERVAL)
        arm = start(name, process, int(usage_file.read_text()))
        cost, seen, last = 0.0, len(process.rounds), pressure.read().some
        usage, stalled, hot, slowest = [], [], [], []
        try:
            for size, share in PHASES:
                process.resize(size)
                for _ in range(round(share * seconds / INTERVAL)):
                    time.sleep(INTERVAL)
                    before = time.thread_time()
                    arm.step()
                    cost += time.thread_time() - before
                    total = pressure.read().some
                    rounds = process.rounds[seen:]
                    seen += len(rounds)
                    usage.append(int(usage_file.read_text()))
                    stalled.append((total - last) / INTERVAL)
                    hot.append(size)
                    slowest.append(max((took for _, took in rounds), default=0.0))
                    last = total
        finally:
            arm.close()
    return Run(name, usage, stalled, hot, slowest, cost / seconds)


@click.command(
    "memory-cgroup",
    epilog=examples(
        "bench memory-cgroup --out results", "bench memory-cgroup --pairs 5 --out results --json"
    ),
)
@click.option("--pairs", default=30, show_default=True, help="Runs of every arm.")
@click.option("--seconds", default=40.0, show_default=True, help="Length of a run.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder for the raw data. A run that was interrupted goes on where it was.",
)
@click.option("--seed", default=1, show_default=True, help="Of the order of the arms.")
@click.option("--jobs", default=1, show_default=True, type=click.IntRange(1), help="Runs at the same time.")
@AS_JSON
def command(pairs: int, seconds: float, out: Path, seed: int, jobs: int, as_json: bool) -> None:
    """Compare the control with a fixed limit and Senpai on a real control group.

    A process reads 200 MiB of a file again and again, then 60, then 200. Each
    pair runs every arm, in an order drawn anew. Takes root.
    """
    if pairs < 1 or not 20.0 <= seconds < inf:
        raise ConfigError("--pairs needs 1 or more, --seconds 20 or more")
    out.mkdir(parents=True, exist_ok=True)
    keep_settings(out, {"seconds": seconds, "seed": seed, "jobs": jobs})
    runs = []
    for pair in range(pairs):
        for name in np.random.default_rng((seed, pair)).permutation(ARMS).tolist():
            path = out / f"{pair:04d}-{name}.json"
            if not path.exists():
                runs.append((f"pair {pair + 1} of {pairs}: {name}", partial(_make, path, name, seconds)))
    run_together(runs, jobs, lambda name: click.echo(name, err=True))
    if as_json:
        print_json({"pairs": pairs, "arms": medians(out, pairs)})
        return
    click.echo(
        f"{pairs} pairs, runs of {seconds:g} s, {os.cpu_count()} cores, runs at the same time: {jobs}."
        f" Medians over pairs; of what was saved {MARKS}.\n"
    )
    click.echo(table(out, pairs))


def _make(path: Path, name: str, seconds: float) -> None:
    """Make one run, and keep it whole or not at all."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(asdict(run(name, seconds))))
    part.replace(path)


def measured(out: Path, pairs: int) -> dict[str, list[Mapping[str, float]]]:
    """Figures of each arm, a pair each."""
    return {
        name: [
            Run(**json.loads((out / f"{pair:04d}-{name}.json").read_text())).figures()
            for pair in range(pairs)
        ]
        for name in ARMS
    }


def medians(out: Path, pairs: int) -> dict[str, dict[str, float]]:
    """Medians over the pairs of each figure of each arm."""
    return {
        name: {key: float(np.median([each[key] for each in own])) for key in own[0]}
        for name, own in measured(out, pairs).items()
    }


def table(out: Path, pairs: int) -> str:
    """Table of the medians over the pairs, and how sure those of the memory saved are."""
    figures = measured(out, pairs)
    rows = [
        "| arm | resident, MiB | saved | saved while 60 are hot | stalled | stalled but for the jump"
        " | long stalls after it | slowest round, ms | delayed | control |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name in ARMS:
        own, base = figures[name], figures["none"]

        def median(key: str, own: Sequence[Mapping[str, float]] = own) -> float:
            return float(np.median([each[key] for each in own]))

        saved, small = (
            np.array([1.0 - a[key] / b[key] for a, b in zip(own, base, strict=True)])
            for key in ("resident", "resident_small")
        )
        rows.append(
            f"| {name} | {median('resident') / MIB:.0f} | {spread(saved):.1%} | {spread(small):.1%}"
            f" | {median('stalled'):.3%} | {median('stalled_without_jump'):.3%} | {median('long_stalls'):.0f}"
            f" | {median('slowest') * 1e3:.0f} | {median('delayed'):.3%} | {median('control'):.3%} |"
        )
    return "\n".join(rows)


if __name__ == "__main__":
    command()
