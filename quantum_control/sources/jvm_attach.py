"""Speaks to a JVM on this machine by its own attach protocol, as `jcmd` does, without starting another JVM.

A file `.attach_pidN` and SIGQUIT make the JVM open the socket `.java_pidN`; a
request is `1 NUL command NUL three arguments, each with NUL`, the answer a line
with a status and then text (`attachListener_posix.cpp` of OpenJDK). SIGQUIT
ends a process that does not catch it, so that it is sent to nothing but a JVM
that does.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from quantum_control.core.errors import ActuatorError, SensorError
from quantum_control.sources.hsperfdata import inner_pid, status

TIMEOUT_SECONDS = 5.0
"""For an answer: a JVM answers at its next safepoint, within milliseconds unless it is in great trouble."""

POLL_SECONDS = 0.02
"""Between two looks for the socket that the JVM is asked to open."""

ARGUMENTS = 3
"""Of every request, unused ones are empty."""


class JvmAttach:
    """The attach protocol of one JVM.

    Parameters
    ----------
    pid
        Process id as seen from here; the JVM may be in a container.
    timeout
        Seconds for an answer.

    Nothing is sent before the first request. Needs the user of the JVM, or root.
    """

    def __init__(self, pid: int, *, timeout: float = TIMEOUT_SECONDS) -> None:
        self.pid = pid
        self.timeout = timeout
        self._open: Path | None = None  # the socket, once it was there

    def execute(self, command: str, *arguments: str) -> str:
        """Answer to one request.

        Raises
        ------
        SensorError
            The JVM is gone, does not answer in time, may not be asked, or
            answers with an error; the message has what it said.
        """
        fields = ["1", command, *arguments, *[""] * (ARGUMENTS - len(arguments))]
        if len(arguments) > ARGUMENTS or any("\0" in field for field in fields):
            raise SensorError(f"{command!r} with {arguments!r} is no request of the attach protocol")
        answer = self._exchange("".join(field + "\0" for field in fields).encode())
        code, _, text = answer.partition("\n")
        if code.strip() != "0":
            raise SensorError(
                f"JVM {self.pid} refused {' '.join(fields[1:]).strip()!r}: {text.strip() or code}"
            )
        return text

    def jcmd(self, line: str) -> str:
        """Answer to a diagnostic command, such as "GC.heap_info"; raises as `execute` does."""
        return self.execute("jcmd", line)

    def flag(self, name: str) -> int:
        """Value of a numeric flag, such as "SoftMaxHeapSize" in bytes.

        Raises
        ------
        SensorError
            As `execute`; or there is no such flag, or it is no number.
        """
        answer = self.execute("printflag", name).strip()
        value = answer.partition("=")[2]
        if not answer.startswith(f"-XX:{name}=") or not value.isdecimal():
            raise SensorError(f"JVM {self.pid} has no numeric flag {name}: it answered {answer!r}")
        return int(value)

    def set_flag(self, name: str, value: int) -> None:
        """Set a manageable flag and read it back, since a refusal may look like success.

        Only plain numbers are sent: of "300m" a JVM takes the 300.

        Raises
        ------
        ActuatorError
            It was refused, or is another value afterwards.
        """
        try:
            found = self.flag(name)
            self.execute("setflag", name, str(int(value)))
            now = self.flag(name)
        except SensorError as error:
            raise ActuatorError(f"setting {name} to {value}: {error}") from error
        if now != value:
            with suppress(SensorError):
                self.execute("setflag", name, str(found))
            raise ActuatorError(f"JVM {self.pid} did not take {name}={value}: it was {found} and is {now}")

    # ---- the socket -----------------------------------------------------------------------------

    def _exchange(self, request: bytes) -> str:
        path = self._socket_path()
        try:
            with socket.socket(socket.AF_UNIX) as link:
                link.settimeout(self.timeout)
                link.connect(str(path))
                link.sendall(request)
                parts = []
                while part := link.recv(65536):
                    parts.append(part)
        except TimeoutError as error:
            raise SensorError(
                f"JVM {self.pid} did not answer within {self.timeout:g} s; it is stopped or overloaded"
            ) from error
        except OSError as error:
            self._open = None
            inner_pid(self.pid)  # says so if the JVM is gone
            raise SensorError(
                f"JVM {self.pid} cannot be asked by {path}: {error.strerror or error}"
            ) from error
        return b"".join(parts).decode("utf-8", "replace")

    def _socket_path(self) -> Path:
        if self._open is None:
            self._open = self._opened()
        return self._open

    def _opened(self) -> Path:
        within = inner_pid(self.pid)
        path = Path(f"/proc/{self.pid}/root/tmp/.java_pid{within}")
        try:
            if path.is_socket():
                return path
        except PermissionError as error:
            raise SensorError(
                f"process {self.pid} may not be looked at ({error.strerror}); run as its user, or as root"
            ) from error
        self._check_catches_quit()
        with self._note(f".attach_pid{within}"):
            try:
                os.kill(self.pid, signal.SIGQUIT)
                deadline = time.monotonic() + self.timeout
                while not path.is_socket():
                    if time.monotonic() > deadline:
                        raise SensorError(
                            f"JVM {self.pid} opened no attach socket within {self.timeout:g} s;"
                            " it may run with -XX:+DisableAttachMechanism"
                        )
                    inner_pid(self.pid)  # raises once it is gone
                    time.sleep(POLL_SECONDS)
            except OSError as error:
                raise SensorError(f"JVM {self.pid} cannot be signalled: {error.strerror}") from error
        return path

    def _check_catches_quit(self) -> None:
        if not is_jvm(self.pid):
            raise SensorError(f"process {self.pid} is no JVM: it has no libjvm.so")
        caught = int(status(self.pid).get("SigCgt", "0"), 16)
        if not caught >> (signal.SIGQUIT - 1) & 1:
            raise SensorError(
                f"JVM {self.pid} does not catch SIGQUIT: it is still starting, or runs with -Xrs;"
                " it is left alone"
            )

    @contextmanager
    def _note(self, name: str) -> Iterator[None]:
        """Leave the file by which the JVM knows that SIGQUIT asks for the socket; it must be its user's.

        The folder is the JVM's, whose user may put links in it: what is there already is not touched.
        """
        refused = ""
        for place, more in ((f"/proc/{self.pid}/cwd", 0), (f"/proc/{self.pid}/root/tmp", os.O_NOFOLLOW)):
            try:
                folder = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC | more)
            except OSError as error:
                refused = f"{place}: {error.strerror}"
                continue
            try:
                try:
                    self._make_note(name, folder)
                except OSError as error:
                    refused = f"{place}/{name}: {error.strerror}"
                    continue
                try:
                    yield
                finally:
                    _remove(name, folder)
                return
            finally:
                os.close(folder)
        raise SensorError(f"JVM {self.pid} cannot be attached to ({refused}); run as its user, or as root")

    def _make_note(self, name: str, folder: int) -> None:
        """Make the file in an open folder, or leave none; raises `OSError`."""
        owner = Path(f"/proc/{self.pid}").stat()
        note = os.open(
            name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder
        )
        try:
            if os.geteuid() != owner.st_uid:
                os.fchown(note, owner.st_uid, owner.st_gid)
        except BaseException:
            _remove(name, folder)
            raise
        finally:
            os.close(note)


def is_jvm(pid: int) -> bool:
    """Whether a process is a HotSpot JVM: it has mapped `libjvm.so`.

    Raises
    ------
    SensorError
        It is gone, or may not be looked at.
    """
    try:
        return "libjvm.so" in Path(f"/proc/{pid}/maps").read_text("utf-8", "replace")
    except OSError as error:
        inner_pid(pid)  # says so if it is gone
        raise SensorError(
            f"process {pid} may not be looked at ({error.strerror}); run as its user, or as root"
        ) from error


def _remove(name: str, folder: int) -> None:
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)
