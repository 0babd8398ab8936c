"""Calls a step at a fixed interval, on a thread of its own or in an event loop."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

from quantum_control.core.errors import LifecycleError


class Schedule:
    """Deadlines on a fixed grid; those that a slow step has missed are skipped, not made up for."""

    def __init__(self, interval: float, start: float) -> None:
        self._interval = interval
        self._next = start

    def remaining(self, now: float) -> float:
        """Seconds from `now` until the next deadline, which is hereby used up."""
        self._next += self._interval * max(1, -(-(now - self._next) // self._interval))
        return self._next - now


class _Run:
    """One stretch of running, from `start()` or `run()` to its end."""

    def __init__(self) -> None:
        self.stopping = threading.Event()
        # Held during a step, so that no step begins or goes on once stop() has returned. It may be
        # taken again by its holder: a step may stop its own run.
        self.stepping = threading.RLock()
        self.thread: threading.Thread | None = None
        self.wake: Callable[[], object] | None = None


class Runner:
    """Runs `step` every `interval` seconds until told to stop.

    Parameters
    ----------
    abandoned
        Called in the thread of the loop when that ends without `stop()`: by
        cancellation, or by something that is not the step's to catch.
    """

    def __init__(
        self, step: Callable[[], object], interval: float, name: str, abandoned: Callable[[], object]
    ) -> None:
        self._step = step
        self._interval = interval
        self._name = name
        self._abandoned = abandoned
        self._run: _Run | None = None
        # start() and stop() may be called from any thread; guards `_run`.
        self._lock = threading.Lock()

    @property
    def running(self) -> bool:
        """Whether a thread or a task runs the step."""
        return self._run is not None

    def start(self) -> None:
        """Start a daemon thread; the first step is taken at once.

        Raises
        ------
        LifecycleError
            It runs already.
        """
        with self._lock:
            run = self._begun()
            run.thread = threading.Thread(target=self._loop, args=(run,), name=self._name, daemon=True)
            run.thread.start()
            self._run = run

    def stop(self) -> None:
        """End the loop and wait for a step under way; does nothing if none runs."""
        with self._lock:
            run = self._run
        if run is None:
            return
        with run.stepping:
            run.stopping.set()
        if run.wake is not None:
            try:
                run.wake()
            except RuntimeError:  # the event loop was closed under it, and will not run its end
                self._ended(run)
        if run.thread is not None and run.thread is not threading.current_thread():
            run.thread.join()

    async def run(self) -> None:
        """Take steps in the running event loop until `stop()` or cancellation.

        Raises
        ------
        LifecycleError
            It runs already.
        """
        loop = asyncio.get_running_loop()
        woken = asyncio.Event()
        with self._lock:
            self._run = run = self._begun()
        run.wake = lambda: loop.call_soon_threadsafe(woken.set)
        schedule = Schedule(self._interval, time.monotonic())
        try:
            while self._stepped(run):
                try:
                    async with asyncio.timeout(schedule.remaining(time.monotonic())):
                        await woken.wait()
                except TimeoutError:
                    continue
        finally:
            self._ended(run)

    def _loop(self, run: _Run) -> None:
        schedule = Schedule(self._interval, time.monotonic())
        try:
            while self._stepped(run):
                run.stopping.wait(schedule.remaining(time.monotonic()))
        finally:
            self._ended(run)

    def _stepped(self, run: _Run) -> bool:
        """Take a step, unless the run is to end."""
        with run.stepping:
            if run.stopping.is_set():
                return False
            self._step()
        return True

    def _begun(self) -> _Run:
        if self._run is not None:
            raise LifecycleError(f"{self._name} is running already; stop() it first")
        return _Run()

    def _ended(self, run: _Run) -> None:
        with self._lock:
            if self._run is run:
                self._run = None
        if not run.stopping.is_set():
            self._abandoned()
