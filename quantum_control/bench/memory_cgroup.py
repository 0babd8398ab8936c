"""`quantum-control bench memory-cgroup`: a control group whose working set changes, steered in pairs."""

from __future__ import annotations

import json
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import click
import numpy as np

from quantum_control.bench.memory_bed import WorkingSet
from quantum_control.bench.settings import keep_settings
from quantum_control.bench.spread import MARKS, spread
from quantum_control.bench.together import run_together
from quantum_control.core.controller import QuantumController
from quantum_control.core.errors import ConfigError
from quantum_control.resources.cgroup_memory import CgroupMemory
from quantum_control.sources.cgroups import FILES, MemoryGroup
from quantum_control.sources.pressure import Pressure
from quantum_control.terminal import AS_JSON, examples, print_json

MIB = 1 << 20

TOTAL, SMALL = 200, 60
"""Working set in MiB: of the first and last phase, and of the one between."""

INTERVAL = 0.5
"""Seconds between steps, of every arm."""

PHASES = ((TOTAL, 0.25), (SMALL, 0.5), (TOTAL, 0.25))
"""Working set, and its share of the run."""

LONG_STALL = 0.01
"""Share of an interval above which a stall counts as long."""


class Arm(ABC):
    """What sets the group's limit; one step an interval."""

    @abstractmethod
    def step(self) -> None:
        """Measure and set."""

    @abstractmethod
    def close(self) -> None:
        """Put the limit back."""


class Limit(Arm):
    """A limit that stands where it was put; nothing where there is none."""

    def __init__(self, group: MemoryGroup, limit: int | None) -> None:
        self._file = group.folder / FILES[group.version][1]
        self._found = self._file.read_text()
        if limit is not None:
            self.set(limit)

    def set(self, limit: int) -> None:
        """Set it; what cannot be taken at once leaves it as it is."""
        try:
            self._file.write_text(str(limit))
        except OSError:
            return

    def step(self) -> None:
        """Nothing."""

    def close(self) -> None:
        """Put back what was found."""
        self._file.write_text(self._found)


class Senpai(Limit):
    """As Senpai (Weiner et al. 2022; facebookincubator/senpai), with its published constants.

    Each interval with a stall above 10 ms a second grows the limit by
    min((stall/10 ms/20)², 1); after six quiet ones it shrinks by
    min((1 - stall/10 ms)·0.01, 0.01). The floor of 100 MB is left out: it is half of the working set here.
    """

    TARGET, BACK_OFF, SHRINK, QUIET = 0.010, 20.0, 0.01, 6

    def __init__(self, group: MemoryGroup) -> None:
        super().__init__(group, None)
        self._usage = group.folder / FILES[group.version][0]
        self._pressure = Pressure(group.pressure)
        self._last = self._pressure.read().some
        self._limit = int(self._usage.read_text())
        self._quiet = 0
        self._grace = 0.0
        self.set(self._limit)

    def step(self) -> None:
        """One interval has passed."""
        total = self._pressure.read().some
        stall, self._last = (total - self._last) / INTERVAL, total
        if stall > self.TARGET:
            self._limit = round(self._limit * (1.0 + min((stall / self.TARGET / self.BACK_OFF) ** 2, 1.0)))
            self._quiet, self._grace = 0, 0.0
        else:
            self._quiet += 1
            self._grace += stall
            if self._quiet < self.QUIET:
                return
            error = max(0.0, 1.0 - self._grace / self.TARGET)
            self._limit = round(self._limit * (1.0 - self.SHRINK * error**2))
            self._quiet, self._grace = 0, 0.0
        self.set(self._limit)


class Ours(Arm):
    """CgroupMemory under a controller."""

    def __init__(self, pid: int) -> None:
        self._controller = QuantumController(CgroupMemory(pid), interval=INTERVAL)

    def step(self) -> None:
        """One interval has passed."""
        self._controller.optimize()

    def close(self) -> None:
        """Put the limit back."""
        self._controller.stop()


ARMS = ("none", "fixed", "senpai", "ours")
"""`fixed` is the best in hindsight: the least that the largest working set fits into."""


def start(name: str, process: WorkingSet, full: int) -> Arm:
    """Start an arm on a process whose largest working set takes `full` bytes."""
    if name == "ours":
        return Ours(process.pid)
    if name == "senpai":
        return Senpai(process.group)
    return Limit(process.group, full if name == "fixed" else None)


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
    if pairs < 1 or seconds < 20.0:
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
