"""Servers of our own on loopback, for measurements and tests: started, and ended by pid."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from quantum_control.core.errors import ConfigError, QuantumControlError

START_SECONDS = 30.0
"""Longest time to start or stop; a loaded machine takes a few seconds."""


# Ends the server with us even if we are killed; setpriv becomes the program, so that the pid stays.
_MORTAL = ("setpriv", "--pdeathsig", "INT", "--") if shutil.which("setpriv") else ()


class ServerStartError(QuantumControlError):
    """A server did not start; the message has the end of what it said."""


class ServerProcess(ABC):
    """A server of our own in a folder of its own, listening on 127.0.0.1 at a free port.

    Started as root it runs as the unprivileged `account`. As a context
    manager it starts, and at the end stops and removes its folder.

    Raises
    ------
    ConfigError
        The program is not installed; the message says how to get it.
    """

    program = ""
    account = ""

    def __init__(self) -> None:
        self.binary = find_program(self.program)
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix=f"qc-{self.program}-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._user = self.account if os.geteuid() == 0 else None
        self._groups: list[str] | None = None if self._user is None else []
        if self._user is not None:
            entry = pwd.getpwnam(self._user)
            os.chown(self.folder, entry.pw_uid, entry.pw_gid)

    @property
    def pid(self) -> int:
        """Process id of the running server; 0 if it does not run."""
        return 0 if self._process is None else self._process.pid

    @abstractmethod
    def command(self) -> list[str]:
        """Program and arguments."""

    @abstractmethod
    def ready(self) -> bool:
        """Whether the server answers."""

    def start(self) -> None:
        """Start the server and wait until it answers.

        Raises
        ------
        ServerStartError
            It ended, or did not answer in time; nothing is left running.
        """
        log = self.folder / "log"
        with log.open("ab") as out:
            self._process = subprocess.Popen(  # noqa: S603 - our own servers, by their path
                [*_MORTAL, *self.command()],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=self.folder,
                user=self._user,
                group=self._user,
                extra_groups=self._groups,
                process_group=0,  # Ctrl-C is for who started it, which ends it in order
            )
        process = self._process
        try:
            settled = wait_until(lambda: process.poll() is not None or self.ready())
        except BaseException:
            self.stop(signal.SIGKILL)
            raise
        if not settled or process.poll() is not None:
            self.stop(signal.SIGKILL)
            raise ServerStartError(f"{self.program} did not start: {log.read_text(errors='replace')[-2000:]}")

    def stop(self, how: int = signal.SIGINT) -> None:
        """End the server by its pid, by force if it takes too long."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(START_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def restart(self) -> None:
        """Stop and start at the same port."""
        self.stop()
        self.start()

    def run(self, *command: str) -> None:
        """Run a program to its end, as the server's account.

        Raises
        ------
        ServerStartError
            It failed.
        """
        done = subprocess.run(  # noqa: S603 - as above
            command,
            capture_output=True,
            cwd=self.folder,
            check=False,
            user=self._user,
            group=self._user,
            extra_groups=self._groups,
        )
        if done.returncode:
            raise ServerStartError(f"{command[0]}: {done.stderr.decode(errors='replace')[-2000:]}")

    def write(self, name: str, text: str) -> Path:
        """Write a file of the server's folder that its account can read."""
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o644)
        return path

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def find_program(name: str) -> str:
    """Path of a server program, which Debian keeps out of a person's PATH.

    Raises
    ------
    ConfigError
        It is not installed.
    """
    folders = [*map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), "/usr/sbin"]
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *folders]))
    if found is None:
        raise ConfigError(f"{name} is not installed; scripts/install-servers installs it")
    return found


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 at which nobody listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def accepts(port: int) -> bool:
    """Whether somebody accepts connections at a TCP port of 127.0.0.1."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
    except OSError:
        return False
    return True


def wait_until(condition: Callable[[], object], seconds: float = START_SECONDS, pause: float = 0.02) -> bool:
    """Ask every `pause` seconds until `condition` holds; False if it does not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
    return True
