"""A control group of our own with a process whose working set does as it is told."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from quantum_control.core.errors import ConfigError
from quantum_control.sources.cgroups import MemoryGroup, memory_group

HIERARCHIES = {1: Path("/sys/fs/cgroup/memory"), 2: Path("/sys/fs/cgroup/unified")}
"""Of the memory in version 1, and of the pressure beside it; under version 2 alone both are one."""

UNIFIED = Path("/sys/fs/cgroup")

PAUSE = 0.05
"""Seconds between two rounds of the process over its working set."""

START_SECONDS = 30.0

# Reads a byte of each page of the first N MiB of a file, again and again, and tells how long each round took.
_PROGRAM = """
import mmap, sys, threading, time
hot = [int(sys.argv[2])]
def listen():
    for line in sys.stdin:
        hot[0] = int(line)
threading.Thread(target=listen, daemon=True).start()
with open(sys.argv[1], "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as pages:
    while True:
        began = time.monotonic()
        size = hot[0] << 20
        pages[0:size:4096]
        print(f"{time.monotonic() - began:.6f}", flush=True)
        time.sleep(float(sys.argv[3]))
"""

_ENTER = """
while [ "$1" != -- ]; do echo $$ > "$1/cgroup.procs" || exit 1; shift; done
shift; exec "$@"
"""

_READER = (sys.executable, "-c", _PROGRAM)

# Goes into the groups and becomes the program, so that all it allocates is charged there. Dies with us.
_JOIN = ("setpriv", "--pdeathsig", "KILL", "--", "/bin/sh", "-c", _ENTER, "sh")


def missing() -> str:
    """Say why no group can be made here; empty if one can."""
    if os.geteuid() != 0:
        return "control groups are made by root"
    version, parents = _hierarchy()
    if not all(os.access(parent, os.W_OK) for parent in parents):
        return f"{parents[0]} is no control group hierarchy that may be written to"
    if not (parents[-1] / "memory.pressure").exists() and not Path("/proc/pressure/memory").exists():
        return "the kernel does not account for pressure: CONFIG_PSI, psi=1"
    if version == 2 and "memory" not in (UNIFIED / "cgroup.subtree_control").read_text():
        return f"the memory controller is not enabled in {UNIFIED}/cgroup.subtree_control"
    return ""


def _hierarchy() -> tuple[int, list[Path]]:
    """Version of the memory controller, and the folders in which a group has to be made."""
    if (UNIFIED / "cgroup.controllers").exists():
        return 2, [UNIFIED]
    return 1, [HIERARCHIES[1], HIERARCHIES[2]]


class WorkingSet:
    """A process in a group of its own that reads the first `hot` MiB of a file of `total` MiB.

    As a context manager; at its end, and on failure, process, group and file are gone.

    Raises
    ------
    ConfigError
        No group can be made here; the message says why.
    """

    def __init__(self, total: int, hot: int) -> None:
        if why := missing():
            raise ConfigError(f"no control group of our own: {why}")
        self.rounds: list[tuple[float, float]] = []
        """Seconds on the monotonic clock, and seconds that the round which ended then took."""
        self._total = total
        self._hot = hot
        self._stack = ExitStack()
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        with self._stack as stack:
            name = f"quantum_control-{os.getpid()}-{time.monotonic_ns()}"
            folders = [parent / name for parent in _hierarchy()[1]]
            for folder in folders:
                folder.mkdir()
                stack.callback(_remove_group, folder)
            file = self._file(stack)
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [*_JOIN, *map(str, folders), "--", *_READER, str(file), str(self._hot), str(PAUSE)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                bufsize=1,
                process_group=0,  # Ctrl-C is for who started it, which ends it in order
            )
            listener = threading.Thread(target=self._listen, args=(self._process,), daemon=True)
            listener.start()
            stack.callback(listener.join)
            stack.callback(_end, self._process)
            deadline = time.monotonic() + START_SECONDS
            while not self.rounds:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise ConfigError("the process with the working set did not start")
                time.sleep(0.01)
            self._stack = stack.pop_all()
        return self

    def _file(self, stack: ExitStack) -> Path:
        # Not in /tmp, which may be memory.
        descriptor, name = tempfile.mkstemp(prefix="quantum_control-", dir="/var/tmp")
        stack.callback(os.unlink, name)
        try:
            block = os.urandom(1 << 20)
            for _ in range(self._total):
                os.write(descriptor, block)
            os.fsync(descriptor)
            # What is cached would be charged to us, not to the group.
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
        return Path(name)

    def _listen(self, process: subprocess.Popen[str]) -> None:
        if process.stdout is None:
            return
        with process.stdout as rounds:
            for line in rounds:
                self.rounds.append((time.monotonic(), float(line)))

    @property
    def pid(self) -> int:
        """Of the process."""
        return 0 if self._process is None else self._process.pid

    @property
    def group(self) -> MemoryGroup:
        """Where its group is."""
        return memory_group(self.pid)

    def resize(self, hot: int) -> None:
        """Make the working set `hot` MiB from now on."""
        if self._process is None or self._process.stdin is None:
            raise ConfigError("the process with the working set does not run")
        self._process.stdin.write(f"{hot}\n")
        self._process.stdin.flush()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    if process.stdin is not None:
        with suppress(OSError):
            process.stdin.close()


def _remove_group(folder: Path) -> None:
    # The kernel needs a moment to forget a process that has ended.
    for _ in range(200):
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.02)
        else:
            return
    folder.rmdir()
