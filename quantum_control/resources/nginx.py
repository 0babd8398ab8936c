"""nginx by its configuration, a reload and its access log: the last resort.

The servers of one `upstream` block are in a file of their own that the block
includes, one a line (`server 127.0.0.1:8001 weight=5;`), and a log is written
in a format of its own:

    log_format quantum_control '$upstream_addr|$upstream_status|$upstream_response_time';

Open-source nginx tells no more than that about single servers. Requests under
way are known only once they have ended, so that a stalled server is seen when
its requests time out and not before; and every change of weight is a reload.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

from quantum_control.core.errors import ActuatorError, SensorError
from quantum_control.resources.balancer import BackEnd, Balancer, Reading
from quantum_control.resources.listening import PROC
from quantum_control.resources.whole_file import replace_file

SERVER = re.compile(r"^\s*server\s+(?P<name>[^\s;]+)(?P<rest>[^;]*);", re.MULTILINE)
WEIGHT = re.compile(r"\s+weight=(\d+)\b")
DOWN = re.compile(r"\s+down\b")
SPARE = re.compile(r"\s+backup\b")

TRIED = re.compile(r", | : ")
"""Between the servers that a request was tried at: of one upstream, and after a redirection to another."""

MASTER = b"nginx: master process"
"""What nginx's master calls itself among the processes."""

MOST_READ = 8_000_000
"""Bytes of log read at once; what is older is passed over."""


