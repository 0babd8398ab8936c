"""Throughput of a thread pool under control over that of the same pool left alone, in interleaved pairs.

The size is pinned, so that the ratio is what measuring and deciding cost and
not what a better size gains. The tasks hash, which holds no interpreter lock,
on twice as many threads as there are cores: all cores are busy all the time,
so that whatever time the control takes is missing from the tasks. About two
minutes.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import os
import threading
import time
from concurrent.futures import wait

import numpy as np

from quantum_control.core.controller import QuantumController
from quantum_control.resources.adaptive import INTERVAL
from quantum_control.resources.executor import ResizableThreadPoolExecutor
from quantum_control.resources.threads import ThreadPoolResource

THREADS = 2 * (os.cpu_count() or 1)
PAIRS = 60
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


def seconds(pool: ResizableThreadPoolExecutor, tasks: int) -> float:
    """Time that the pool takes for so many tasks, collections of garbage left to before and after."""
    gc.collect()
    gc.disable()
    try:
        begun = time.perf_counter()
        wait([pool.submit(task) for _ in range(tasks)])
        return time.perf_counter() - begun
    finally:
        gc.enable()


def controlled(pool: ResizableThreadPoolExecutor, tasks: int, tune: bool) -> tuple[float, float]:
    """Time that it takes under control, and the control's processor seconds meanwhile."""
    resource = ThreadPoolResource(pool=pool, min_threads=THREADS, max_threads=THREADS)
    with QuantumController(resource, auto_tune=tune, interval=INTERVAL):
        clock = time.pthread_getcpuclockid(_thread(resource).ident or 0)
        cpu = time.clock_gettime(clock)
        elapsed = seconds(pool, tasks)
        return elapsed, time.clock_gettime(clock) - cpu


def _thread(resource: ThreadPoolResource) -> threading.Thread:
    """Thread of the one controller there is."""
    name = f"quantum_control({type(resource).__name__})"
    return next(thread for thread in threading.enumerate() if thread.name == name)


def compare(tune: bool, pairs: int) -> str:
    """One line: the ratio, and the control's share of the processor."""
    ratios, shares = [], []
    with ResizableThreadPoolExecutor(THREADS) as pool:
        seconds(pool, 200)  # starts the threads
        tasks = max(1, round(200 * SLICE / seconds(pool, 200)))
        for pair in range(pairs):
            if pair % 2:
                under, cpu = controlled(pool, tasks, tune)
                alone = seconds(pool, tasks)
            else:
                alone = seconds(pool, tasks)
                under, cpu = controlled(pool, tasks, tune)
            ratios.append(alone / under)
            shares.append(cpu / under)
    rng = np.random.default_rng(0)
    resampled = np.median(rng.choice(ratios, (RESAMPLES, pairs)), axis=1)
    low, high = np.percentile(resampled, (2.5, 97.5))
    median = float(np.median(ratios))
    verdict = ", ".join(
        f"{name} {bound}: {'met' if median >= bound else 'MISSED'}"
        + (" (within the error)" if low < bound <= high else "")
        for name, bound in (("target", TARGET), ("criterion", CRITERION))
    )
    return (
        f"{'self-tuning' if tune else 'plain':<12} {median:.4f} [{low:.4f}, {high:.4f}] ({verdict}); "
        f"control's CPU {np.mean(shares):.3%} of a core"
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
        print(compare(tune, pairs), flush=True)


if __name__ == "__main__":
    main()
