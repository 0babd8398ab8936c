"""The processor time of a JVM's collector, by its threads in /proc."""

from __future__ import annotations

import re
from pathlib import Path

from quantum_control.core.errors import SensorError

PROC = Path("/proc")

SCAN_EVERY = 10
"""Readings between two looks for collector threads that are new."""

_COLLECTOR_THREADS = re.compile(
    r"Z(Worker|Driver|Director|Uncommitter|Unmapper|Stat)|RuntimeWorker|Shenandoah|GC Thread|G1 |VM Thread"
)

_RETURNING = "ZUncommitter"
"""Beginning of the name of what gives unused memory back: work that comes of the size that the heap had,
not of what was allocated."""


class CollectorThreads:
    """Processor time of the collector's threads of one process."""

    def __init__(self, pid: int, proc: Path = PROC) -> None:
        self._folder = proc / str(pid) / "task"
        self._seen: dict[str, float] = {}  # by thread, processor seconds when last read
        self._returning: set[str] = set()  # threads that give memory back
        self._total = 0.0
        self._reads = 0
        self.returned = 0.0
        """Processor seconds, of those that `seconds` gave last, of giving memory back."""

    def seconds(self) -> float:
        """Processor seconds since the first call; of threads that ended, up to their last reading.

        Raises
        ------
        SensorError
            The process is gone, or may not be looked at.
        """
        if self._reads % SCAN_EVERY == 0:
            self._scan()
        self._reads += 1
        for thread, before in list(self._seen.items()):
            try:
                # Nanoseconds on a processor; the ticks of `stat` are ten milliseconds long.
                now = int((self._folder / thread / "schedstat").read_bytes().split()[0]) / 1e9
            except (FileNotFoundError, ProcessLookupError):  # it has ended
                del self._seen[thread]
                continue
            except (OSError, IndexError):
                continue  # no file descriptor is left, as may be: the next reading has it all
            self._total += now - before
            self.returned += (now - before) * (thread in self._returning)
            self._seen[thread] = now
        return self._total

    def _scan(self) -> None:
        try:
            threads = [path.name for path in self._folder.iterdir()]
        except OSError as error:
            raise SensorError(f"{self._folder}: {error.strerror}; is the JVM still running?") from error
        for thread in threads:
            if thread in self._seen:
                continue
            try:
                name = (self._folder / thread / "comm").read_text("utf-8", "replace")
                if name.startswith(_RETURNING):
                    self._returning.add(thread)
                if _COLLECTOR_THREADS.match(name):
                    spent = int((self._folder / thread / "schedstat").read_bytes().split()[0]) / 1e9
                    # What a thread that is new since the first call has done was done since then.
                    self._seen[thread] = 0.0 if self._reads else spent
            except (OSError, IndexError):
                continue  # it has ended
