"""What a connection over JMX costs a JVM, and what asking takes: `python benchmarks/jmx_idle.py [ROUNDS]`.

Rounds of 20 s of a JVM that waits (ZGC): without a connection, connected and not asked, and measured
once a second, in an order that turns.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from quantum_control.bench.allocator import Allocator
from quantum_control.bench.server_process import free_port
from quantum_control.resources.jvm_heap import FLAG
from quantum_control.resources.jvm_remote import RemoteJvm

SECONDS = 20.0
WAYS = ("not connected", "connected, not asked", "measured once a second")
TIMED = 200
"""Measurements of which the time is taken."""


def options(port: int) -> list[str]:
    """Of a JVM that offers JMX on a port of 127.0.0.1."""
    jmx = {"port": port, "rmi.port": port, "host": "127.0.0.1", "authenticate": "false", "ssl": "false"}
    named = [f"-Dcom.sun.management.jmxremote.{name}={value}" for name, value in jmx.items()]
    return ["-XX:+UseZGC", "-Xmx256m", "-Djava.rmi.server.hostname=127.0.0.1", *named]


def spent(pid: int) -> tuple[float, int]:
    """Processor milliseconds of a process so far, by its scheduler statistics, and its threads now."""
    tasks = list(Path(f"/proc/{pid}/task").iterdir())
    # Of threads that end in between the time is lost; RMI's end after idle minutes.
    return sum(int((each / "schedstat").read_text().split()[0]) for each in tasks) / 1e6, len(tasks)


@contextmanager
def connection(url: str):
    """Measure once, and stay connected."""
    jvm = RemoteJvm(url)
    jvm.read()
    yield jvm
    jvm.close()


def one(way: str, url: str, pid: int) -> tuple[float, int]:
    """Processor milliseconds of 20 s, and threads at their end."""
    if way == WAYS[0]:
        before, _ = spent(pid)
        time.sleep(SECONDS)
    else:
        with connection(url) as jvm:
            time.sleep(1.0)  # what connecting starts is not of the idle time
            before, _ = spent(pid)
            until = time.monotonic() + SECONDS
            while time.monotonic() < until:
                if way == WAYS[2]:
                    jvm.read()
                    jvm.flag(FLAG)
                time.sleep(1.0)
            after, threads = spent(pid)
            return after - before, threads
    after, threads = spent(pid)
    return after - before, threads


def main(rounds: int) -> None:
    """Print medians and the range of the rounds."""
    port = free_port()
    url = f"jmx://127.0.0.1:{port}"
    with Allocator(((1.0, 10.0, 1.0),), options=options(port)) as program:
        with connection(url):
            pass  # the first starts what stays for the next ones
        found: dict[str, list[tuple[float, int]]] = {way: [] for way in WAYS}
        for number in range(rounds):
            for way in (*WAYS[number % 3 :], *WAYS[: number % 3]):
                time.sleep(2.0)  # what the last one leaves behind is not of this one
                found[way].append(one(way, url, program.pid))
        print(f"{rounds} rounds of {SECONDS:g} s, {os.cpu_count()} cores, a waiting JVM with ZGC:")
        for way, figures in found.items():
            cpu = [each for each, _ in figures]
            threads = sorted({count for _, count in figures})
            print(
                f"{way}: {statistics.median(cpu):.1f} ms of processor time [{min(cpu):.1f}, {max(cpu):.1f}]"
                f" ({statistics.median(cpu) / SECONDS / 10.0:.3f} % of a core), threads {threads}"
            )
        with connection(url) as jvm:
            seconds = []
            for _ in range(TIMED):
                began = time.perf_counter()
                jvm.read()
                jvm.flag(FLAG)
                seconds.append(time.perf_counter() - began)
        cut = statistics.quantiles(seconds, n=20)
        print(
            f"a measurement (six requests): median {1e3 * statistics.median(seconds):.2f} ms,"
            f" 95th percentile {1e3 * cut[-1]:.2f} ms, of {TIMED}"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
