"""What pools of every kind report, and the counters behind it."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import Protocol, runtime_checkable

from quantum_control.core.errors import ConfigError


def positive_int(name: str, value: object) -> int:
    """Check that `value`, given as `name`, is a size.

    Raises
    ------
    ConfigError
        It is not an integer of 1 or more.
    """
    # Integral rather than int: numpy's integers are sizes as well.
    if isinstance(value, bool) or not isinstance(value, Integral) or int(value) < 1:
        raise ConfigError(f"{name}={value!r}: give a whole number, 1 or more")
    return int(value)


@dataclass(frozen=True, slots=True)
class PoolReading:
    """A pool at one instant; the differences of two readings describe the time between them.

    `submitted` = `started` + `waiting` + those cancelled before they began.
    """

    time: float
    """Seconds on the pool's clock."""
    size: int
    """Size in force: how many tasks may run at once."""
    alive: int
    """Threads that exist. More than `size` while a shrink waits for tasks to end, fewer
    while nothing has asked for them yet."""
    busy: int
    """Tasks running now."""
    waiting: int
    """Tasks submitted, not begun and not cancelled."""
    submitted: int
    """Tasks submitted so far."""
    started: int
    """Tasks begun so far."""
    completed: int
    """Tasks ended so far, well or badly."""
    failed: int
    """Of these, the ones that raised."""
    busy_seconds: float
    """Integral of `busy` over time, the elapsed part of running tasks included: a
    difference over the time between two readings is the average number in use."""
    wait_seconds: float
    """Sum, over the tasks begun, of the seconds between submission and beginning."""
    service_seconds: float
    """Sum, over the tasks completed, of the seconds that they ran."""
    pools: int = 1
    """How many pools have this size each; the figures above are of the fullest."""
    held: int = 0
    """Threads, or connections, of all of them together, where that is more than `alive`."""


@runtime_checkable
class ResizablePool(Protocol):
    """Anything that runs tasks side by side, counts them, and can be told how many at once."""

    def reading(self) -> PoolReading:
        """Measure now."""

    def resize(self, size: int, /) -> None:
        """Allow `size` tasks at once."""


class Tally:
    """Counters of one pool, plain and unlocked: its owner calls them under the lock that it holds anyway.

    `busy` is integrated where it changes, so that reading costs the same
    whatever the number of running tasks, and cannot run backwards.
    """

    __slots__ = (
        "busy",
        "busy_seconds",
        "changed",
        "completed",
        "failed",
        "service_seconds",
        "started",
        "submitted",
        "wait_seconds",
    )

    def __init__(self, now: float) -> None:
        self.busy = 0
        self.busy_seconds = 0.0
        self.changed = now
        self.submitted = 0
        self.started = 0
        self.completed = 0
        self.failed = 0
        self.wait_seconds = 0.0
        self.service_seconds = 0.0

    def occupy(self, now: float, change: int) -> None:
        """`change` more servers are in use from `now` on."""
        self.busy_seconds += self.busy * (now - self.changed)
        self.changed = now
        self.busy += change

    def begin(self, waited: float) -> None:
        """Count a task that begins after waiting `waited` seconds."""
        self.started += 1
        self.wait_seconds += waited

    def finish(self, served: float, failed: bool) -> None:
        """Count a task that has ended after running `served` seconds."""
        self.completed += 1
        self.service_seconds += served
        if failed:
            self.failed += 1

    def reading(self, now: float, *, size: int, alive: int, waiting: int) -> PoolReading:
        """Everything counted so far, and what the owner knows."""
        return PoolReading(
            time=now,
            size=size,
            alive=alive,
            busy=self.busy,
            waiting=waiting,
            submitted=self.submitted,
            started=self.started,
            completed=self.completed,
            failed=self.failed,
            busy_seconds=self.busy_seconds + self.busy * (now - self.changed),
            wait_seconds=self.wait_seconds,
            service_seconds=self.service_seconds,
        )
