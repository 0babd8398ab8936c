"""Waiting for signals in a process with threads and children."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterable


class Signals:
    """Signals that are waited for, from here on, in the main thread.

    They are caught, not blocked: what is blocked would be blocked in every
    program that an adapter starts, which then could not be ended. Signals that
    came while they were blocked are not lost.
    """

    def __init__(self, numbers: Iterable[signal.Signals]) -> None:
        self._reading, writing = os.pipe()
        os.set_blocking(self._reading, False)
        os.set_blocking(writing, False)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        for number in numbers:
            signal.signal(number, lambda *_: None)  # the number is written to the pipe
        signal.pthread_sigmask(signal.SIG_SETMASK, ())

    def wait(self, seconds: float) -> frozenset[int]:
        """Return the signals that have come, as soon as there is one; none after `seconds`."""
        if not select.select([self._reading], [], [], seconds)[0]:
            return frozenset()
        return frozenset(os.read(self._reading, 4096))
