"""A JVM on this machine, by its attach socket, its counters file and its threads in /proc."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from math import nan
from typing import NamedTuple

from quantum_control.core.errors import ActuatorError, SensorError
from quantum_control.resources.jvm_reading import COLLECT_SECONDS, HeapReading
from quantum_control.resources.jvm_threads import CollectorThreads
from quantum_control.sources import hsperfdata
from quantum_control.sources.jvm_attach import TIMEOUT_SECONDS, JvmAttach

Values = dict[str, int | str]

VALLEYS = 3
"""Readings of which the lowest estimate of the live set counts: one taken while garbage is still being
freed is too high, none is too low by much."""

TELLING = 0.2
"""Share of what is used that must have been there at the last collection, for the difference to tell it."""

WANTED = (
    "sun.gc.collector.",
    "sun.gc.generation.",
    "sun.gc.tlab.alloc",
    "sun.os.hrt.",
    "sun.rt.createVmBegin",
)
"""Counters that are read."""

COLLECTORS, PAUSES_OF_Z = 4, 3
"""Most that a JVM counts apart; in each of ZGC's: two for marking, one for relocation."""

_COLLECTORS = {
    "ZHeap": "ZGC",
    "ZGC": "ZGC",
    "Shenandoah": "Shenandoah",
    "garbage-first": "G1",
    "PSYoungGen": "Parallel",
    "def": "Serial",
    "DefNew": "Serial",
    "Epsilon": "Epsilon",
}
"""By the first word of the answer to GC.heap_info."""

