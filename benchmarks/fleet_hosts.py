"""What hosts with a hundred resources each cost, and whether a thousand cost a thousand times that.

    python benchmarks/fleet_hosts.py [--hosts N] [--steps N] [--out FILE]

Measures the step of one host's resources (controllers of their own, and an
array), its page for Prometheus, and an exchange with the ledger of a shared
budget among more and more members. Then steps a simulated fleet, every host
with its resources, its page and its part of a budget, in one process, and holds
its processor time and memory against the extrapolation. Prints JSON.
"""

from __future__ import annotations

import argparse
import gc
import gzip
import json
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from quantum_control import QuantumController, Resource, ResourceState
from quantum_control.core.controller import HISTORY
from quantum_control.fleet.array import ResourceArray
from quantum_control.fleet.guard import RowGuard
from quantum_control.fleet.ledger import Ledger, Member
from quantum_control.fleet.stores import read, written
from quantum_control.monitoring.prometheus import ControllerCollector

RESOURCES = 100
"""On each host."""
WARM_UP = 5
EXCHANGE_MEMBERS = (10, 100, 1000)
LEVEL = 40.0
PAGE = 4096


class Busy(Resource):
    """A fluid queue under Poisson work."""

    max_size = 500

    def __init__(self, seed: int) -> None:
        self._work = np.random.default_rng(seed).poisson(LEVEL, 64).astype(float).tolist()
        self._size, self._queue, self._step = 50, 0.0, 0

    def measure_state(self) -> ResourceState:
        """Take in the work of an interval."""
        demand = self._queue + self._work[self._step % 64]
        self._step += 1
        self._queue = max(demand - self._size, 0.0)
        return ResourceState.from_demand(demand, size=self._size)

    def apply_control(self, new_size: int) -> None:
        """Take the size as it is."""
        self._size = new_size

    def get_metrics(self) -> dict[str, float]:
        """Return what a pool of threads would."""
        return {"throughput": LEVEL, "wait_seconds": 0.01, "service_seconds": 0.05}


class Host:
    """A host's resources in an array, and its part of a budget of sizes."""

    def __init__(self, name: str, seed: int) -> None:
        self.name = name
        self.array = ResourceArray(RESOURCES, guard=RowGuard(2, 500))
        self._work = np.random.default_rng(seed).poisson(LEVEL, (8, RESOURCES)).astype(np.float32)
        self._held = 0

    def step(self, now: int, ledger: Ledger) -> None:
        """Step the resources, and say what they want."""
        sizes = self.array.step(float(now), self._work[now % 8], 50.0 if now == 0 else np.nan)
        asks = Member(10**9, RESOURCES, int(sizes.sum()), 1.0, 15.0)
        self._held = ledger.exchange(self.name, asks, self._held, float(now))


def resident() -> int:
    """Bytes that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def timed(work: Callable[[], object], times: int) -> float:
    """Median processor time of a call, seconds."""
    seconds = []
    for _ in range(times):
        began = time.process_time()
        work()
        seconds.append(time.process_time() - began)
    return statistics.median(seconds)


def fresh(work: Callable[..., dict[str, float]], *arguments: int) -> dict[str, float]:
    """Do it in a process of its own: memory that was given back before would not be seen to grow."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as one:
        return one.submit(work, *arguments).result()


def of_one_host(steps: int) -> dict[str, float]:
    """Figures of one host with controllers, and with an array."""
    now = [0.0]
    controllers = [QuantumController(Busy(seed), clock=lambda: now[0]) for seed in range(RESOURCES)]
    collector = ControllerCollector()

    def step() -> None:
        now[0] += 1.0
        for controller in controllers:
            controller.optimize()

    for _ in range(WARM_UP):
        step()
    for number, controller in enumerate(controllers):
        collector.add(controller, f"pool-{number}")
    page = collector.exposition()
    series = sum(len(family.samples) for family in text_string_to_metric_families(page.decode()))
    host, ledger = Host("one", 1), Ledger(opens=0.0)
    for interval in range(WARM_UP):
        host.step(interval, ledger)
    ticks = iter(range(WARM_UP, WARM_UP + steps))
    return {
        "controllers_step_s": timed(step, steps),
        "array_step_s": timed(lambda: host.step(next(ticks), ledger), steps),
        "page_s": timed(collector.exposition, max(steps // 5, 5)),
        "page_bytes": len(page),
        "page_gzip_bytes": len(gzip.compress(page, 6)),
        "series": series,
        "array_state_bytes": host.array.nbytes,
        "controller_bytes": of_a_controller(),
    }


def of_a_controller(count: int = 300) -> float:
    """Bytes that a controller holds once its histories are full."""
    now = [0.0]
    gc.collect()
    tracemalloc.start()
    controllers = [QuantumController(Busy(1), clock=lambda: now[0]) for _ in range(count)]
    for _ in range(HISTORY + 1):
        now[0] += 1.0
        for controller in controllers:
            controller.optimize()
    gc.collect()
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return held / count


def of_the_ledger(steps: int) -> list[dict[str, float]]:
    """An exchange, with reading and writing the ledger, among more and more members."""
    found = []
    for count in EXCHANGE_MEMBERS:
        ledger = Ledger(opens=0.0)
        for number in range(count):
            ledger.exchange(f"{number:032x}", Member(100 * count, 10, 150, 1.0, 15.0), 0, 0.0)
        text = written(ledger)

        def exchange(text: str = text) -> None:
            ledger = read(text)
            ledger.exchange(f"{0:032x}", Member(100 * len(ledger.members), 10, 150, 1.0, 15.0), 100, 0.1)
            written(ledger)

        found.append({"members": count, "bytes": len(text), "exchange_s": timed(exchange, steps)})
    return found


def of_a_fleet(hosts: int, steps: int) -> dict[str, float]:
    """Processor time and memory of a simulated fleet; its ledger is cut into budgets of a hundred members."""
    Host("first", 0).step(0, Ledger())  # whatever is loaded on first use
    gc.collect()
    before = resident()
    fleet = [Host(f"host-{number}", number) for number in range(hosts)]
    ledgers = [Ledger(opens=0.0) for _ in range(-(-hosts // 100))]
    seconds = []
    for interval in range(WARM_UP + steps):
        began = time.process_time()
        for number, host in enumerate(fleet):
            host.step(interval, ledgers[number // 100])
        seconds.append(time.process_time() - began)
    return {
        "hosts": hosts,
        "resources": hosts * RESOURCES,
        "interval_s": statistics.median(seconds[WARM_UP:]),
        "bytes_per_host": (resident() - before) / hosts,
    }


def main() -> None:
    """Print every figure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hosts", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=30, help="timed intervals")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    options = parser.parse_args()
    one = of_one_host(options.steps)
    few, many = (fresh(of_a_fleet, hosts, options.steps) for hosts in (options.hosts // 10, options.hosts))
    found = {
        "python": sys.version.split()[0],
        "numpy": np.__version__,
        "resources_per_host": RESOURCES,
        "one_host": one,
        "ledger": of_the_ledger(options.steps),
        "fleet_tenth": few,
        "fleet": many,
        "fleet_over_extrapolation": many["interval_s"] / (10.0 * few["interval_s"]),
    }
    text = json.dumps(found, indent=2)
    print(text)
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
