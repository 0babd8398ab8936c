"""How much of a control group's memory nobody has touched lately."""

from __future__ import annotations

import time
from collections.abc import Callable

from quantum_control.resources.memory_need import FEEL, LOOKS
from quantum_control.sources.touched import TouchedMemory

MOSTLY = 0.9
"""Share of what can be taken that has to be mapped for what was touched to tell what is idle: of files that
are read and not mapped, no page table tells anything."""

REST = 0.01
"""Share of what can be taken below which what is idle is not worth a try, and is looked for anew."""

LOOK_SHARE = 0.002
"""Processor time that looking may take, over time."""


class IdleMemory:
    """Finds what has not been touched in `LOOKS` intervals or more; `update` once an interval.

    The marks of what was touched are cleared, and read `LOOKS` intervals later
    and from then on, as long as what they have left out is worth taking: they
    add up meanwhile, so that what is idle is never less idle than that.

    Parameters
    ----------
    touched
        Where the marks are.
    clock
        Seconds.
    processor
        Processor seconds of the calling thread: a look that was kept waiting is not a dear one.
    """

    def __init__(
        self,
        touched: TouchedMemory,
        clock: Callable[[], float],
        processor: Callable[[], float] = time.thread_time,
    ) -> None:
        self._touched = touched
        self._clock = clock
        self._processor = processor
        self._idle = 0  # bytes that were found idle, and not taken yet
        self._age = 0  # intervals since the marks were cleared; 0 before the first time
        self._due = 0.0  # seconds on the clock before which there is no look

    def update(self, takeable: int, mapped: int, taken: int) -> int | None:
        """Bytes that are idle; None where that cannot be told.

        Parameters
        ----------
        takeable
            Bytes that the kernel could take without swapping.
        mapped
            Bytes of them that are in the page table of some process.
        taken
            Bytes that it has taken since the last call.
        """
        self._idle = max(0, self._idle - taken)
        if mapped < MOSTLY * takeable:
            return None
        now, spent = self._clock(), self._processor()
        if self._age == 0:
            if not self._clear():
                return None
        elif self._age < LOOKS or now < self._due:
            self._age += 1
            return self._idle
        else:
            touched = self._touched.read()
            if touched is None:
                return None
            # Touched is also what is no file's, and shared memory counts for each process: more is idle.
            self._idle = max(0, mapped - touched)
            if self._idle < max(FEEL, REST * takeable):
                self._clear()
        self._due = now + (self._processor() - spent) / LOOK_SHARE
        return self._idle

    def _clear(self) -> bool:
        done = self._touched.forget()
        self._idle, self._age = 0, int(done)
        return done
