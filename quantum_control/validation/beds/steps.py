"""Steps of a controller in blocks: while others have their turn its time stands still."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING

from quantum_control.core.controller import QuantumController
from quantum_control.demo.arms import Stopwatch
from quantum_control.validation.footprint import controller_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator


class Steps:
    """Takes steps on a thread of its own, from the beginning of a block's load to its end.

    Parameters
    ----------
    interval
        Seconds between two steps.
    """

    def __init__(self, interval: float) -> None:
        self.interval = interval
        self.clock = Stopwatch()
        """Runs while steps are taken; for whatever is stepped."""
        self.step: Callable[[], object] = lambda: None
        """What a step is; set it once that is made, with the clock."""
        self.controller: QuantumController | None = None
        """Whose step that is, if it is one of ours."""
        self.cpu = 0.0
        """Processor seconds of the last block's steps, waking up included."""
        self.taken = 0
        """Steps in the last block."""
        self._over = threading.Event()
        self._left = interval  # seconds to the next step when the clock was halted
        self._error: Exception | None = None

    def steer(self, controller: QuantumController) -> None:
        """Take the steps of a controller."""
        self.step, self.controller = controller.optimize, controller

    def memory(self) -> int | None:
        """Bytes that the controller holds; None if there is none."""
        return None if self.controller is None else controller_bytes(self.controller)

    @contextmanager
    def between(self, begin: float, end: float) -> Iterator[None]:
        """Take steps between two moments of the monotonic clock, or until the context ends if that is first.

        What a step has raised is raised at the end.
        """
        self.cpu, self.taken, self._error = 0.0, 0, None
        self._over.clear()
        thread = threading.Thread(target=self._loop, args=(begin, end), name="control")
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()
        if self._error is not None:
            raise self._error

    def _loop(self, begin: float, end: float) -> None:
        # Waking up is a cost of the control as well: the thread is counted, not the steps.
        began = time.thread_time()
        if self._over.wait(max(0.0, begin - time.monotonic())):
            return
        self.clock.go()
        due = time.monotonic() + self._left
        try:
            while due < end and not self._over.wait(max(0.0, due - time.monotonic())):
                self.step()
                self.taken += 1
                due = max(due + self.interval, time.monotonic())
            self._over.wait(max(0.0, end - time.monotonic()))
        except Exception as problem:  # noqa: BLE001 - raised where the block ends
            self._error = problem
        finally:
            self._left = max(0.0, due - time.monotonic())
            self.clock.halt()
            self.cpu = time.thread_time() - began
