"""What one step of the control costs: time, share of a core, memory.

    python benchmarks/step_cost.py [--steps N] [--memory-steps N] [--seconds S]

The resource's own work is measured on a twin of it, in turn with the steps,
and subtracted. The laws take turns as well, so that what else the machine does
meets all of them alike. Exits with 1 if memory grows; times depend on the
machine and are printed beside their targets.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable
from functools import partial

import numpy as np

from quantum_control import QuantumController, Resource, ResourceState
from quantum_control.core.runner import Runner

LAWS = ("optomechanical", "parametric", "coherent")
TARGET_MICROSECONDS = {False: 25.0, True: 100.0}
"""Median of `optimize()` without and with auto-tuning."""
TARGET_SHARE = 0.001
"""Of one core, at 10 Hz."""
ALLOWED_GROWTH = 16384
"""Bytes over all steps: counters that outgrow the interpreter's small integers are no leak, nor are its free
lists and numpy's, which fill up ever more slowly. An object left behind in each step would be a hundred
times that."""
WARM_UP = 1500
"""Steps after which every window is full and every table is made."""
ROUND = 500
"""Steps of one law before it is the next one's turn."""


class Queue(Resource):
    """A fluid queue under bursts of Poisson work."""

    def __init__(self, seed: int = 1) -> None:
        rng = np.random.default_rng(seed)
        levels = np.repeat(rng.uniform(10.0, 100.0, 200), 50)
        self.arrivals = [float(work) for work in rng.poisson(levels)]
        self.size = 50
        self.queue = 0.0
        self.step = 0

    def measure_state(self) -> ResourceState:
        """Take in the work of one step."""
        demand = self.queue + self.arrivals[self.step % len(self.arrivals)]
        self.step += 1
        self.queue = max(demand - self.size, 0.0)
        return ResourceState.from_demand(demand, size=self.size)

    def apply_control(self, new_size: int) -> None:
        """Take the size as it is."""
        self.size = new_size

    def get_metrics(self) -> dict[str, float]:
        """Report what the demand's knee is found from."""
        return {"throughput": min(float(self.size), self.arrivals[self.step % len(self.arrivals)])}


class Bench:
    """One law on one queue, on a clock that ticks once a step."""

    def __init__(self, law: str, auto_tune: bool, interval: float = 1.0) -> None:
        self.law, self.auto_tune = law, auto_tune
        self.now = 0.0
        self.twin = Queue()
        self.controller = QuantumController(Queue(), law, auto_tune, interval=interval, clock=self.clock)
        self.steps: list[int] = []
        self.own: list[int] = []

    def clock(self) -> float:
        """Tick."""
        self.now += self.controller.interval
        return self.now

    def run(self, steps: int) -> None:
        """Take steps without looking at the time."""
        for _ in range(steps):
            self.controller.optimize()

    def measure(self, steps: int) -> None:
        """Time each step, and each piece of work that the resource does in it."""
        now, optimize, twin = time.perf_counter_ns, self.controller.optimize, self.twin
        for _ in range(steps):
            begin = now()
            optimize()
            middle = now()
            twin.measure_state()
            twin.get_metrics()
            end = now()
            self.steps.append(middle - begin)
            self.own.append(end - middle)

    def figures(self) -> tuple[float, float, float]:
        """Median and 99th percentile of a step without the resource's own work, and that; microseconds."""
        own = float(np.median(self.own)) / 1e3
        median, late = np.percentile(self.steps, [50, 99]) / 1e3
        return float(median) - own, float(late) - own, own