class Nginx(Balancer):
    """The servers of one upstream block of a running nginx.

    Parameters
    ----------
    upstream
        File with the `server` lines.
    log
        Access log in the format above.
    pid
        File with the process id of nginx's master.
    clock
        Seconds.
    proc
        Where processes are looked up.
    """

    dead_band = 0.25  # a reload starts new workers
    outlives_boot = True

    def __init__(
        self,
        upstream: str,
        log: str,
        pid: str,
        clock: Callable[[], float] = time.monotonic,
        proc: Path = PROC,
    ) -> None:
        self._upstream = Path(upstream)
        self._log = Path(log)
        self._pid = Path(pid)
        self._clock = clock
        self._proc = proc
        self._found: str | None = None  # the file as it was found, put back to the byte
        self._time = clock()
        self._offset = -1  # in the log; below 0 before the first reading
        self._inode = 0
        self._ended: dict[str, int] = {}
        self._failed: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"Nginx({self._upstream})"

    def read(self) -> Reading:
        """Weights from the upstream's file, the rest from the lines that the log has gained."""
        there = self.read_weights().back_ends
        now = self._clock()
        elapsed, self._time = now - self._time, now
        busy = self._follow_log()
        seen = {}
        for name, one in there.items():
            logged = self._logged(name)
            seen[name] = replace(
                one,
                started=self._ended.get(logged, 0),
                ended=self._ended.get(logged, 0),
                failed=self._failed.get(logged, 0),
                in_flight=busy.get(logged, 0.0) / elapsed if elapsed > 0.0 else 0.0,
            )
        return Reading(seen)

    def read_weights(self) -> Reading:
        """Weights from the upstream's file alone; the log may be gone."""
        back_ends = {
            match["name"]: BackEnd(
                _weight(match["rest"]), 0, 0, 0, 0.0, spare=bool(SPARE.search(match["rest"]))
            )
            for match in SERVER.finditer(self._text())
        }
        if not back_ends:
            raise SensorError(f"{self!r}: the file holds no `server` line")
        return Reading(back_ends)

    def write(self, weights: Mapping[str, int]) -> None:
        """Move a new file into place and have nginx reload; put the old one back if it cannot be told."""
        for name, weight in weights.items():
            if weight < 0:
                raise ActuatorError(f"weight {weight} of {name!r} is below 0; nothing was changed")
        try:
            before = self._text()
        except SensorError as error:
            raise ActuatorError(f"{error}; nothing was changed") from error
        missing = weights.keys() - {match["name"] for match in SERVER.finditer(before)}
        if missing:
            raise ActuatorError(f"{self!r} has no server {', '.join(missing)} any more; nothing was changed")
        self._replace(SERVER.sub(lambda match: _line(match, weights), before))
        try:
            os.kill(self._master(), signal.SIGHUP)
        except (OSError, ValueError) as error:
            self._replace(before)
            raise ActuatorError(
                f"{self!r}: nginx cannot be told to reload by {self._pid}: {error}. The file is as it was;"
                " is nginx running, and may this process signal it?"
            ) from error

    def _master(self) -> int:
        """Process id of nginx's master; what is in the file of one that is gone may be anybody's by now."""
        pid = int(self._pid.read_text())
        if MASTER not in (self._proc / str(pid) / "cmdline").read_bytes():
            raise ValueError(f"process {pid} is no nginx master")
        return pid

    def snapshot(self) -> dict[str, object]:
        """The file as it was found."""
        return {"file": self._found if self._found is not None else self._text()}

    def recall(self, snapshot: Mapping[str, object]) -> None:
        """Put the file back to the byte once its weights are as they were."""
        self._found = str(snapshot["file"])

    def _text(self) -> str:
        try:
            text = self._upstream.read_bytes().decode()
        except (OSError, UnicodeDecodeError) as error:
            raise SensorError(f"{self!r}: the file cannot be read: {error}") from error
        if self._found is None:
            self._found = text
        return text

    def _replace(self, text: str) -> None:
        if self._found is not None and _like(text, self._found):
            text = self._found
        try:
            replace_file(self._upstream, text.encode())
        except OSError as error:
            raise ActuatorError(
                f"{self!r}: the file cannot be replaced: {error}. It is as it was;"
                " its directory has to be writable for this process"
            ) from error

    def _logged(self, name: str) -> str:
        """What the log calls a server: its address, with port 80 where it has none."""
        if name.startswith("unix:"):
            return name
        host, _, port = name.rpartition(":")
        if not port.isdecimal():
            host, port = name, "80"
        try:
            ip_address(host.strip("[]"))
        except ValueError as error:
            raise SensorError(
                f"{self!r}: the server {name} is no address; write it as one, the log tells of no others"
            ) from error
        return f"{host}:{port}"

    def _follow_log(self) -> dict[str, float]:
        """Count what the log has gained; seconds spent in each server by what ended."""
        try:
            with self._log.open("rb") as file:
                status = os.fstat(file.fileno())
                if self._offset < 0:
                    self._offset = status.st_size
                elif status.st_ino != self._inode or status.st_size < self._offset:
                    self._offset = 0  # rotated
                self._inode = status.st_ino
                start = file.seek(max(self._offset, status.st_size - MOST_READ))
                gained = file.read(MOST_READ)
                # The last line may be half written: it is read the next time.
                whole = gained[: gained.rfind(b"\n") + 1]
                passed_over, self._offset = start > self._offset, start + len(whole)
                if passed_over:  # it then begins in the middle of a line
                    whole = whole.partition(b"\n")[2]
        except OSError as error:
            raise SensorError(f"{self!r}: the access log cannot be read: {error}") from error
        busy: dict[str, float] = {}
        for line in whole.decode("utf-8", "replace").splitlines():
            try:
                self._count(line, busy)
            except ValueError as error:
                raise SensorError(
                    f"{self!r}: {self._log} is not in the format"
                    " '$upstream_addr|$upstream_status|$upstream_response_time'"
                ) from error
        return busy

    def _count(self, line: str, busy: dict[str, float]) -> None:
        """Count a line of the log, one entry for each server tried; raises `ValueError`."""
        names, codes, times = (TRIED.split(field) for field in line.split("|"))
        for name, code, seconds in zip(names, codes, times, strict=False):
            spent = 0.0 if seconds == "-" else float(seconds)
            self._ended[name] = self._ended.get(name, 0) + 1
            if code.startswith("5") or code == "-":
                self._failed[name] = self._failed.get(name, 0) + 1
            busy[name] = busy.get(name, 0.0) + spent


def _weight(rest: str) -> int:
    if DOWN.search(rest):
        return 0
    match = WEIGHT.search(rest)
    return int(match[1]) if match else 1


def _like(text: str, other: str) -> bool:
    """Whether two files mean the same weights and are the same apart from how those are written."""
    weights, rests = [], []
    for each in (text, other):
        weights.append([(match["name"], _weight(match["rest"])) for match in SERVER.finditer(each)])
        rests.append(SERVER.sub(lambda match: WEIGHT.sub("", DOWN.sub("", match[0])), each))
    return weights[0] == weights[1] and rests[0] == rests[1]


def _line(match: re.Match[str], weights: Mapping[str, int]) -> str:
    name, rest = match["name"], match["rest"]
    if name not in weights or weights[name] == _weight(rest):
        return match[0]
    weight = weights[name]
    rest = DOWN.sub("", rest)
    if weight == 0:
        rest += " down"
    else:
        rest = WEIGHT.sub("", rest) + (f" weight={weight}" if weight != 1 else "")
    head = match[0][: match.start("rest") - match.start()]
    return f"{head}{rest};"
