"""What attaching the Prometheus exporter changes of a steered pool's throughput, in interleaved pairs.

    python benchmarks/exporter_cost.py [--pairs N]

Both halves of a pair are under control; in one the exporter is attached, and
scraped by another process every second, fifteen times as often as Prometheus
does by itself. The tasks hash on twice as many threads as there are cores, so
that whatever time the exporter takes, and the scraper on the same machine, is
missing from them. Pairs are compared by elapsed time and by this process'
processor time, as in `pool_overhead.py`. What a scrape costs this process is
measured apart as well, with the pool idle. Some nine minutes.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from urllib.parse import urlsplit

import numpy as np
from pool_overhead import THREADS, Spent, ratio, spent, tasks_in, verdict

from quantum_control.core.controller import QuantumController
from quantum_control.monitoring.prometheus import export
from quantum_control.resources.adaptive import INTERVAL
from quantum_control.resources.executor import ResizableThreadPoolExecutor
from quantum_control.resources.threads import ThreadPoolResource

PAIRS = 120
SLICE = 2.0
"""Seconds, about, that one half of a pair takes."""
EVERY = 1.0
"""Seconds between two scrapes in the pairs."""
USUAL = 15.0
"""Seconds between two of Prometheus', for the share."""
SCRAPES = 500
"""With the pool idle."""
TARGET = 0.001

SCRAPER = """
import http.client, sys, time
host, every, most = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
connection = http.client.HTTPConnection(host)
while most:
    connection.request("GET", "/metrics")
    answer = connection.getresponse()
    assert answer.status == 200 and b"quantum_control_size" in answer.read()
    most -= 1
    time.sleep(every)
"""


def scraper(url: str, every: float, most: int) -> subprocess.Popen[bytes]:
    """Scrape from another process, over one connection, as Prometheus does; -1 is for ever."""
    command = [sys.executable, "-c", SCRAPER, urlsplit(url).netloc, str(every), str(most)]
    return subprocess.Popen(command)  # noqa: S603 - ourselves


@contextmanager
def attached(controller: QuantumController) -> Iterator[None]:
    """Attach the exporter, and have it scraped."""
    with export(controller, port=0) as exporter:
        process = scraper(exporter.url, EVERY, -1)
        try:
            time.sleep(0.2)  # the interpreter's start is not the exporter's
            yield
            assert process.poll() is None, "the scraper has failed"
        finally:
            process.kill()
            process.wait()


def half(pool: ResizableThreadPoolExecutor, controller: QuantumController, tasks: int, on: bool) -> Spent:
    """What the tasks take under control, with or without the exporter."""
    with attached(controller) if on else nullcontext():
        return spent(pool, tasks)


def measure(
    pool: ResizableThreadPoolExecutor, controller: QuantumController, pairs: int
) -> dict[bool, list[Spent]]:
    """What the tasks took with and without the exporter; the order is drawn anew for each pair."""
    tasks = tasks_in(pool, SLICE)
    rng = np.random.default_rng(1)
    found: dict[bool, list[Spent]] = {True: [], False: []}
    for _ in range(pairs):
        first = bool(rng.integers(2))
        for on in (first, not first):
            found[on].append(half(pool, controller, tasks, on))
    return found


def per_scrape(controller: QuantumController) -> float:
    """Processor seconds of this process for one scrape, with nothing else to do."""
    with export(controller, port=0) as exporter:
        process = scraper(exporter.url, 0.0, SCRAPES)
        before = time.process_time()
        if process.wait(120):
            raise SystemExit("the scraper has failed")
        return (time.process_time() - before) / SCRAPES


def main() -> None:
    """Run the pairs and print the ratio, and what a scrape costs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=PAIRS, help="default: %(default)s")
    pairs = parser.parse_args().pairs
    if pairs < 2:
        parser.error(f"--pairs {pairs}: an interval needs 2 pairs or more")
    with ResizableThreadPoolExecutor(THREADS) as pool:
        resource = ThreadPoolResource(pool=pool, min_threads=THREADS, max_threads=THREADS)
        controller = QuantumController(resource, interval=INTERVAL)
        with controller:
            found = measure(pool, controller, pairs)
        cost = per_scrape(controller)
    print(
        f"throughput with the exporter scraped every {EVERY:g} s over that without;"
        f" median of {pairs} interleaved pairs [95 % bootstrap interval]:"
    )
    for what in Spent._fields:
        compared = ratio(*([getattr(each, what) for each in found[on]] for on in (False, True)))
        print(
            f"  by {what + ' time':15} {compared}; less than {TARGET:.1%} lost:"
            f" {verdict(compared, 1.0 - TARGET)}"
        )
    share = cost / USUAL
    print(
        f"a scrape of one pool costs {cost * 1e3:.2f} ms of processor time, mean of {SCRAPES}: every"
        f" {USUAL:g} s that is {share:.4%} of a core; less than {TARGET:.1%}:"
        f" {'met' if share < TARGET else 'MISSED'}"
    )


if __name__ == "__main__":
    main()
