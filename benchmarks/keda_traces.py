"""The scaler's own path on recorded loads, against the Kubernetes HPA's rule and Knative's panic window.

    python benchmarks/keda_traces.py [--model coherent] [--pods 20] [--out FILE]

Counts of 15 s make an interval (the minutes of one trace are split at random into four, as a Poisson process
would), scaled so that the mean load is that of `--pods` pods; a pod serves 60 s after it was ordered. What is
not served waits. A sample is a day: 5760 intervals after an epoch of history. Cost = 3 waiting + 1 pod +
0.3 pods changed, in pods and intervals. Shares are medians over paired days with bootstrap intervals of 95 %.
The bound is what a day costs at least, if all of it is known beforehand and pods come in fractions: a linear
programme.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.sparse import block_array, diags_array, eye_array

from quantum_control.core.physics import Objective
from quantum_control.fleet.scaler_run import EPOCH, Points, Runs
from quantum_control.fleet.scaler_target import Target
from quantum_control.simulation.loads import TRACES, trace, traces_directory
from quantum_control.simulation.peers import Hpa, Kpa
from quantum_control.simulation.plants.queues import FluidQueue
from quantum_control.simulation.rollout import rollout

Array = NDArray[np.float64]

INTERVAL, DELAY = 15.0, 4
DAY = 5760
RESAMPLES = 10_000
SERVER = "http://prometheus:9090"
PRICES = Objective()
COLUMNS = ("trace", "law", "days", "cost", "pods", "changes", "moved", "saved", "saved_low", "saved_high")


def days(name: str) -> Array:
    """Arrivals, each column a day after the epoch before it."""
    if name == "worldcup":
        minutes = trace(name, bin=1)[:, 0].astype(int)
        whole = np.random.default_rng(1).multinomial(minutes, [0.25] * 4).astype(float).ravel()
    else:
        whole = trace(name, bin=15)[:, 0]
    count = (len(whole) - EPOCH) // DAY
    return np.stack([whole[day * DAY : (day + 1) * DAY + EPOCH] for day in range(count)], axis=1)


def scaled(arrivals: Array, model: str, measured: bool) -> Array:
    """Replicas in force at each interval when the scaler sets them; with the backlog measured, or not."""
    steps, columns = arrivals.shape
    said = {"query": "load", "perPod": "1", "model": model, "startup": str(INTERVAL * DELAY)}
    if measured:
        said["backlog"] = "waits"
    rows = {i: Target.of("bench", f"{i}", said, {SERVER: None}) for i in range(columns)}
    runs, plant, first = Runs(), FluidQueue(delay=DELAY, interval=INTERVAL), 1000 * EPOCH
    sizes, waiting = np.zeros_like(arrivals), np.zeros_like(arrivals)
    order = np.maximum(np.ceil(arrivals[0]), 1.0)
    for step in range(steps):
        reading = plant.step(order, arrivals[step])
        sizes[step], waiting[step] = reading.size, reading.left * INTERVAL
        if step < EPOCH:
            order = np.maximum(np.ceil(1.4 * arrivals[step]), 1.0)
            continue
        if step == EPOCH:  # the scaler is started: an epoch of history in which somebody else steered
            order = runs.warm(rows, Points(arrivals[: EPOCH + 1], np.zeros((EPOCH + 1, columns))), first)
        else:
            order = runs.advance(first + step, rows, arrivals[step], waiting[step])
    return sizes


def charge(arrivals: Array, sizes: Array) -> tuple[Array, Array, Array, Array]:
    """Cost, changes a day, pods changed a day and pods of each day."""
    plant = FluidQueue()
    left = np.zeros_like(arrivals)
    for step in range(len(arrivals)):
        left[step] = plant.step(sizes[step], arrivals[step]).left
    left, sizes, before = left[EPOCH:], sizes[EPOCH:], sizes[EPOCH - 1 : -1]
    change = np.abs(sizes - before)
    cost = PRICES.waiting * left + PRICES.size * sizes + PRICES.change * change
    return cost.mean(axis=0), (change > 0.0).sum(axis=0), change.sum(axis=0), sizes.mean(axis=0)


def least(day: Array) -> float:
    """Mean cost of one day's arrivals if they are known beforehand.

    Of sizes u, backlogs b and changes up and down, all 0 or more: b_t >= b_{t-1} + arrivals_t - u_t and
    u_t - u_{t-1} = up_t - down_t, at the least sum of the prices; there is always a pod.
    """
    count = len(day)
    one, before = eye_array(count), diags_array([np.ones(count - 1)], offsets=[-1])
    nothing = 0.0 * one
    found = linprog(
        np.repeat([PRICES.size, PRICES.waiting, PRICES.change, PRICES.change], count),
        A_ub=block_array([[-one, before - one, nothing, nothing]], format="csr"),
        b_ub=-day,
        A_eq=block_array([[one - before, nothing, -one, one]], format="csr")[1:],
        b_eq=np.zeros(count - 1),
        bounds=[(1.0, None)] * count + [(0.0, None)] * (3 * count),
    )
    return float(found.fun) / count


def share(ours: Array, theirs: Array) -> tuple[float, float, float]:
    """Median of how much less ours is, day by day, with its interval."""
    saved = 1.0 - ours / theirs
    rng = np.random.default_rng(1)
    low, high = np.percentile(np.median(rng.choice(saved, (RESAMPLES, len(saved))), axis=1), [2.5, 97.5])
    return float(np.median(saved)), float(low), float(high)


def main() -> None:
    """Print a table for each trace, and what the traces have in common."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="coherent")
    parser.add_argument("--pods", type=float, default=20.0)
    parser.add_argument("--out", type=Path, help="CSV file to write")
    options = parser.parse_args()
    if traces_directory() is None:
        sys.exit("no folder of traces: set QC_TRACES")
    results: list[dict[str, object]] = []
    ratios: dict[str, list[float]] = {"hpa": [], "kpa": [], "bound": []}
    for name in TRACES:
        arrivals = days(name)
        arrivals *= options.pods / arrivals.mean()
        plant = {"delay": DELAY, "interval": INTERVAL}
        begin = np.maximum(np.ceil(1.4 * arrivals[0]), 1.0)
        sizes = {
            f"scaler, {options.model}": scaled(arrivals, options.model, measured=True),
            "the same, no backlog": scaled(arrivals, options.model, measured=False),
            "hpa": rollout(Hpa(), FluidQueue(**plant), arrivals, size=begin).sizes,
            "kpa": rollout(Kpa(), FluidQueue(**plant), arrivals, size=begin).sizes,
        }
        told = {law: charge(arrivals, each) for law, each in sizes.items()}
        nan = np.full(arrivals.shape[1], np.nan)
        told["bound"] = np.array([least(day) for day in arrivals[EPOCH:].T]), nan, nan, nan
        ours = next(iter(told.values()))[0]
        print(f"\n{name}: {arrivals.shape[1]} days, mean load {options.pods:g} pods")
        print(
            f"{'':24}{'cost':>8}{'pods':>8}{'changes a day':>15}{'pods changed a day':>20}  scaler cheaper by"
        )
        for law, (cost, changes, moved, pods) in told.items():
            saved = share(ours, cost)
            beside = "{:6.1%} [{:6.1%}, {:6.1%}]".format(*saved) if law in ratios else ""
            print(
                f"{law:24}{cost.mean():8.2f}{pods.mean():8.2f}{changes.mean():15.0f}"
                f"{moved.mean():20.0f}  {beside}",
                flush=True,
            )
            figures = (cost.mean(), pods.mean(), changes.mean(), moved.mean(), *saved)
            row = (name, law, arrivals.shape[1], *(round(float(each), 4) for each in figures))
            results.append(dict(zip(COLUMNS, row, strict=True)))
            if law in ratios:
                ratios[law].append(ours.mean() / cost.mean())
    for law, each in ratios.items():
        print(f"geometric mean over the traces: {1.0 - np.exp(np.mean(np.log(each))):.1%} below {law}")
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        with options.out.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(results)


if __name__ == "__main__":
    main()
