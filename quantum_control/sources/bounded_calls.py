"""Calls that may hang: made by a thread that is left to itself when one does."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")

_Jobs = SimpleQueue[Callable[[], None] | None]


class BoundedCalls:
    """Makes calls one after another in a thread of its own, and waits for each no longer than it may take.

    A call that takes longer goes on in its thread, which ends with it; the
    next one has a new thread. The threads keep no process from ending.
    """

    def __init__(self) -> None:
        self._jobs: _Jobs | None = None

    def call(self, work: Callable[[], T], seconds: float, late: Callable[[], object]) -> T:
        """Result of `work()`; what it raises is raised here.

        Parameters
        ----------
        seconds
            Longest wait.
        late
            Called after the work, in its thread, where it has taken longer.

        Raises
        ------
        TimeoutError
            It takes longer.
        """
        if self._jobs is None:
            self._jobs = SimpleQueue()
            threading.Thread(target=_work, args=(self._jobs,), name="bounded calls", daemon=True).start()
        result: Future[T] = Future()
        self._jobs.put(lambda: _settle(result, work))
        try:
            return result.result(max(0.0, seconds))
        except TimeoutError:
            if result.done():
                raise
            self._jobs.put(lambda: _quietly(late))
            self.close()
            raise

    def close(self) -> None:
        """Let the thread end, once it is done with what it was given."""
        jobs, self._jobs = self._jobs, None
        if jobs is not None:
            jobs.put(None)

    def __del__(self) -> None:
        self.close()


def _work(jobs: _Jobs) -> None:
    while (job := jobs.get()) is not None:
        job()
        del job  # holds what was asked for


def _settle(result: Future[T], work: Callable[[], T]) -> None:
    try:
        result.set_result(work())
    except BaseException as error:  # noqa: BLE001 - raised where it was called
        result.set_exception(error)


def _quietly(work: Callable[[], object]) -> None:
    with suppress(Exception):
        work()
