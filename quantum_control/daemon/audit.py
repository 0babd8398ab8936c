"""The record of every decision: append-only files of JSON lines, bounded in size."""

from __future__ import annotations

import json
import logging
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from io import FileIO
from math import inf
from pathlib import Path
from typing import Any

from quantum_control.core.decision import Decision
from quantum_control.core.resource import ResourceState

_log = logging.getLogger("quantum_control")

NAME = "audit.jsonl"

FLUSH_SECONDS = 0.2
"""Longest time until a decision is in the file."""

MOST_WAITING = 100_000
"""Lines that are kept while the disk does not take them; older ones are lost then, which is told."""

Record = dict[str, Any]


def record(
    when: float, resource: str, mode: str, decision: Decision, real: ResourceState | None, interval: float
) -> str:
    """Make the line, JSON, that is recorded of a decision; `when` in seconds since 1970.

    `real` is what was measured, where a twin was steered in its place. Written
    by hand: of a thousand lines a second the encoder alone took a tenth of a
    daemon's time. Six digits are more than any of this is known to.
    """
    state = decision.state
    seen = "" if state is None else f'"demand":{_short(state.demand)},"size":{_short(state.size)},'
    if state is not None and real is not None and mode == "shadow":
        seen = (
            f'"demand":{_short(real.demand)},"size":{_short(real.size)},'
            f'"as_if_demand":{_short(state.demand)},"as_if_size":{_short(state.size)},'
        )
    why = f',"why":{json.dumps(decision.reasons)}' if decision.reasons else ""
    return (
        f'{{"time":{when:.3f},"resource":{json.dumps(resource)},"mode":"{mode}",'
        f'"outcome":"{decision.outcome.value}",{seen}"force":{_short(decision.force)},'
        f'"wanted":{_short(decision.wanted)},"allowed":{decision.allowed},"interval":{interval:g}{why}}}\n'
    )


def _short(value: float) -> str:
    return f"{value:.6g}" if -inf < value < inf else "null"  # JSON has no NaN and no infinity


class AuditLog:
    """Appends records, on a thread of its own so that a slow disk delays no step.

    Parameters
    ----------
    folder
        Where the files are: audit.jsonl is the latest, audit.jsonl.1 the one before.
    file_bytes, files
        Size at which a file is closed, and how many are kept.
    """

    def __init__(self, folder: Path, file_bytes: int, files: int) -> None:
        self.path = folder / NAME
        self.lost = 0
        """Records that the disk did not take."""
        self._file_bytes = file_bytes
        self._files = files
        self._waiting: deque[str] = deque()
        self._file: FileIO | None = None
        self._torn = False  # whether the last line in the file was cut off
        self._failing = False
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="quantum_control audit", daemon=True)
        self._thread.start()

    def write(self, line: str) -> None:
        """Append a record with its line end; returns at once."""
        if len(self._waiting) >= MOST_WAITING:
            self._waiting.popleft()
            self.lost += 1
        self._waiting.append(line)

    @property
    def waiting(self) -> int:
        """Records that are not in the file yet."""
        return len(self._waiting)

    def close(self) -> None:
        """Write what is left, and end."""
        self._ending.set()
        self._thread.join(timeout=5.0)

    def _run(self) -> None:
        while not self._ending.wait(FLUSH_SECONDS):
            self._flush()
        self._flush()
        self._close()

    def _flush(self) -> None:
        if not self._waiting:
            return
        lines = [self._waiting.popleft() for _ in range(len(self._waiting))]
        content = "".join(lines).encode()
        rest = memoryview(content)
        try:
            file = self._open(len(content) + self._torn)
            if self._torn:  # the line that was cut off is damaged, the next one must not be
                file.write(b"\n")
                self._torn = False
            while rest:
                rest = rest[file.write(rest) :]
        except OSError as error:
            self.lost += bytes(rest).count(b"\n")
            if written := content[: len(content) - len(rest)]:
                self._torn = not written.endswith(b"\n")
            if not self._failing:
                _log.error("audit log %s cannot be written, steering goes on without: %s", self.path, error)
            self._failing = True
            self._close()
        else:
            self._failing = False

    def _open(self, more: int) -> FileIO:
        """The file in which there is room for so many bytes more."""
        if self._file is None:
            # Unbuffered: what is written is with the kernel, so that it survives the death of the process.
            self._file = self.path.open("ab", buffering=0)
        if self._file.tell() + more > self._file_bytes and self._file.tell():
            self._close()
            self._rotate()
            self._file = self.path.open("ab", buffering=0)
        return self._file

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):  # a file system that is full may say so now
                file.close()

    def _rotate(self) -> None:
        for number in range(self._files - 1, 0, -1):
            older = self.path.with_name(f"{NAME}.{number}")
            newer = self.path.with_name(f"{NAME}.{number - 1}") if number > 1 else self.path
            if newer.exists():
                newer.replace(older)


def read_records(folder: Path, resource: str | None = None, since: float = 0.0) -> Iterator[Record]:
    """Records, oldest first; lines that are damaged are left out.

    Parameters
    ----------
    resource
        Of this one only; None is all.
    since
        Seconds since 1970.
    """
    files = sorted(folder.glob(f"{NAME}.*"), key=_age, reverse=True)
    for path in (*files, folder / NAME):
        try:
            file = path.open("rb")
        except FileNotFoundError:
            continue
        with file:
            for line in file:
                try:
                    found = json.loads(line)
                except ValueError:
                    continue
                if not isinstance(found, dict) or not isinstance(found.get("time"), int | float):
                    continue
                if found["time"] >= since and resource in (None, found.get("resource")):
                    yield found


def _age(path: Path) -> int:
    number = path.suffix.removeprefix(".")
    return int(number) if number.isdigit() else 0
