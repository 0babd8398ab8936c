"""Throughput of a thread pool under control over that of the same pool left alone, in interleaved pairs.

    python benchmarks/pool_overhead.py [--pairs N]

The size is pinned, so that the ratio is what measuring and deciding cost and
not what a better size gains. The tasks hash, which holds no interpreter lock,
on twice as many threads as there are cores: all cores are busy all the time,
so that whatever time the control takes is missing from the tasks.

Each pair is compared by tasks per second, and by tasks per second of processor
time. Where all cores are busy the two are the same, but for what other
programs take of the clock's time: the second is several times as exact. About
seven minutes.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import wait
from typing import NamedTuple

import numpy as np

from quantum_control.core.controller import QuantumController
from quantum_control.core.resource import Resource
from quantum_control.resources.adaptive import INTERVAL
from quantum_control.resources.executor import ResizableThreadPoolExecutor
from quantum_control.resources.threads import ThreadPoolResource

THREADS = 2 * (os.cpu_count() or 1)
PAIRS = 200
SLICE = 0.5
"""Seconds, about, that one half of a pair takes: five steps of the control."""
DATA = bytes(1 << 18)
"""What one task hashes; some 200 µs."""
RESAMPLES = 10_000
TARGET = 0.999
CRITERION = 0.99


def task() -> bytes:
    """Hash."""
    return hashlib.sha256(DATA).digest()


class Spent(NamedTuple):
    """What some tasks took, in seconds."""

    elapsed: float
    processor: float
    """Of all threads of this process."""


def spent(pool: ResizableThreadPoolExecutor, tasks: int) -> Spent:
    """Have the pool do so many tasks, collections of garbage left to before and after."""
    gc.collect()
    gc.disable()
    try:
        begun, used = time.perf_counter(), time.process_time()
        wait([pool.submit(task) for _ in range(tasks)])
        return Spent(time.perf_counter() - begun, time.process_time() - used)
    finally:
        gc.enable()


def tasks_in(pool: ResizableThreadPoolExecutor, duration: float) -> int:
    """Tasks that the pool does in so many seconds, about; its threads are started."""
    spent(pool, 200)
    return max(1, round(200 * duration / spent(pool, 200).elapsed))


class Ratio(NamedTuple):
    """Median of paired ratios of throughput, and its 95 % bootstrap interval."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.4f} [{self.low:.4f}, {self.high:.4f}]"


def medians(alone: Sequence[float], under: Sequence[float]) -> np.ndarray:
    """Median of the throughput of `under` over that of `alone`, and then RESAMPLES of it by the bootstrap.

    From the times that the same tasks took, in pairs.
    """
    ratios = np.asarray(alone) / np.asarray(under)
    rng = np.random.default_rng(0)
    resampled = [np.median(rng.choice(ratios, ratios.size)) for _ in range(RESAMPLES)]
    return np.array([np.median(ratios), *resampled])


def interval(medians: np.ndarray) -> Ratio:
    """The first one, with the interval of the rest."""
    low, high = np.percentile(medians[1:], (2.5, 97.5))
    return Ratio(float(medians[0]), float(low), float(high))


def ratio(alone: Sequence[float], under: Sequence[float]) -> Ratio:
    """Throughput of `under` over that of `alone`, from the times that the same tasks took, in pairs."""
    return interval(medians(alone, under))


def verdict(found: Ratio, bound: float) -> str:
    """Whether the ratio is at least the bound."""
    return "met" if found.low >= bound else "MISSED" if found.high < bound else "not decided"


def controlled(
    pool: ResizableThreadPoolExecutor, tasks: int, controller: QuantumController
) -> tuple[Spent, float]:
    """What the tasks take under control, and the control's processor seconds meanwhile."""
    with controller:
        clock = time.pthread_getcpuclockid(_thread(controller.resource).ident or 0)
        cpu = time.clock_gettime(clock)
        took = spent(pool, tasks)
        return took, time.clock_gettime(clock) - cpu


def _thread(resource: Resource) -> threading.Thread:
    """Thread of the one controller there is."""
    name = f"quantum_control({type(resource).__name__})"
    return next(thread for thread in threading.enumerate() if thread.name == name)


def compare(tune: bool, pairs: int) -> None:
    """Print the ratios, and the control's share of the processor."""
    alone, under, control = [], [], 0.0
    with ResizableThreadPoolExecutor(THREADS) as pool:
        tasks = tasks_in(pool, SLICE)
        resource = ThreadPoolResource(pool=pool, min_threads=THREADS, max_threads=THREADS)
        controller = QuantumController(resource, auto_tune=tune, interval=INTERVAL)
        controlled(pool, 10 * tasks, controller)  # its first steps fill windows and tables
        for pair in range(pairs):
            for with_it in (True, False) if pair % 2 else (False, True):
                if with_it:
                    took, cpu = controlled(pool, tasks, controller)
                    under.append(took)
                    control += cpu
                else:
                    alone.append(spent(pool, tasks))
    share = control / sum(each.elapsed for each in under)
    print(f"{'self-tuning' if tune else 'plain'}: the control took {share:.3%} of a core")
    for what in Spent._fields:
        found = ratio([getattr(each, what) for each in alone], [getattr(each, what) for each in under])
        print(
            f"  by {what + ' time':15} {found}; target {TARGET}: {verdict(found, TARGET)},"
            f" criterion {CRITERION}: {verdict(found, CRITERION)}",
            flush=True,
        )


def main() -> None:
    """Run the pairs and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--pairs", type=int, default=PAIRS, help="pairs for each of the two (default: %(default)s)"
    )
    pairs = parser.parse_args().pairs
    if pairs < 2:
        parser.error(f"--pairs {pairs}: an interval needs 2 pairs or more")
    print(
        f"Throughput with control over without, {THREADS} threads, a step every {INTERVAL:g} s;\n"
        f"median of {pairs} interleaved pairs [95 % bootstrap interval]:"
    )
    for tune in (False, True):
        compare(tune, pairs)


if __name__ == "__main__":
    main()
