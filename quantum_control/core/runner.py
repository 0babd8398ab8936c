"""Takes steps one at a time: by hand, at a fixed interval on a thread, or in an event loop."""

from __future__ import annotations

import asyncio
import atexit
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

from quantum_control.core.errors import ActuatorError, LifecycleError
from quantum_control.core.forked import Owner, forget_in_child

T = TypeVar("T")

EXIT_SECONDS = 5.0
"""For which the end of the interpreter waits for a step under way, and for what it has to put back."""

_log = logging.getLogger("quantum_control")


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
        self.stopping = False
        self.puts_back = True  # at its own end; not where whoever stops it does
        self.thread: threading.Thread | None = None
        self.wake: Callable[[], object] | None = None
        # Held until the end: waiting for a lock costs a fifth less than waiting for an event, and at
        # ten steps a second waking up is most of what the loop costs.
        self._rest = threading.Lock()
        self._rest.acquire()

    def rest(self, seconds: float) -> None:
        """Wait, but not past the end."""
        self._rest.acquire(timeout=max(seconds, 0.0))

    def end(self, *, puts_back: bool = False) -> None:
        """Let no further step begin, and wake the thread that rests."""
        self.puts_back = puts_back
        self.stopping = True
        with suppress(RuntimeError):  # whoever else ended it was quicker
            self._rest.release()


class Runner(Generic[T]):
    """Takes steps, never two at once, and puts things back when told to stop.

    Parameters
    ----------
    step
        What is done, once or every `interval` seconds.
    restore
        Undoes what the steps have done; may raise `ActuatorError`. Called by
        `stop()`, and by a loop that ends in another way: by cancellation, or by
        something that is not the step's to catch.
    """

    def __init__(
        self, step: Callable[[], T], restore: Callable[[], object], interval: float, name: str
    ) -> None:
        self._step = step
        self._restore = restore
        self._interval = interval
        self._name = name
        self._run: _Run | None = None
        # start() and stop() may be called from any thread; guards `_run`.
        self._lock = threading.Lock()
        # Held during a step and a restore: one at a time, whoever takes it.
        self._turn = threading.RLock()
        self._holder = 0  # ident of the thread whose turn it is
        self._asked: bool | None = None  # stop(restore) as called from inside the step under way
        self._inherited = False
        self._owner = Owner()
        self._elsewhere = False  # whether the loop ran, at the fork, in the parent
        forget_in_child(self)

    @property
    def inherited(self) -> bool:
        """Whether this is a forked child's copy that has done nothing here: what was done is the parent's."""
        return self._inherited

    @property
    def running(self) -> bool:
        """Whether a thread or a task takes steps."""
        return self._run is not None

    @property
    def stop_asked(self) -> bool:
        """Whether the step under way has been told, from inside, that it is the last."""
        return self._asked is not None

    def once(self) -> T:
        """Take one step now, after the one under way if there is any.

        Raises
        ------
        LifecycleError
            The loop runs in the process from which this one was forked.
        """
        if self._inherited:
            self._take_over()
        with self._turn:
            self._holder = threading.get_ident()
            try:
                result = self._step()
            finally:
                self._holder = 0
            asked, self._asked = self._asked, None
        if asked is not None:
            try:
                self.stop(restore=asked)
            except ActuatorError as error:  # who asked is past hearing of it
                _log.error("%s: %s", self._name, error)
        return result

    def start(self) -> None:
        """Start a daemon thread, which takes the first step at once, and puts back when the interpreter ends.

        Raises
        ------
        LifecycleError
            It runs already, here or in the process from which this one was forked.
        """
        with self._lock:
            run = self._begun()
            run.thread = threading.Thread(target=self._loop, args=(run,), name=self._name, daemon=True)
            run.thread.start()
            self._run = run
            atexit.register(self._at_exit)

    def stop(self, *, restore: bool) -> None:
        """End the loop if there is one, wait for the step under way, and restore if told to.

        Called from inside a step, it is done as that ends. In a forked child
        that has done nothing here it is the parent's to end and to restore, as
        long as that lives.
        """
        if self._inherited:
            if self._owner.elsewhere:
                return
            self._take_over()
        if self._holder == threading.get_ident():
            self._asked = restore
            return
        self._end_loop()
        if restore:
            self._put_back()

    async def run(self) -> None:
        """Take steps in the running event loop until `stop()` or cancellation.

        Raises
        ------
        LifecycleError
            As `start`.
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
                run.rest(schedule.remaining(time.monotonic()))
        finally:
            try:
                self._ended(run)
            except ActuatorError as error:  # nobody is there to hear of it
                _log.error("%s: %s", self._name, error)

    def _at_exit(self) -> None:
        """Have the thread put back while there still are threads, but wait for none that hangs."""
        run = self._run
        if run is None or run.thread is None or not run.thread.is_alive():  # a forked child has none
            return
        run.end(puts_back=True)
        run.thread.join(EXIT_SECONDS)
        if run.thread.is_alive():
            _log.error("%s: not put back, a step has not come to its end", self._name)

    def forget(self) -> None:
        """Begin anew in a forked child, where no loop runs and a step under way never ends."""
        run, self._run = self._run, None
        if run is not None:
            self._elsewhere = True
            run.end()  # the copy of an event loop, or of the thread that has forked, goes on here
        self._lock = threading.Lock()
        self._turn = threading.RLock()
        self._holder, self._asked = 0, None
        self._inherited = True

    def _stepped(self, run: _Run) -> bool:
        """Take a step, unless the run is to end."""
        with self._turn:
            if run.stopping:
                return False
            self.once()
        return True

    def _end_loop(self) -> None:
        with self._lock:
            run = self._run
        if run is None:
            return
        run.end()
        with self._turn:
            pass  # waits for the step under way; the run takes no other
        if run.wake is not None:
            try:
                run.wake()
            except RuntimeError:  # the event loop was closed under it, and will not run its end
                self._ended(run)
        if run.thread is not None and run.thread is not threading.current_thread():
            run.thread.join()

    def _put_back(self) -> None:
        with self._turn:
            self._holder = threading.get_ident()  # so that what is restored may call stop(), in vain
            try:
                self._restore()
            finally:
                self._holder = 0
                self._asked = None

    def _begun(self) -> _Run:
        if self._run is not None:
            raise LifecycleError(f"{self._name} is running already; stop() it first")
        if self._inherited:
            self._take_over()
        return _Run()

    def _take_over(self) -> None:
        """Let this process steer from here on, unless that from which it was forked does."""
        if self._elsewhere and self._owner.elsewhere:
            raise LifecycleError(
                f"{self._name} runs in the process from which this one was forked; stop() it there before"
                " the fork, or make a resource and a controller of this process's own"
            )
        self._inherited = False
        self._owner.claim()

    def _ended(self, run: _Run) -> None:
        with self._lock:
            if self._run is run:
                self._run = None
                atexit.unregister(self._at_exit)
        if run.puts_back:
            self._put_back()
