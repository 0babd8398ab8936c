"""How much of their mapped memory the processes of a control group have touched lately."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")

GONE = (FileNotFoundError, ProcessLookupError)
"""What comes of a process that has ended meanwhile."""


class TouchedMemory:
    """What the processes of a group, and of the groups below it, touch from one `forget()` on.

    The processor marks each page that is touched in the page tables; the
    kernel tells the sum (smaps_rollup) and clears the marks (clear_refs). Both
    walk the page tables: some milliseconds for a GiB.

    Parameters
    ----------
    folder
        Of the group.
    proc
        In place of /proc.
    """

    def __init__(self, folder: Path, proc: Path = PROC) -> None:
        self._folder = folder
        self._proc = proc

    def read(self) -> int | None:
        """Bytes touched since `forget()`, shared ones once for each process; None where it is not told."""
        total = 0
        for process in self._processes():
            try:
                lines = (process / "smaps_rollup").read_text(encoding="ascii").splitlines()
            except GONE:
                continue
            except OSError:
                return None
            total += 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("Referenced:"))
        return total

    def forget(self) -> bool:
        """Count from now on; False where that may not be done."""
        for process in self._processes():
            try:
                (process / "clear_refs").write_text("1", encoding="ascii")
            except GONE:
                continue
            except OSError:
                return False
        return True

    def _processes(self) -> list[Path]:
        found: set[str] = set()
        for place, _, _ in os.walk(self._folder):
            with suppress(OSError):  # a group below that has gone
                found.update(Path(place, "cgroup.procs").read_text(encoding="ascii").split())
        return [self._proc / number for number in sorted(found)]
