"""Who steers a resource: a process that is told apart from a later one of the same number."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Self

from quantum_control.core.errors import SafetyError
from quantum_control.core.forked import started

_JMX = "jmx://"
"""Begins an address at which a JVM is both measured and set."""


@cache
def boot_id() -> str:
    """Identify this run of the machine; empty where the kernel does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


@dataclass(frozen=True, slots=True)
class Writer:
    """A process, by number, start and boot: numbers alone are given again."""

    pid: int
    started: int
    """Clock ticks from boot to its start."""
    boot: str

    @classmethod
    def this(cls) -> Self:
        """Return the process that asks."""
        pid = os.getpid()
        return cls(pid, started(pid), boot_id())

    @property
    def this_boot(self) -> bool:
        """Whether the machine still runs as it did for this process."""
        return self.boot == boot_id()

    @property
    def alive(self) -> bool:
        """Whether the process still runs. One that is dead and not yet waited for does not."""
        return self.this_boot and self.started != 0 and started(self.pid) == self.started

    def __str__(self) -> str:
        return f"process {self.pid}"


def resource_key(kind: str, options: Mapping[str, object]) -> str:
    """Short name of what `options` steer, the same in every process, fit for a file name.

    Options that only say how far or by what figures a resource is steered do
    not count: two controllers that differ in them would still quarrel. Of a
    source that is itself what is steered, a JVM over JMX with no process id,
    host and port count, and never who asks, nor by what password.
    """
    steering = {name: value for name, value in options.items() if not _by_the_way(name)}
    source = options.get("metric_source")
    if isinstance(source, str) and source.startswith(_JMX) and options.get("process_id") is None:
        steering["metric_source"] = _JMX + _place(source.removeprefix(_JMX))
    content = json.dumps([kind, steering], sort_keys=True, default=str)
    return f"{kind}-{hashlib.sha256(content.encode()).hexdigest()[:16]}"


def _by_the_way(option: str) -> bool:
    return option.startswith(("min_", "max_")) or option == "metric_source"


def _place(address: str) -> str:
    """HOST:PORT of an address without its scheme."""
    return re.split("[/?#]", address, maxsplit=1)[0].rpartition("@")[2].casefold()


class ResourceLock:
    """Lets one process at a time steer a resource.

    The kernel gives the lock back when its holder ends, however that ends. The
    file stays, and names who held it last.

    Parameters
    ----------
    folder
        The same for all who might steer the resource; made if it is missing.
    key
        What is steered, from `resource_key`.

    Raises
    ------
    SafetyError
        Another process holds it, or the folder cannot be written to.
    """

    def __init__(self, folder: Path, key: str) -> None:
        path = folder / f"{key}.lock"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        except OSError as error:
            raise SafetyError(f"lock {str(path)!r} cannot be made: {error.strerror}") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = _holder(self._file)
            os.close(self._file)
            who = str(holder) if holder is not None and holder.alive else "another process"
            raise SafetyError(
                f"{who} steers this resource already (lock {str(path)!r}); one controller at a time"
            ) from error
        self.left_over = _holder(self._file)
        """Who held it last and did not give it back; None if nobody."""
        self._write(json.dumps(asdict(Writer.this())))

    def release(self) -> None:
        """Give it back; a second call does nothing."""
        if self._file >= 0:
            self._write("")
            os.close(self._file)
            self._file = -1

    def _write(self, content: str) -> None:
        try:
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, content.encode(), 0)
        except OSError:  # a full disk: the lock holds all the same, and only does not tell whose it is
            return


def _holder(file: int) -> Writer | None:
    try:
        return Writer(**json.loads(os.pread(file, 4096, 0)))
    except (ValueError, TypeError):
        return None