_UNITS = {"B": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


class HeapInfo(NamedTuple):
    """What GC.heap_info says; bytes."""

    collector: str
    used: int
    committed: int


def parse_heap_info(text: str) -> HeapInfo:
    """Read the answer to GC.heap_info.

    Raises
    ------
    SensorError
        It has no figures, or is of an unknown collector.
    """
    heap = text.partition("Metaspace")[0]
    words = heap.split()
    collector = _COLLECTORS.get(words[0]) if words else None
    if collector is None:
        raise SensorError(f"GC.heap_info is of an unknown collector: {text[:80]!r}")
    if collector == "Shenandoah":  # figures before their names
        used, committed = _figures(r"(\d+)([BKMGT]) used", heap), _figures(r"(\d+)([BKMGT]) committed", heap)
    else:
        used = _figures(r"used (\d+)([BKMGT])", heap)
        # "committed" is what G1 of late (JDK 25) says after a total that is only reserved.
        committed = _figures(r"(?:(?<!max )capacity|total|committed) (\d+)([BKMGT])", heap)
    if not used or not committed:
        raise SensorError(f"GC.heap_info has no figures that are known here: {text[:200]!r}")
    return HeapInfo(collector, sum(used), sum(committed))


def _figures(pattern: str, text: str) -> list[int]:
    return [int(number) * _UNITS[unit] for number, unit in re.findall(pattern, text)]


def parse_uptime(text: str) -> float:
    """Seconds in the answer to VM.uptime.

    Raises
    ------
    SensorError
        There are none.
    """
    match = re.fullmatch(r"\s*(\d+[.,]\d+) s\s*", text)
    if match is None:
        raise SensorError(f"VM.uptime has no seconds: {text[:80]!r}")
    return float(match[1].replace(",", "."))


class LocalJvm:
    """Reads and sets a JVM on this machine; see `Jvm`.

    Parameters
    ----------
    pid
        Process id.
    timeout
        Seconds for an answer.
    counters
        What reads the JVM's counters (`WANTED`), where it is not the file itself.

    Needs the user of the JVM, or root. The JVM needs no option, and starts
    nothing but the socket that every `jcmd` makes it open.
    """

    def __init__(
        self,
        pid: int,
        *,
        timeout: float = TIMEOUT_SECONDS,
        counters: Callable[[], Values] | None = None,
    ) -> None:
        self.pid = pid
        self._attach = JvmAttach(pid, timeout=timeout)
        self._counters = counters or hsperfdata.Counters(pid, WANTED).read
        self._threads = CollectorThreads(pid)
        self._valleys: deque[float] = deque(maxlen=VALLEYS)
        self._last: tuple[float, int, int] | None = None  # time, bytes used, pauses
        self._young: tuple[int, int] | None = None  # of G1: collections, ticks at the end of the last
        self._rate = 0.0  # bytes allocated per second, as last known
        self._allocated = 0.0

    def read(self) -> HeapReading:
        """Measure now: one request to the JVM, one file, and a file for each collector thread.

        Raises
        ------
        SensorError
            The JVM is gone or does not answer.
        """
        counters = self._counters()
        info = parse_heap_info(self._attach.jcmd("GC.heap_info"))
        frequency = _number(counters, "sun.os.hrt.frequency")
        time = self._uptime(counters, frequency)
        pauses, pause_ticks, last_exit = 0, 0, 0
        for index in range(COLLECTORS):
            prefix = f"sun.gc.collector.{index}."
            if prefix + "invocations" in counters:
                pauses += _number(counters, prefix + "invocations")
                pause_ticks += _number(counters, prefix + "time")
                last_exit = max(last_exit, _number(counters, prefix + "lastExitTime"))
        self._count_allocation(info, counters, time, pauses)
        if pauses:
            since = max(0.0, time - last_exit / frequency)
            survived = info.used - self._rate * since
            # Long after a collection, or with a rate that is wrong, the difference says nothing; all that
            # is used is never less than what lives.
            self._valleys.append(survived if survived >= TELLING * info.used else float(info.used))
        return HeapReading(
            started=float(_number(counters, "sun.rt.createVmBeginTime")),
            time=time,
            used=info.used,
            committed=info.committed,
            maximum=_maximum(counters),
            live=min(self._valleys) if self._valleys else nan,
            allocated=self._allocated,
            collections=pauses,
            pause_seconds=pause_ticks / frequency,
            collector_seconds=self._threads.seconds(),
            returning_seconds=self._threads.returned,
        )

    def flag(self, name: str) -> int:
        """Value of a numeric flag; raises `SensorError`."""
        return self._attach.flag(name)

    def set_flag(self, name: str, value: int) -> None:
        """Set a manageable flag and read it back; raises `ActuatorError`."""
        self._attach.set_flag(name, value)

    def collector(self) -> str:
        """Name of the collector; raises `SensorError`."""
        return parse_heap_info(self._attach.jcmd("GC.heap_info")).collector

    def collect(self) -> None:
        """Ask for a collection and wait for its end; raises `ActuatorError`."""
        try:
            JvmAttach(self.pid, timeout=COLLECT_SECONDS).jcmd("GC.run")
        except SensorError as error:
            raise ActuatorError(f"asking for a collection: {error}") from error

    def close(self) -> None:
        """Nothing is held open between requests."""

    def __repr__(self) -> str:
        return f"<LocalJvm {self.pid}>"

    def _uptime(self, counters: Values, frequency: int) -> float:
        """Seconds since the JVM began to count; JDK 25 has no counter of it any more."""
        ticks = counters.get("sun.os.hrt.ticks")
        if isinstance(ticks, int):
            return ticks / frequency
        return parse_uptime(self._attach.jcmd("VM.uptime"))

    def _count_allocation(self, info: HeapInfo, counters: Values, time: float, pauses: int) -> None:
        """Add what was allocated since the last reading; no counter has it while the JVM runs."""
        last, self._last = self._last, (time, info.used, pauses)
        young = self._young_of_g1(counters) if info.collector == "G1" else None
        if last is None or time <= last[0]:
            return
        elapsed, grown = time - last[0], info.used - last[1]
        collections = (pauses - last[2]) / PAUSES_OF_Z
        if young is not None:
            self._rate = young
        elif pauses == last[2] and grown >= 0:
            self._rate = grown / elapsed
        elif info.collector == "ZGC" and collections >= 1.5:
            # What threads took in the last cycle, in words; large objects, which do not go by their
            # buffers, are only seen between collections.
            self._rate = 8.0 * _number(counters, "sun.gc.tlab.alloc") * collections / elapsed
        # Else some has been freed, nobody knows how much: the rate stands.
        self._allocated += max(self._rate * elapsed, float(grown))

    def _young_of_g1(self, counters: Values) -> float | None:
        """Bytes allocated per second from one of G1's collections to another; None where there was none."""
        prefix = "sun.gc.collector.0."
        last, count = self._young, _number(counters, prefix + "invocations")
        end = _number(counters, prefix + "lastExitTime")
        self._young = count, end
        if last is None or last[0] == 0 or end <= last[1]:
            return None
        seconds = (end - last[1]) / _number(counters, "sun.os.hrt.frequency")
        # Buffers of the last cycle, in words.
        return 8.0 * _number(counters, "sun.gc.tlab.alloc") * (count - last[0]) / seconds


def _number(counters: Values, name: str) -> int:
    value = counters.get(name)
    if not isinstance(value, int):
        raise SensorError(f"the JVM's counters have no number {name}; its version is not known here")
    return value


def _maximum(counters: Values) -> int:
    """Largest heap: ZGC and Shenandoah give every generation the whole."""
    return max(
        int(value)
        for name, value in counters.items()
        if name.startswith("sun.gc.generation.") and name.endswith("maxCapacity")
    )
