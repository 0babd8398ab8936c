"""What a step of many resources in one process costs: time on one core, memory, and how both grow.

    python benchmarks/fleet_step.py [--rows N ...] [--steps N] [--out FILE]

Demand is Poisson about levels that jump now and then, drawn beforehand. One core:
numpy's library for matrices is told to use no threads. Memory is what the process holds
more after the steps than before. Prints a table, and writes CSV with --out.
"""

from __future__ import annotations

import argparse
import csv
import gc
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from quantum_control.fleet.array import ResourceArray
from quantum_control.fleet.guard import RowGuard

CASES = (("optomechanical", False), ("coherent", False), ("parametric", False), ("optomechanical", True))
TARGET_SECONDS = {False: 0.1, True: 1.0}
"""For a step of TARGET_ROWS, without and with tuning."""
TARGET_ROWS = 100_000
TARGET_BYTES = 200
WARM_UP = {False: 320, True: 70}
"""Steps before any is timed, without and with tuning: every counter has come round, and a law that
looks for periods has enough to look at."""
COURSE = 64
"""Intervals of demand that are drawn, and gone through again and again."""
COLUMNS = ("law", "auto_tune", "rows", "median_s", "worst_s", "us_per_row", "state_bytes", "process_bytes")


def resident() -> int:
    """Bytes that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def measure(law: str, auto_tune: bool, rows: int, steps: int) -> dict[str, object]:
    """Time steps of `rows` resources."""
    rng = np.random.default_rng(1)
    levels = np.repeat(rng.uniform(5.0, 100.0, (COURSE // 8, rows)), 8, axis=0)
    demand = rng.poisson(levels).astype(np.float32)
    del levels
    ResourceArray(1, law, auto_tune).step(0.0, 1.0, 1.0)  # whatever is loaded on first use
    gc.collect()
    before = resident()
    array = ResourceArray(rows, law, auto_tune, guard=RowGuard(np.full(rows, 2), np.full(rows, 500)))
    seconds = []
    for step in range(WARM_UP[auto_tune] + steps):
        flow = demand[step % COURSE]
        began = time.process_time()
        array.step(float(step), flow, 50.0 if step == 0 else np.nan)
        seconds.append(time.process_time() - began)
    held = resident() - before
    timed = seconds[WARM_UP[auto_tune] :]
    return dict(
        zip(
            COLUMNS,
            (
                law,
                auto_tune,
                rows,
                round(float(np.median(timed)), 5),
                round(max(timed), 5),
                round(float(np.median(timed)) / rows * 1e6, 3),
                round(array.nbytes / rows, 1),
                round(held / rows),
            ),
            strict=True,
        )
    )


def main() -> None:
    """Print every figure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--steps", type=int, default=64, help="timed steps of each")
    parser.add_argument("--out", type=Path, help="CSV file to write")
    options = parser.parse_args()
    results = []
    print(
        f"{'law':16}{'tuned':>6}{'rows':>9}{'median':>10}{'worst':>10}{'us/row':>9}{'state':>8}{'process':>9}"
    )
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # read by the processes below as they begin
    for law, auto_tune in CASES:
        for rows in options.rows:
            # A fresh process for each: memory that another case has given back would not be seen to grow.
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
                found = fresh.submit(measure, law, auto_tune, rows, options.steps).result()
            results.append(found)
            verdict = ""
            if rows == TARGET_ROWS:
                met = float(str(found["median_s"])) <= TARGET_SECONDS[auto_tune]
                small = float(str(found["process_bytes"])) <= TARGET_BYTES
                verdict = f"  time {'met' if met else 'MISSED'}, memory {'met' if small else 'MISSED'}"
            print(
                f"{law:16}{auto_tune!s:>6}{rows:9d}{found['median_s']:9.4f}s{found['worst_s']:9.4f}s"
                f"{found['us_per_row']:9.3f}{found['state_bytes']:8.0f}{found['process_bytes']:9d}{verdict}",
                flush=True,
            )
    print(f"\nPython {sys.version.split()[0]}, numpy {np.__version__}; processor time; bytes are a row's")
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        with options.out.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(results)


if __name__ == "__main__":
    main()
