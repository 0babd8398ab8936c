"""What attaching the Prometheus exporter changes of a steered pool's throughput, in interleaved pairs.

    python benchmarks/exporter_cost.py [--pairs N]

The pool is under control throughout, and does the same tasks twice in a pair,
without the exporter and with it, in an order drawn anew. In every sixth pair
another process on the same machine scrapes it meanwhile. Prometheus scrapes
every 15 s by itself, which is one slice in thirty: the two medians are weighted
so. The tasks hash on twice as many threads as there are cores, so that whatever
time the exporter takes is missing from them. Slices are compared by elapsed
time and by this process' processor time, as in `pool_overhead.py`. What a
scrape costs this process is measured apart as well, with the pool idle. Twenty
minutes.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple
from urllib.parse import urlsplit

import numpy as np
from pool_overhead import SLICE, THREADS, Spent, interval, medians, spent, tasks_in, verdict

from quantum_control.core.controller import QuantumController
from quantum_control.monitoring.prometheus import export
from quantum_control.resources.adaptive import INTERVAL
from quantum_control.resources.executor import ResizableThreadPoolExecutor
from quantum_control.resources.threads import ThreadPoolResource

PAIRS = 1000
SCRAPED = 6
"""One pair in so many is scraped."""
USUAL = 15.0
"""Seconds between two scrapes of Prometheus by default."""
SCRAPES = 500
"""With the pool idle."""
TARGET = 0.001

SCRAPER = """
import http.client, sys, time
for line in sys.stdin:
    host, after, times = line.split()
    time.sleep(float(after))
    connection = http.client.HTTPConnection(host)
    for _ in range(int(times)):
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        assert answer.status == 200 and b"quantum_control_size" in answer.read()
    connection.close()
    print("done", flush=True)
"""


class Scraper:
    """Another process that scrapes when told to, as Prometheus would."""

    def __init__(self) -> None:
        command = [sys.executable, "-c", SCRAPER]
        self._process = subprocess.Popen(  # noqa: S603 - ourselves
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def scrape(self, url: str, after: float, times: int = 1) -> None:
        """Have the exporter scraped in so many seconds, so many times in a row."""
        assert self._process.stdin
        self._process.stdin.write(f"{urlsplit(url).netloc} {after} {times}\n")

    def done(self) -> None:
        """Wait until that has been done."""
        assert self._process.stdout
        if self._process.stdout.readline() != "done\n":
            raise SystemExit("the scraper has failed")

    def close(self) -> None:
        """End it."""
        self._process.communicate()


@contextmanager
def scraping() -> Iterator[Scraper]:
    """Give a scraper, and end it."""
    scraper = Scraper()
    try:
        yield scraper
    finally:
        scraper.close()


class Pair(NamedTuple):
    """What the same tasks took."""

    without: Spent
    attached: Spent


def attached(
    pool: ResizableThreadPoolExecutor,
    controller: QuantumController,
    tasks: int,
    scraper: Scraper | None,
) -> Spent:
    """What the tasks take with the exporter, which is scraped meanwhile if there is a scraper."""
    with export(controller, port=0) as exporter:
        if scraper is None:
            return spent(pool, tasks)
        scraper.scrape(exporter.url, SLICE / 4)
        took = spent(pool, tasks)
        scraper.done()
        return took


def measure(
    pool: ResizableThreadPoolExecutor, controller: QuantumController, pairs: int, scraper: Scraper
) -> dict[bool, list[Pair]]:
    """Pairs that were scraped, and that were not."""
    tasks = tasks_in(pool, SLICE)
    rng = np.random.default_rng(1)
    found: dict[bool, list[Pair]] = {True: [], False: []}
    for number in range(pairs):
        scraped = number % SCRAPED == 0
        took = {}
        for with_it in rng.permutation([False, True]).tolist():
            asked = scraper if scraped else None
            took[with_it] = attached(pool, controller, tasks, asked) if with_it else spent(pool, tasks)
        found[scraped].append(Pair(took[False], took[True]))
    return found


def print_ratios(found: dict[bool, list[Pair]]) -> None:
    """Print the throughput with the exporter over that without."""
    share = SLICE / USUAL
    for what in Spent._fields:
        idle, scraped = (
            medians(
                [getattr(pair.without, what) for pair in found[kind]],
                [getattr(pair.attached, what) for pair in found[kind]],
            )
            for kind in (False, True)
        )
        print(f"by {what} time:")
        for name, each in (
            ("attached, not scraped", idle),
            (f"scraped every {SLICE:g} s", scraped),
            (f"scraped every {USUAL:g} s", (1.0 - share) * idle + share * scraped),
        ):
            ratio = interval(each)
            print(f"  {name:24}{ratio}; less than {TARGET:.1%} lost: {verdict(ratio, 1.0 - TARGET)}")


def per_scrape(controller: QuantumController, scraper: Scraper) -> float:
    """Processor seconds of this process for one scrape, with nothing else to do."""
    with export(controller, port=0) as exporter:
        before = time.process_time()
        scraper.scrape(exporter.url, 0.0, SCRAPES)
        scraper.done()
        return (time.process_time() - before) / SCRAPES


def main() -> None:
    """Run the pairs and print the ratios, and what a scrape costs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=PAIRS, help="default: %(default)s")
    pairs = parser.parse_args().pairs
    if pairs <= 2 * SCRAPED:
        parser.error(f"--pairs {pairs}: an interval needs more than {2 * SCRAPED}")
    with scraping() as scraper, ResizableThreadPoolExecutor(THREADS) as pool:
        resource = ThreadPoolResource(pool=pool, min_threads=THREADS, max_threads=THREADS)
        controller = QuantumController(resource, interval=INTERVAL)
        with controller:
            found = measure(pool, controller, pairs, scraper)
        cost = per_scrape(controller, scraper)
    print(
        f"throughput with the exporter over that without;"
        f" medians of {len(found[False])} interleaved pairs and {len(found[True])} that were scraped"
        " [95 % bootstrap interval]"
    )
    print_ratios(found)
    share = cost / USUAL
    print(
        f"a scrape of one pool costs {cost * 1e3:.2f} ms of processor time, mean of {SCRAPES}: every"
        f" {USUAL:g} s that is {share:.4%} of a core"
    )


if __name__ == "__main__":
    main()
