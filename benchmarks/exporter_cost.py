"""What attaching the Prometheus exporter changes of a steered pool's throughput, in interleaved slices.

    python benchmarks/exporter_cost.py [--triples N]

The pool is under control throughout, and does the same tasks three times in an
order drawn anew: without the exporter, with it attached, and with it scraped
once meanwhile by another process on the same machine. Prometheus scrapes every
15 s by itself, which is one slice in thirty: what is lost at that rate is
weighted so, triple by triple. The tasks hash on twice as many threads as there
are cores, so that whatever time the exporter takes is missing from them. Slices
are compared by elapsed time and by this process' processor time, as in
`pool_overhead.py`. What a scrape costs this process is measured apart as well,
with the pool idle. Some twenty minutes.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import urlsplit

import numpy as np
from pool_overhead import SLICE, THREADS, Ratio, Spent, ratio, spent, tasks_in, verdict

from quantum_control.core.controller import QuantumController
from quantum_control.monitoring.prometheus import export
from quantum_control.resources.adaptive import INTERVAL
from quantum_control.resources.executor import ResizableThreadPoolExecutor
from quantum_control.resources.threads import ThreadPoolResource

TRIPLES = 800
USUAL = 15.0
"""Seconds between two scrapes of Prometheus by default."""
SCRAPES = 500
"""With the pool idle."""
TARGET = 0.001
WITHOUT, ATTACHED, SCRAPED = KINDS = ("without", "attached", "scraped")

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


def slice_of(
    kind: str, pool: ResizableThreadPoolExecutor, controller: QuantumController, tasks: int, scraper: Scraper
) -> Spent:
    """What the tasks take under control, in one of three ways."""
    if kind == WITHOUT:
        return spent(pool, tasks)
    with export(controller, port=0) as exporter:
        if kind == ATTACHED:
            return spent(pool, tasks)
        scraper.scrape(exporter.url, SLICE / 4)
        took = spent(pool, tasks)
        scraper.done()
        return took


def measure(
    pool: ResizableThreadPoolExecutor, controller: QuantumController, triples: int, scraper: Scraper
) -> dict[str, list[Spent]]:
    """What the tasks took in each way; the order is drawn anew for each triple."""
    tasks = tasks_in(pool, SLICE)
    rng = np.random.default_rng(1)
    found: dict[str, list[Spent]] = {kind: [] for kind in KINDS}
    for _ in range(triples):
        for kind in rng.permutation(KINDS):
            found[kind].append(slice_of(kind, pool, controller, tasks, scraper))
    return found


def at_the_usual_rate(attached: Sequence[float], scraped: Sequence[float]) -> np.ndarray:
    """What the slices take on average if one is scraped every `USUAL` seconds."""
    share = np.mean(scraped) / USUAL
    return (1.0 - share) * np.asarray(attached) + share * np.asarray(scraped)


def print_ratios(found: dict[str, list[Spent]]) -> None:
    """Print the throughput of each way over that without the exporter."""
    for what in Spent._fields:
        took = {kind: [getattr(each, what) for each in found[kind]] for kind in KINDS}
        compared = {
            "attached, not scraped": ratio(took[WITHOUT], took[ATTACHED]),
            f"scraped every {SLICE:g} s, about": ratio(took[WITHOUT], took[SCRAPED]),
            f"scraped every {USUAL:g} s": ratio(
                took[WITHOUT], at_the_usual_rate(took[ATTACHED], took[SCRAPED])
            ),
        }
        print(f"by {what} time:")
        for name, each in compared.items():
            print(f"  {name:30} {each}  {changed(each)}")


def changed(found: Ratio) -> str:
    """Whether it is certain that less than `TARGET` is lost."""
    return f"less than {TARGET:.1%} lost: {verdict(found, 1.0 - TARGET)}"


def per_scrape(controller: QuantumController, scraper: Scraper) -> float:
    """Processor seconds of this process for one scrape, with nothing else to do."""
    with export(controller, port=0) as exporter:
        before = time.process_time()
        scraper.scrape(exporter.url, 0.0, SCRAPES)
        scraper.done()
        return (time.process_time() - before) / SCRAPES


def main() -> None:
    """Run the triples and print the ratios, and what a scrape costs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--triples", type=int, default=TRIPLES, help="default: %(default)s")
    triples = parser.parse_args().triples
    if triples < 2:
        parser.error(f"--triples {triples}: an interval needs 2 or more")
    with scraping() as scraper, ResizableThreadPoolExecutor(THREADS) as pool:
        resource = ThreadPoolResource(pool=pool, min_threads=THREADS, max_threads=THREADS)
        controller = QuantumController(resource, interval=INTERVAL)
        with controller:
            found = measure(pool, controller, triples, scraper)
        cost = per_scrape(controller, scraper)
    print(
        f"throughput with the exporter over that without;"
        f" median of {triples} interleaved triples [95 % bootstrap interval]"
    )
    print_ratios(found)
    share = cost / USUAL
    print(
        f"a scrape of one pool costs {cost * 1e3:.2f} ms of processor time, mean of {SCRAPES}: every"
        f" {USUAL:g} s that is {share:.4%} of a core"
    )


if __name__ == "__main__":
    main()
