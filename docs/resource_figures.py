"""Draws the pictures of the resources, from the code that steers them: `python docs/resource_figures.py`.

That of the control group is of a recorded run. Prints the figures that the pages quote. The same code gives
the same files.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from simulated_resources import MIB, SimulatedJvm, SimulatedQueue

from quantum_control import GuardSettings, QuantumController
from quantum_control.core.shares import optimal_shares
from quantum_control.resources.heap_sizing import GIB, PRICE
from quantum_control.resources.jvm_heap import FLAG, JvmHeap
from quantum_control.resources.useful_connections import UsefulConnections
from quantum_control.simulation.plants import square_root_heap

PICTURES = Path(__file__).parent / "pictures"

RECORDED = Path(__file__).parent / "results" / "cgroups"
"""As `quantum-control bench memory-cgroup --pairs 1 --out docs/results/cgroups` has left it."""

CAPACITIES = {"fast": 100.0, "middle": 50.0, "slow": 25.0}
"""Requests per second of three servers."""

CORES = 4
IN_USE = 40.0
"""Connections in use."""

COMPETING = np.repeat([0.9, 0.2, 0.6], 20)
"""Part of those in use that compete for the server, in each interval."""

TARGET = 0.02
"""Seconds that a full queue shall take to drain."""

SLOW, FAST = 10e6 / 8, 100e6 / 8
"""Bytes per second of the line."""

QUEUE_INTERVAL = 0.2
"""Seconds."""

LINE = np.repeat([SLOW, FAST, SLOW], 50)

PROGRAM = [(60.0, 60.0), (60.0, 400.0), (300.0, 400.0), (300.0, 60.0), (60.0, 60.0)]
"""MiB of live data, and MiB allocated a second, of a program that goes through these phases."""

PHASE = 60
"""Intervals of one of them, of a second each."""

MOST_HEAP = 2048
"""MiB: -Xmx."""


def main(names: list[str]) -> None:
    """Draw the pictures of these names, all by default."""
    mpl.rcParams.update({"svg.hashsalt": "quantum_control", "svg.fonttype": "none", "font.size": 9})
    for name in names or DRAWN:
        DRAWN[name]().savefig(PICTURES / f"{name}.svg", metadata={"Date": None})


def loadbalancer() -> Figure:
    """Shares of unequal servers by utilisation, and what a request takes with them."""
    total = sum(CAPACITIES.values())
    loads = np.linspace(0.02, 0.97, 96)
    shares = {
        "equal": [dict.fromkeys(CAPACITIES, 1.0 / len(CAPACITIES)) for _ in loads],
        "by capacity": [{name: each / total for name, each in CAPACITIES.items()} for _ in loads],
        "as set here": [optimal_shares(CAPACITIES, float(load * total)) for load in loads],
    }
    figure = Figure(figsize=(7.5, 3.0), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name in CAPACITIES:
        left.plot(loads, [each[name] for each in shares["as set here"]], label=name)
    left.set_ylabel("share of the requests")
    left.legend(frameon=False)
    for way, each in shares.items():
        seconds = [_seconds(share, load * total) for share, load in zip(each, loads, strict=True)]
        right.plot(loads, 1e3 * np.array(seconds), label=way)
    right.set_ylim(0.0, 200.0)
    right.set_ylabel("mean time of a request, ms")
    right.legend(frameon=False, loc="center left")
    for panel in (left, right):
        panel.set_xlabel("rate over capacity")
    return figure


def _seconds(shares: dict[str, float], rate: float) -> float:
    """Mean over the requests of 1/(mu - lambda), M/M/1; nan where a server cannot keep up."""
    times = [
        share / (CAPACITIES[name] - share * rate) if share * rate < CAPACITIES[name] else np.nan
        for name, share in shares.items()
    ]
    return float(np.sum(times))


def connections() -> Figure:
    """Connections that are of use, as the part of them that competes for the server changes."""
    useful = UsefulConnections(CORES)
    limits = []
    for part in COMPETING:
        useful.observe(IN_USE, float(part * IN_USE))
        limits.append(useful.limit)
    figure = Figure(figsize=(7.5, 3.0), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    above.step(range(len(limits)), limits, where="post")
    above.set_ylim(bottom=0.0)
    above.set_ylabel("connections of use")
    below.step(range(len(limits)), COMPETING, where="post", color="0.5")
    below.set_ylim(0.0, 1.0)
    below.set_ylabel("part competing")
    below.set_xlabel("interval")
    return figure


# ---- a queue limit -----------------------------------------------------------------------------


def buffer() -> Figure:
    """Limit of a queue, steered and fixed, before a line that gets faster and slower; and the wait in it."""
    fixed = round(FAST * TARGET)
    queues = {}
    for name in ("steered", "fixed"):
        queue = SimulatedQueue(LINE.tolist(), TARGET, fixed, QUEUE_INTERVAL)
        guard = GuardSettings(slew_down=16.0, dead_band=0.02)
        controller = QuantumController(queue, interval=QUEUE_INTERVAL, guard=guard, clock=queue.clock)
        limits = []
        for _ in LINE:
            limits.append(queue.limit)
            if name == "steered":
                controller.optimize()
            else:
                queue.measure_state()
        queues[name] = (np.array(limits), np.array(queue.waits))
    figure = Figure(figsize=(7.5, 3.8), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    time = QUEUE_INTERVAL * np.arange(len(LINE))
    above.step(
        time, LINE * TARGET / 1e3, where="post", color="0.6", linestyle="--", label="what drains in 20 ms"
    )
    for name, (sizes, waits) in queues.items():
        above.step(time, sizes / 1e3, where="post", label=f"limit, {name}")
        below.step(time, 1e3 * waits, where="post", color=f"C{list(queues).index(name)}")
        late = waits > 1.1 * TARGET
        print(
            f"buffer.svg: {name}: p95 of the wait {1e3 * np.quantile(waits, 0.95):.1f} ms;"
            f" {late.sum()} of {len(late)} intervals above 22 ms"
        )
    for panel, marks in ((above, (25, 250)), (below, (2, 20, 200))):
        panel.set_yscale("log")
        panel.set_yticks(marks, [str(mark) for mark in marks])
        panel.minorticks_off()
    above.set_ylabel("limit, kB")
    above.legend(frameon=False, fontsize=8, loc="lower right")
    below.set_ylabel("wait in the queue, ms")
    below.set_xlabel("seconds")
    return figure


# ---- memory ------------------------------------------------------------------------------------


def memory() -> Figure:
    """Heap of a program whose live set and allocation change; and what heap and collecting cost."""
    worked: dict[str, list[float]] = {}
    heaps: dict[str, list[float]] = {}
    for name in ("steered", "-Xmx"):
        worked[name], heaps[name] = _steered_heap() if name == "steered" else _fixed_heap(MOST_HEAP)
    sizes = np.arange(400, MOST_HEAP, 10)
    best = min(sizes, key=lambda size: np.mean(_costs(*_fixed_heap(float(size)))))
    worked["best fixed"], heaps["best fixed"] = _fixed_heap(float(best))
    figure = Figure(figsize=(7.5, 3.8), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    live, rate = np.repeat(PROGRAM, PHASE, axis=0).T
    above.fill_between(range(len(live)), live, step="post", color="0.85", label="live data")
    right = square_root_heap(live, rate, 2000.0, PRICE * MIB / GIB)
    above.step(range(len(live)), right, where="post", color="0.6", linestyle="--", label="square-root rule")
    for index, name in enumerate(("steered", "best fixed", "-Xmx")):
        above.step(range(len(live)), heaps[name], where="post", color=f"C{index}", label=f"heap, {name}")
        costs = _costs(worked[name], heaps[name])
        below.plot(costs, color=f"C{index}", linewidth=1.0)
        print(
            f"memory.svg: {name}: mean heap {np.mean(heaps[name]):.0f} MiB, collecting"
            f" {np.mean(worked[name]):.3f} cores, cost {np.mean(costs):.3f}"
        )
    above.set_ylabel("MiB")
    above.set_ylim(0.0, 1.35 * MOST_HEAP)
    above.legend(frameon=False, fontsize=8, ncols=3, loc="upper left")
    below.set_ylabel("cost, cores")
    below.set_ylim(bottom=0.0)
    below.set_xlabel("seconds")
    return figure


def _allocations() -> list[tuple[float, float]]:
    """Live data and allocation of each second, in MiB; blocks of a MiB, at random."""
    random = np.random.default_rng(1)
    return [(live, float(blocks)) for live, rate in PROGRAM for blocks in random.poisson(rate, PHASE)]


def _steered_heap() -> tuple[list[float], list[float]]:
    jvm = SimulatedJvm(round(MOST_HEAP * MIB))
    controller = QuantumController(JvmHeap(jvm=jvm), "coherent", clock=jvm.heap.clock)
    worked, heaps, before = [], [], 0.0
    for live, allocated in _allocations():
        heaps.append(jvm.flag(FLAG) / MIB)
        jvm.advance(live * MIB, allocated * MIB)
        now = jvm.read().collector_seconds
        worked.append(now - before)
        before = now
        controller.optimize()
    return worked, heaps


def _fixed_heap(size: float) -> tuple[list[float], list[float]]:
    jvm = SimulatedJvm(round(size * MIB))
    total = [0.0]
    for live, allocated in _allocations():
        jvm.advance(live * MIB, allocated * MIB)
        total.append(jvm.read().collector_seconds)
    return np.diff(total).tolist(), [size] * (len(total) - 1)


def _costs(worked: list[float], heaps: list[float]) -> list[float]:
    """Cores of each second: those of the collector, and those that the heap is worth."""
    return [cores + PRICE * heap * MIB / GIB for cores, heap in zip(worked, heaps, strict=True)]


def cgroups() -> Figure:
    """Memory of a real group by arm, and how long its process took for a round, as recorded."""
    arms = {"none": "no limit", "senpai": "Senpai", "ours": "steered"}
    runs = {arm: json.loads((RECORDED / f"0000-{arm}.json").read_text()) for arm in arms}
    seconds = 0.5 * (1 + np.arange(len(runs["ours"]["usage"])))
    figure = Figure(figsize=(7.5, 3.8), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    above.fill_between(seconds, runs["ours"]["hot"], step="pre", color="0.85", label="working set")
    for colour, width, (arm, run) in zip(
        ("0.5", "tab:orange", "tab:blue"), (3, 2, 1.5), runs.items(), strict=True
    ):
        usage, slowest = np.array(run["usage"]) / MIB, 1e3 * np.array(run["slowest"])
        above.step(seconds, usage, where="pre", color=colour, linewidth=width, label=arms[arm])
        below.step(seconds, slowest, where="pre", color=colour, linewidth=width)
        small = np.array(run["hot"]) < max(run["hot"])
        print(
            f"cgroups.svg: {arm}: mean {usage.mean():.0f} MiB, {usage[small].mean():.0f} MiB while the set is"
            f" small, least {usage.min():.0f} MiB; slowest round {slowest.max():.0f} ms;"
            f" stalled {np.mean(run['stalled']):.3%}"
        )
    above.set_ylabel("MiB")
    above.set_ylim(0.0, 290.0)
    above.legend(frameon=False, fontsize=8, ncols=4, loc="upper left")
    below.set_yscale("log")
    below.set_yticks((1, 10, 100), ("1", "10", "100"))
    below.minorticks_off()
    below.set_ylabel("slowest round, ms")
    below.set_xlabel("seconds")
    return figure


DRAWN = {
    "loadbalancer": loadbalancer,
    "connections": connections,
    "buffer": buffer,
    "memory": memory,
    "cgroups": cgroups,
}
"""What is drawn, by the name of its file."""


if __name__ == "__main__":
    main(sys.argv[1:])
