"""A JVM at work that can be stopped, and whose own time then stands still."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import time
from bisect import bisect_right
from collections.abc import Sequence
from math import inf

import numpy as np

from quantum_control.bench.allocator import END_SECONDS, SOURCE, Load, classes, java
from quantum_control.core.errors import ConfigError, SensorError
from quantum_control.resources.jvm_local import WANTED
from quantum_control.simulation.traffic import FloatArray
from quantum_control.sources import hsperfdata

TICKS = "sun.os.hrt.ticks"

MOMENTS = (TICKS, ".lastExitTime")
"""How the names of counters end that hold a moment: nanoseconds since the JVM began to count."""

PATIENCE = 30.0
"""Seconds beyond its own that a load may take."""


class Service:
    """`bench/java/Allocator.java`, that lives over many loads; stopped at first.

    A process that is stopped (SIGSTOP) does nothing, its collector included,
    but time goes on in its counters. `counters` has them less what the stops
    took, so that nobody who measures sees any of it.

    Parameters
    ----------
    options
        Of the JVM.
    requests
        Per second.

    Raises
    ------
    ConfigError
        Java or setpriv is not installed, or Java does not take the options.
    """

    def __init__(self, options: Sequence[str], requests: float) -> None:
        executable = java()
        if executable is None:
            raise ConfigError(
                "java is not installed; scripts/install-servers installs openjdk-17-jdk-headless"
            )
        if shutil.which("setpriv") is None:
            raise ConfigError("setpriv is not installed; install util-linux")
        # Killed with us: what is stopped could not end by itself.
        command = ["setpriv", "--pdeathsig", "KILL", "--", executable, *options, "-cp", classes().name]
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            [*command, SOURCE.stem, "-", f"{requests:g}", "1"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.pid = self._process.pid
        self._counters = hsperfdata.Counters(self.pid, WANTED)
        self._began = inf  # nanoseconds on the monotonic clock at which the JVM began to count
        self._stops: list[int] = []  # nanoseconds on the monotonic clock
        self._lost: list[int] = [0]  # by the number of stops before: nanoseconds that they took
        said = self._line(PATIENCE)
        if said != "ready":
            self.close()
            raise ConfigError(f"java did not start: {said or 'it said nothing'}")
        self.halt()

    def go(self) -> None:
        """Let it go on."""
        now = time.monotonic_ns()
        os.kill(self.pid, signal.SIGCONT)
        self._lost.append(self._lost[-1] + now - self._stops[-1])

    def halt(self) -> None:
        """Stop it, wherever it is."""
        os.kill(self.pid, signal.SIGSTOP)
        self._stops.append(time.monotonic_ns())

    def serve(self, load: Load, seed: int) -> None:
        """Begin with a load; `seed` is of the times at which requests are due."""
        assert self._process.stdin is not None  # noqa: S101 - for the type checker
        try:
            self._process.stdin.write(f"{seed} {load.seconds:g} {load.live:g} {load.rate:g}\n".encode())
            self._process.stdin.flush()
        except OSError as error:
            raise SensorError(f"the allocating program has ended: {error}") from error

    def served(self, timeout: float) -> FloatArray | None:
        """When each request of the load was due, and how long it took (s, rows); None if it is under way.

        Waits for `timeout` seconds at most.

        Raises
        ------
        SensorError
            The program has failed; the message has what it said.
        """
        assert self._process.stdout is not None  # noqa: S101 - for the type checker
        if not select.select([self._process.stdout], [], [], timeout)[0]:
            return None
        said = self._line(PATIENCE)
        try:
            rows: FloatArray = np.array(said.split(), dtype=np.float64).reshape(-1, 2) * 1e-6
        except ValueError:
            raise SensorError(f"the allocating program failed: {said[:300]}") from None
        if not rows.size:
            raise SensorError("the allocating program has served nothing, or has ended")
        return rows

    def counters(self) -> dict[str, int | str]:
        """The JVM's counters, all moments among them on its own time; raises `SensorError`."""
        found = self._counters.read()
        ticks = found.get(TICKS)
        if not isinstance(ticks, int):
            raise SensorError(f"this JVM has no counter {TICKS}: a version is needed that has it, such as 17")
        # It counts every 50 ms: the least difference is that of a reading right after.
        self._began = min(self._began, time.monotonic_ns() - ticks)
        return {
            name: self._own(value) if isinstance(value, int) and name.endswith(MOMENTS) else value
            for name, value in found.items()
        }

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait(END_SECONDS)
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                try:
                    stream.close()
                except OSError:
                    continue  # what was written last has nobody to read it

    def _own(self, moment: int) -> int:
        """Take what the stops before it took off a moment of the JVM."""
        before = bisect_right(self._stops, moment + self._began)
        # Of a stop that is under way nothing is lost yet: nothing is counted in it either.
        return moment - self._lost[min(before, len(self._lost) - 1)]

    def _line(self, timeout: float) -> str:
        """Next line that it says; empty if it has ended, or says nothing for so long (s)."""
        assert self._process.stdout is not None  # noqa: S101 - for the type checker
        if not select.select([self._process.stdout], [], [], timeout)[0]:
            return ""
        return self._process.stdout.readline().decode().strip()
