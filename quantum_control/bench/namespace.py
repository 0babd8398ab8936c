"""A network namespace of our own, gone with the process that made it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import IO, Self, TypeVar

from quantum_control.core.errors import ConfigError
from quantum_control.resources.netns import enter_new_netns

T = TypeVar("T")

COMMAND_SECONDS = 20.0
"""Longest that a configuring command may take."""

KILL_SECONDS = 5.0
"""Time to end politely."""


class Namespace:
    """A network namespace without a name, held by a thread that lives in it.

    Nothing of it is left once that thread and its processes are gone, however
    they end: there is no name to remove, and the processes started here are
    killed by the kernel when the thread ends.

    Raises
    ------
    ConfigError
        The privilege is missing.
    """

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen[bytes]] = []
        self._thread = ThreadPoolExecutor(1, "quantum_control(namespace)")
        self._held = -1
        try:
            self.call(enter_new_netns)
            self._held = self.call(lambda: os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC))
            self.run("ip", "link", "set", "lo", "up")
        except BaseException:
            self.close()
            raise

    @property
    def path(self) -> str:
        """Path by which other threads, `ip` and `nsenter` find the namespace while this object is open."""
        return f"/proc/{os.getpid()}/fd/{self._held}"

    def call(self, function: Callable[[], T]) -> T:
        """What `function` returns, called inside; a socket that it opens belongs to the namespace."""
        return self._thread.submit(function).result()

    def run(self, *command: str) -> str:
        """Run a command inside to its end; what it printed.

        Raises
        ------
        ConfigError
            It is not installed, failed, or took longer than `COMMAND_SECONDS`.
        """

        def work() -> str:
            try:
                done = subprocess.run(  # noqa: S603 - our own commands
                    command, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=True
                )
            except FileNotFoundError as error:
                raise ConfigError(f"{command[0]} is not installed; install iproute2") from error
            except subprocess.SubprocessError as error:
                told = getattr(error, "stderr", "") or error
                raise ConfigError(f"{' '.join(command)}: {told}") from error
            return done.stdout

        return self.call(work)

    def start(
        self,
        command: Sequence[str],
        *,
        output: int | IO[bytes] = subprocess.DEVNULL,
        keep: Sequence[int] = (),
    ) -> subprocess.Popen[bytes]:
        """Start a program inside; it is ended with the namespace, or with this process.

        Parameters
        ----------
        output
            Where what it prints goes.
        keep
            File descriptors that it inherits.

        Raises
        ------
        ConfigError
            `setpriv` (util-linux) is not installed.
        """
        whole = ("setpriv", "--pdeathsig", "KILL", "--", *command)
        try:
            process = self.call(
                lambda: subprocess.Popen(  # noqa: S603 - as above
                    whole, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.DEVNULL, pass_fds=keep
                )
            )
        except FileNotFoundError as error:
            raise ConfigError("setpriv is not installed; install util-linux") from error
        self._processes.append(process)
        return process

    def close(self) -> None:
        """End what was started here, and the namespace."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(KILL_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()
        self._processes.clear()
        self._thread.shutdown()
        if self._held >= 0:
            os.close(self._held)
            self._held = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
