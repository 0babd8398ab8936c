"""A JVM over JMX."""

from __future__ import annotations

from math import nan
from typing import Any

from quantum_control.core.errors import ActuatorError, SensorError
from quantum_control.resources.jvm_reading import COLLECT_SECONDS, HeapReading
from quantum_control.resources.jvm_threads import CollectorThreads
from quantum_control.sources.jmx import Jmx

_RUNTIME = "java.lang:type=Runtime"
_MEMORY = "java.lang:type=Memory"
_THREADING = "java.lang:type=Threading"
_DIAGNOSTIC = "com.sun.management:type=HotSpotDiagnostic"
_COLLECTORS = "java.lang:type=GarbageCollector,name=*"


class RemoteJvm:
    """Reads and sets a JVM over JMX; see `Jvm`.

    Parameters
    ----------
    url
        As in `sources.jmx`.
    pid
        Process id, if the JVM is on this machine: then the processor time of
        its collector is read of its threads. Without it that time is the length
        of its concurrent cycles times its concurrent threads, an upper bound; of
        G1, which has no cycles there, of its pauses times its parallel threads,
        without marking.

    Raises
    ------
    ConfigError
        The address is wrong, or JPype is not installed.
    """

    def __init__(self, url: str, pid: int | None = None) -> None:
        self._jmx = Jmx(url)
        self._threads = None if pid is None else CollectorThreads(pid)
        self._beans: list[str] = []
        self._concurrent = True  # whether it collects while the program runs, and tells both apart
        self._workers = 1
        self._last: HeapReading | None = None
        self._rate = 0.0

    def read(self) -> HeapReading:
        """Measure now: one request for each bean, since JMX has none for several; five in all for ZGC and G1.

        Raises
        ------
        SensorError
            The JVM cannot be asked. The next call connects anew.
        """
        try:
            with self._jmx.one_deadline():
                return self._read()
        except SensorError:
            self._beans = []  # the next may be another JVM
            raise

    def _read(self) -> HeapReading:
        self._discover()
        runtime = self._jmx.attributes(_RUNTIME, ["StartTime", "Uptime"])
        heap = self._jmx.attributes(_MEMORY, ["HeapMemoryUsage"])["HeapMemoryUsage"]
        # Of JDK 21 and later; 17 leaves it out.
        exact = self._jmx.attributes(_THREADING, ["TotalThreadAllocatedBytes"]).get(
            "TotalThreadAllocatedBytes"
        )
        used, time = int(heap.get("used")), int(runtime["Uptime"]) / 1e3
        collections, pause_seconds, cycle_seconds, freed = 0, 0.0, 0.0, 0.0
        last_end, live = -1, nan
        concurrent = self._concurrent
        for bean in self._beans:
            figures = self._jmx.attributes(bean, ["CollectionCount", "CollectionTime", "LastGcInfo"])
            seconds = int(figures["CollectionTime"]) / 1e3
            if "Cycles" not in bean:
                pause_seconds += seconds
                if concurrent:
                    continue
            collections += int(figures["CollectionCount"])
            cycle_seconds += seconds
            info = figures.get("LastGcInfo")
            if info is None or int(info.get("endTime")) <= last_end:
                continue
            last_end = int(info.get("endTime"))
            duration = int(info.get("duration")) / 1e3 if concurrent else 0.0
            before, after = _used(info, "memoryUsageBeforeGc"), _used(info, "memoryUsageAfterGc")
            # What was allocated while it ran is in use after it, and is no part of the live set.
            live = max(0.0, after - self._rate * duration)
            freed = max(0.0, before - after + self._rate * duration)
        reading = HeapReading(
            started=float(int(runtime["StartTime"])),
            time=time,
            used=used,
            committed=int(heap.get("committed")),
            maximum=int(heap.get("max")),
            live=live,
            allocated=self._allocated(exact, time, used, collections, freed),
            collections=collections,
            pause_seconds=pause_seconds,
            collector_seconds=(
                self._threads.seconds() if self._threads is not None else cycle_seconds * self._workers
            ),
            returning_seconds=0.0 if self._threads is None else self._threads.returned,
        )
        last, self._last = self._last, reading
        if last is not None and last.started == reading.started and time > last.time:
            self._rate = (reading.allocated - last.allocated) / (time - last.time)
        return reading

    def flag(self, name: str) -> int:
        """Value of a numeric flag; raises `SensorError`."""
        value = str(self._jmx.invoke(_DIAGNOSTIC, "getVMOption", name).get("value"))
        if not value.isdecimal():
            raise SensorError(f"{self._jmx!r}: the flag {name} is {value!r}, no number")
        return int(value)

    def set_flag(self, name: str, value: int) -> None:
        """Set a manageable flag and read it back; raises `ActuatorError`."""
        try:
            with self._jmx.one_deadline():
                found = self.flag(name)
                self._set(name, value)
                now = self.flag(name)
                if now != value:
                    self._set(name, found)
        except SensorError as error:
            raise ActuatorError(f"setting {name} to {value}: {error}") from error
        if now != value:
            raise ActuatorError(f"{self._jmx!r} did not take {name}={value}: it was {found} and is {now}")

    def collector(self) -> str:
        """Name of the collector; raises `SensorError`."""
        self._discover()
        first = self._beans[0].rpartition("name=")[2].split()[0] if self._beans else "no collector"
        return {"PS": "Parallel", "Copy": "Serial", "MarkSweepCompact": "Serial"}.get(first, first)

    def collect(self) -> None:
        """Ask for a collection and wait for its end; raises `ActuatorError`."""
        try:
            with self._jmx.one_deadline(COLLECT_SECONDS):
                self._jmx.invoke(_MEMORY, "gc")
        except SensorError as error:
            raise ActuatorError(f"asking for a collection: {error}") from error

    def close(self) -> None:
        """Close the connection."""
        self._jmx.close()

    def __repr__(self) -> str:
        return f"<RemoteJvm {self._jmx.address!r}>"

    def _discover(self) -> None:
        if not self._beans:
            self._beans = self._jmx.names(_COLLECTORS)
            self._concurrent = any("Cycles" in bean for bean in self._beans)
            self._workers = max(1, self.flag("ConcGCThreads" if self._concurrent else "ParallelGCThreads"))

    def _set(self, name: str, value: int) -> None:
        self._jmx.invoke(_DIAGNOSTIC, "setVMOption", name, str(int(value)))

    def _allocated(self, exact: Any, time: float, used: int, collections: int, freed: float) -> float:
        """Bytes allocated so far: as the JVM counts them, or as what grew plus what was freed."""
        if exact is not None and int(exact) >= 0:
            return float(int(exact))
        last = self._last
        if last is None or time < last.time:
            return 0.0
        return last.allocated + max(0.0, used - last.used + (collections - last.collections) * freed)


def _used(info: Any, moment: str) -> float:
    """Bytes in use over all pools of the heap at a moment of a collection."""
    total = 0
    for row in info.get(moment).values():
        pool = str(row.get("key"))
        if not pool.startswith(("Metaspace", "Compressed Class", "CodeHeap", "CodeCache")):
            total += int(row.get("value").get("used"))
    return float(total)
