"""`quantum-control bench memory`: heaps of a real JVM, in pairs."""

from __future__ import annotations

import os
import tempfile
import time
from functools import partial
from pathlib import Path

import click
import numpy as np

from quantum_control.bench.allocator import Allocator, Load, read_latencies
from quantum_control.bench.memory_arms import ARMS, INTERVAL, SOFT, start
from quantum_control.bench.memory_results import Results, Run, place, write
from quantum_control.bench.settings import keep_settings
from quantum_control.bench.spread import MARKS
from quantum_control.bench.together import run_together
from quantum_control.core.errors import ActuatorError, ConfigError, SensorError
from quantum_control.resources.jvm_heap import FLAG
from quantum_control.resources.jvm_local import LocalJvm
from quantum_control.terminal import AS_JSON, examples, print_json

PHASES = {
    "small, quiet": (60.0, 60.0),
    "small, busy": (60.0, 400.0),
    "large, busy": (300.0, 300.0),
    "large, quiet": (300.0, 60.0),
}
"""Live set, MiB, and allocation, MiB per second. Busy is what program and collector sustain beside each
other on two cores."""

PRICE = 0.5
"""Cores that one GiB is worth here, more than `heap_sizing.PRICE`: a machine that is short of memory, on
which collecting is frequent enough for short phases to have many collections."""

MAXIMUM = "-Xmx1600m"
"""Five times the largest live set: what an owner who is unsure gives it."""

OPTIONS = ("-XX:+UseZGC", MAXIMUM, "-XX:ZUncommitDelay=1")

SAMPLE = 0.25
"""Seconds between two readings of the heap."""


@click.command(
    "memory", epilog=examples("bench memory --out results", "bench memory --pairs 5 --out results --json")
)
@click.option("--pairs", default=30, show_default=True, help="Runs of every arm on the same requests.")
@click.option("--phase-seconds", default=6.0, show_default=True, help="Length of each of the four phases.")
@click.option("--price", default=PRICE, show_default=True, help="Cores that one GiB is worth.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder for the raw data. A run that was interrupted goes on where it was.",
)
@click.option(
    "--seed", default=1, show_default=True, help="Of the requests, the phases and the order of the arms."
)
@click.option("--jobs", default=1, show_default=True, type=click.IntRange(1), help="Runs at the same time.")
@AS_JSON
def command(
    pairs: int, phase_seconds: float, price: float, out: Path, seed: int, jobs: int, as_json: bool
) -> None:
    """Compare the control with fixed heaps and its peers, on a real JVM.

    Each pair runs every arm, in an order drawn anew, through the same requests
    and phases, also in an order drawn anew: a small or a large live set, with
    much or little allocation. Needs Java: scripts/install-servers.
    """
    if pairs < 1 or not phase_seconds >= 2.0 or not price > 0.0:
        raise ConfigError("--pairs needs 1 or more, --phase-seconds 2 or more, --price more than 0")
    out.mkdir(parents=True, exist_ok=True)
    keep_settings(out, {"phase_seconds": phase_seconds, "price": price, "seed": seed, "jobs": jobs})
    runs = []
    for pair in range(pairs):
        for name in np.random.default_rng((seed, pair)).permutation(ARMS).tolist():
            if not place(out, pair, name).exists():
                made = partial(_make, place(out, pair, name), name, phase_seconds, price, (seed, pair))
                runs.append((f"pair {pair + 1} of {pairs}: {name}", made))
    run_together(runs, jobs, lambda name: click.echo(name, err=True))
    results = Results(out, ARMS, pairs, price)
    if as_json:
        print_json(results.as_json(list(SOFT)))
        return
    click.echo(
        f"{len(results.pairs)} pairs, 4 phases of {phase_seconds:g} s, {os.cpu_count()} cores, {MAXIMUM},"
        f" a GiB worth {price:g} cores, runs at the same time: {jobs}."
        f" Median over pairs {MARKS}.\n"
    )
    click.echo(results.table(list(SOFT)))


def _make(path: Path, name: str, phase_seconds: float, price: float, seed: tuple[int, int]) -> None:
    """Run one arm of one pair, and keep it."""
    write(path, run_arm(name, phase_seconds, price, seed))


def run_arm(name: str, phase_seconds: float, price: float, seed: tuple[int, int]) -> Run:
    """Run one arm through the phases of one pair, in the order that the seed gives them."""
    rng = np.random.default_rng((*seed, 0))
    order = [list(PHASES)[index] for index in rng.permutation(len(PHASES)).tolist()]
    loads = [Load(phase_seconds, *PHASES[phase]) for phase in order]
    options = [*OPTIONS, f"-XX:{FLAG}={SOFT[name]}m"] if name in SOFT else OPTIONS
    rows: list[tuple[float, ...]] = []
    with tempfile.TemporaryDirectory() as folder:
        latencies = Path(folder) / "latencies"
        with Allocator(loads, options=options, seed=int(rng.integers(2**31)), latencies=latencies) as program:
            jvm = LocalJvm(program.pid)
            steering = start(name, program.pid, price)
            program.go()
            began, step_at = time.monotonic(), INTERVAL
            # To the very end: who is late has as much left to do as who is not.
            while program.running:
                now = time.monotonic() - began
                try:
                    reading = jvm.read()
                    spent = reading.collector_seconds, reading.pause_seconds
                    rows.append((now, reading.used, reading.committed, *spent))
                    if now >= step_at:
                        step_at += INTERVAL
                        steering.step()
                except (ActuatorError, SensorError):
                    if not program.ends():
                        raise  # a run that is measured in part is none
                    break
                time.sleep(max(0.0, SAMPLE - (time.monotonic() - began - now)))
            seconds = time.monotonic() - began
            program.wait()
        served = read_latencies(latencies)
    return Run(
        phases=order,
        phase_seconds=phase_seconds,
        samples=np.array(rows),
        requests=served.astype(np.float32),
        control_cpu=steering.cost / seconds,
    )
