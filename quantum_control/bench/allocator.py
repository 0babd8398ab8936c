"""Runs `java/Allocator.java`: a service whose live set and allocation rate change in phases."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np

from quantum_control.core.errors import ConfigError
from quantum_control.simulation.traffic import FloatArray

SOURCE = Path(__file__).parent / "java" / "Allocator.java"

END_SECONDS = 30.0
"""For a program that was told to end."""

LAST_SECONDS = 5.0
"""For one that does not answer any more, if that is because it ends."""


class Load(NamedTuple):
    """One phase."""

    seconds: float
    live: float
    """Data that stay, MiB."""
    rate: float
    """Allocation, MiB per second."""


def java() -> str | None:
    """Where `java` is; None if it, or its compiler, is not installed."""
    return shutil.which("java") if shutil.which("javac") else None


@cache
def classes() -> tempfile.TemporaryDirectory[str]:
    """Where the compiled program is: compiling it in each JVM would be part of what is measured."""
    folder = tempfile.TemporaryDirectory(prefix="quantum-control-java-")
    subprocess.run(  # noqa: S603 - our own program
        [str(shutil.which("javac")), "-d", folder.name, str(SOURCE)], check=True, timeout=120
    )
    return folder


class Allocator:
    """The program, started and waiting for `go()`.

    Parameters
    ----------
    phases
        What it is to do.
    options
        Of the JVM.
    requests
        Per second.
    seed
        Of the times at which requests are due.
    latencies
        File for them; None to keep none.

    Raises
    ------
    ConfigError
        Java is not installed, or does not take the options.
    """

    def __init__(
        self,
        phases: Sequence[Load | tuple[float, float, float]],
        *,
        options: Sequence[str] = (),
        requests: float = 200.0,
        seed: int = 1,
        latencies: Path | None = None,
    ) -> None:
        executable = java()
        if executable is None:
            raise ConfigError(
                "java is not installed; scripts/install-servers installs openjdk-17-jdk-headless"
            )
        words = [":".join(f"{number:g}" for number in phase) for phase in phases]
        place = "-" if latencies is None else str(latencies)
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            [
                executable,
                *options,
                "-cp",
                classes().name,
                SOURCE.stem,
                place,
                f"{requests:g}",
                str(seed),
                *words,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.pid = self._process.pid
        said: list[str] = []
        while line := self._line():
            if line == "ready":
                return
            said.append(line)
        self.close()
        raise ConfigError(f"java did not start: {' '.join(said) or 'it said nothing'}")

    def go(self) -> None:
        """Begin the first phase."""
        assert self._process.stdin is not None  # noqa: S101 - for the type checker
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def ends(self) -> bool:
        """Whether it has ended, or is about to: a JVM stops answering some time before it is gone."""
        try:
            self._process.wait(timeout=LAST_SECONDS)
        except subprocess.TimeoutExpired:
            return False
        return True

    def wait(self) -> None:
        """Wait until it has done what it was to do.

        Raises
        ------
        ConfigError
            It ended badly, as for want of memory; the message has the end of what it said.
        """
        said, _ = self._process.communicate(timeout=END_SECONDS)
        if self._process.returncode:
            raise ConfigError(f"the allocating program failed: {said.strip()[-300:]}")

    def close(self) -> None:
        """End it."""
        if self.running:
            self._process.terminate()
        try:
            self._process.wait(timeout=END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _line(self) -> str:
        assert self._process.stdout is not None  # noqa: S101 - for the type checker
        return self._process.stdout.readline().strip()


def read_latencies(path: Path) -> FloatArray:
    """Rows of phase, seconds at which a request was due, and seconds that it took.

    Raises
    ------
    ConfigError
        The file is not what the program writes.
    """
    try:
        rows: FloatArray = np.loadtxt(path, ndmin=2) * np.array([1.0, 1e-6, 1e-6])
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} has no latencies of the allocating program ({error})") from None
    return rows
