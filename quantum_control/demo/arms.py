"""The pools that are compared: fixed sizes, and one that is steered.

Each keeps its pool for the whole demonstration and plays one segment after the
other, with the segments of the others in between.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from math import nan

from quantum_control.core.controller import QuantumController
from quantum_control.demo.load import default_size
from quantum_control.resources.adaptive import INTERVAL
from quantum_control.resources.executor import ResizableThreadPoolExecutor
from quantum_control.resources.threads import ThreadPoolResource

MODEL = "optomechanical"
"""The law that steers, tuned online: the default, and the one meant for bursts."""


class Arm(ABC):
    """A pool that plays segments."""

    name: str
    size: int | None = None
    """Size if it is a fixed one."""
    pool: ThreadPoolExecutor

    @property
    def force(self) -> float:
        """Last force, 1/s; nan where nothing steers."""
        return nan

    @property
    def control_cpu(self) -> float:
        """Processor seconds that the control has taken since `begin()`."""
        return 0.0

    @abstractmethod
    def threads(self) -> int:
        """Threads to be paid for now."""

    def begin(self) -> None:  # noqa: B027 - a fixed size has nothing to begin or end
        """Get ready to play a segment."""

    def end(self) -> None:  # noqa: B027
        """Stand still until the next one."""

    def close(self) -> None:
        """End the threads; tasks that have not begun are dropped."""
        self.end()
        self.pool.shutdown(cancel_futures=True)


class FixedArm(Arm):
    """A standard pool of a fixed size, all of whose threads are there from the beginning.

    They would be after the first burst, for good: standard pools do not shrink.
    """

    def __init__(self, size: int) -> None:
        self.name = f"fixed, {size}"
        self.size: int = size
        self.pool = ThreadPoolExecutor(size)
        ready = threading.Barrier(size)
        for future in [self.pool.submit(ready.wait) for _ in range(size)]:
            future.result()

    def threads(self) -> int:
        """Size."""
        return self.size


class SteeredArm(Arm):
    """A resizable pool under a controller that tunes itself, beginning at Python's default size.

    Nothing but the public names, as a program of one's own would use them; only
    that pool and controller are given a clock which stands still in the breaks.
    """

    name = "steered"

    def __init__(self) -> None:
        self._clock = Stopwatch()
        self._pool = ResizableThreadPoolExecutor(default_size(), clock=self._clock)
        self.pool = self._pool
        self.controller = QuantumController(
            ThreadPoolResource(pool=self._pool),
            MODEL,
            auto_tune=True,
            interval=INTERVAL,
            clock=self._clock,
        )
        # The control's own thread's clock, for `time.clock_gettime`; None while there is no thread.
        self._cpu_clock: int | None = None

    @property
    def force(self) -> float:
        """Force of the last step."""
        decisions = self.controller.decisions
        return decisions[-1].force if decisions else nan

    @property
    def control_cpu(self) -> float:
        """Processor seconds of the control's thread."""
        return time.clock_gettime(self._cpu_clock) if self._cpu_clock is not None else 0.0

    def threads(self) -> int:
        """Size, or the threads that are there where those are more."""
        reading = self._pool.reading()
        return max(reading.size, reading.alive)

    def begin(self) -> None:
        """Let the pool's time go on, and the control."""
        self._clock.go()
        others = set(threading.enumerate())
        self.controller.start()
        own = next(
            each
            for each in threading.enumerate()
            if each not in others and each.name.startswith("quantum_control")
        )
        self._cpu_clock = time.pthread_getcpuclockid(own.ident or 0)

    def end(self) -> None:
        """Halt the control, and the pool's time: for it, the next segment follows at once."""
        self._cpu_clock = None
        self.controller.stop(restore=False)
        self._clock.halt()


class Stopwatch:
    """A clock that stands still in the breaks; seconds."""

    def __init__(self) -> None:
        # When it was halted, None while it runs, and what it has lost: together, so that whoever
        # reads the clock meanwhile never gets the one without the other.
        self._state: tuple[float | None, float] = (time.monotonic(), 0.0)

    def __call__(self) -> float:
        """Seconds."""
        halted, lost = self._state
        return (time.monotonic() if halted is None else halted) - lost

    def go(self) -> None:
        """Go on."""
        halted, lost = self._state
        if halted is not None:
            self._state = (None, lost + time.monotonic() - halted)

    def halt(self) -> None:
        """Stand still."""
        halted, lost = self._state
        if halted is None:
            self._state = (time.monotonic(), lost)
