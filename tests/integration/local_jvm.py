"""A real JVM that runs the allocating program of the benchmark."""

from __future__ import annotations

import shutil
import subprocess
import time
from contextlib import contextmanager

import pytest
from integration.requirements import require

from quantum_control.bench.allocator import Allocator, java
from quantum_control.bench.server_process import free_port

WAY = "scripts/install-servers installs it (openjdk-17-jdk-headless)"

MIB = 2**20


@contextmanager
def allocating(*phases, options=("-XX:+UseZGC",), maximum="512m", warm=True):
    """Start a program that allocates in `phases` (seconds, live MiB, MiB/s); it ends with the block."""
    require(java(), f"java 11 or later is not installed; {WAY}")
    program = Allocator(phases, options=(*options, f"-Xmx{maximum}"), requests=100.0)
    try:
        if warm:
            program.go()
        yield program
    finally:
        program.close()


@contextmanager
def busy(*, over_jmx=False):
    """Start a JVM with ZGC, 400 MiB of heap and a load; with JMX at its `url` if asked for."""
    options = ["-XX:+UseZGC", "-XX:SoftMaxHeapSize=400m"]
    port = free_port() if over_jmx else 0
    if over_jmx:
        options = jmx_options(port)
    with allocating((120.0, 60.0, 150.0), options=options) as program:
        program.url = f"jmx://127.0.0.1:{port}" if over_jmx else None
        yield program


def jmx_options(port, **properties):
    """Options of a JVM with ZGC and 400 MiB of heap that offers JMX on this port of 127.0.0.1."""
    named = {
        "port": port,
        "rmi.port": port,
        "host": "127.0.0.1",
        "authenticate": "false",
        "ssl": "false",
    } | properties
    options = [f"-Dcom.sun.management.jmxremote.{name}={value}" for name, value in named.items()]
    return ["-XX:+UseZGC", "-XX:SoftMaxHeapSize=400m", "-Djava.rmi.server.hostname=127.0.0.1", *options]


def steps_until(condition, step, most=80):
    """Take steps until the condition holds; a bounded number of them."""
    for _ in range(most):
        step()
        if condition():
            return
        time.sleep(0.1)
    pytest.fail(f"not within {most} steps")


def jcmd(pid, *words):
    """Ask as an operator would, by the JDK's own tool."""
    require(shutil.which("jcmd"), f"jcmd is not installed; {WAY}")
    answer = subprocess.run(  # noqa: S603 - a test's own words
        ["jcmd", str(pid), *words],  # noqa: S607 - from the PATH, as an operator's
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return answer.stdout


def flag_by_jcmd(pid, name="SoftMaxHeapSize"):
    """Value of a flag as the JDK's own tool prints it."""
    words = jcmd(pid, "VM.flags", "-all").split()
    return int(words[words.index(name) + 2])