def print_times(steps: int) -> None:
    """Print the time of a step of each law."""
    benches = [Bench(law, auto_tune) for auto_tune in (False, True) for law in LAWS]
    for bench in benches:
        bench.run(WARM_UP)
    for _ in range(max(1, steps // ROUND)):
        for bench in benches:
            bench.measure(ROUND)
    print("time of optimize(), the resource's own work subtracted; microseconds")
    print(f"{'law':16}{'auto_tune':>10}{'median':>9}{'p99':>9}{'resource':>10}{'target (median)':>17}")
    for bench in benches:
        median, late, own = bench.figures()
        target = TARGET_MICROSECONDS[bench.auto_tune]
        verdict = "met" if median <= target else "MISSED"
        print(
            f"{bench.law:16}{bench.auto_tune!s:>10}{median:9.1f}{late:9.1f}{own:10.1f}"
            f"{f'{target:.0f}, {verdict}':>17}"
        )


class Sleeper:
    """A thread that wakes up every `interval` seconds and does nothing: no loop in Python costs less."""

    def __init__(self, interval: float) -> None:
        self.interval = interval
        self.stopping = False
        self.thread = threading.Thread(target=self.sleep)
        self.start = self.thread.start

    def sleep(self) -> None:
        """Sleep again and again."""
        while not self.stopping:
            time.sleep(self.interval)

    def stop(self) -> None:
        """End after the sleep under way."""
        self.stopping = True
        self.thread.join()


def cpu_share(start: Callable[[], object], stop: Callable[[], object], seconds: float) -> float:
    """Share of one core that this process uses while nothing but the loop runs."""
    start()
    wall, used = time.perf_counter(), time.process_time()
    threading.Event().wait(seconds)
    share = (time.process_time() - used) / (time.perf_counter() - wall)
    stop()
    return share


def print_share(seconds: float) -> None:
    """Print the share of a core of a loop at 10 Hz, beside those that do nothing.

    A step that is taken ten times a second finds the processor's caches cold, and costs several times
    what it does in a row.
    """
    print(f"\nshare of one core at 10 Hz, over {seconds:g} s; target below {TARGET_SHARE:.1%}")
    asleep = Sleeper(0.1)
    print(f"  {'a thread that only sleeps':32}{cpu_share(asleep.start, asleep.stop, seconds):9.4%}")
    idle = Runner(lambda: None, lambda: None, 0.1, "idle")
    baseline = cpu_share(idle.start, partial(idle.stop, restore=False), seconds)
    print(f"  {'our loop, doing nothing':32}{baseline:9.4%}")
    for auto_tune in (False, True):
        bench = Bench(LAWS[0], auto_tune, interval=0.1)
        bench.run(WARM_UP)
        share = cpu_share(bench.controller.start, bench.controller.stop, seconds)
        verdict = "met" if share < TARGET_SHARE else "MISSED"
        print(f"  {f'{LAWS[0]}, auto_tune={auto_tune}':32}{share:9.4%}  {verdict}")


def print_growth(steps: int) -> bool:
    """Print how much memory more each law holds after many steps; whether any does."""
    print(f"\ngrowth of memory, bytes held; target none (up to {ALLOWED_GROWTH} bytes)")
    grown = False
    for law, auto_tune in [*((law, False) for law in LAWS), (LAWS[0], True)]:
        bench = Bench(law, auto_tune)
        tracemalloc.start()
        bench.run(WARM_UP)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        bench.run(steps)
        gc.collect()
        growth = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        grown |= growth > ALLOWED_GROWTH
        verdict = "GROWS" if growth > ALLOWED_GROWTH else "none"
        print(f"  {law:16}auto_tune={auto_tune!s:6} {growth:+8d} over {steps} steps  {verdict}")
    return grown


def main() -> int:
    """Print every figure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=5000, help="timed steps of each law")
    parser.add_argument(
        "--memory-steps", type=int, default=100_000, help="steps over which memory is watched"
    )
    parser.add_argument("--seconds", type=float, default=5.0, help="length of each run at 10 Hz")
    options = parser.parse_args()
    python, load = sys.version.split()[0], os.getloadavg()[0]
    print(f"Python {python}, {os.cpu_count()} cores, load {load:.1f} (a busy machine is slower)\n")
    print_times(options.steps)
    print_share(options.seconds)
    return int(print_growth(options.memory_steps))


if __name__ == "__main__":
    sys.exit(main())
