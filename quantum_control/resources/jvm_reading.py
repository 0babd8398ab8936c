"""What is read of a JVM, whichever way, and what can be done to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

COLLECT_SECONDS = 60.0
"""For a collection that was asked for: it traces the whole heap."""


@dataclass(frozen=True, slots=True)
class HeapReading:
    """A JVM's heap at one instant; the differences of two readings describe the time between them."""

    started: float
    """When the JVM started, on any clock: another value is another JVM."""
    time: float
    """Seconds since then, on the JVM's own clock."""
    used: int
    """Bytes in use, garbage included."""
    committed: int
    """Bytes that the heap holds of the machine's memory."""
    maximum: int
    """Bytes that it may hold at most (-Xmx)."""
    live: float
    """Bytes in use after the last collection, less what was allocated since it began; nan before one."""
    allocated: float
    """Bytes allocated since the first reading, as far as they can be told."""
    collections: int
    """Collections, where a collector has several pauses in each: pauses."""
    pause_seconds: float
    """Seconds so far for which the program stood still for the collector."""
    collector_seconds: float
    """Processor seconds of the collector so far."""
    returning_seconds: float = 0.0
    """Of these, spent on giving memory back, where that can be told apart."""

    @property
    def collecting_seconds(self) -> float:
        """Processor seconds of collections so far: that a heap gives memory back is no reason to grow it."""
        return self.collector_seconds - self.returning_seconds


class Jvm(Protocol):
    """One JVM, by a way to read it and to set its flags."""

    def read(self) -> HeapReading:
        """Measure now; raises `SensorError`."""

    def flag(self, name: str) -> int:
        """Value of a numeric flag; raises `SensorError`."""

    def set_flag(self, name: str, value: int) -> None:
        """Set a manageable flag and read it back; raises `ActuatorError`."""

    def collector(self) -> str:
        """Name of the collector: "ZGC", "Shenandoah", "G1", ...; raises `SensorError`."""

    def collect(self) -> None:
        """Ask for a collection and wait for its end; raises `ActuatorError`."""

    def close(self) -> None:
        """Let go of what is held open."""
