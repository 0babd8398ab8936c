"""A real JVM that runs the allocating program of the benchmark."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import contextmanager

from integration.requirements import require

from quantum_control.bench.allocator import Allocator, java

WAY = "scripts/install-servers installs it (openjdk-17-jdk-headless)"


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
