"""One worker thread: what it is handed, and what it does with it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

if TYPE_CHECKING:
    from quantum_control.resources.crew import Crew

T = TypeVar("T")

LOGGER = logging.getLogger("concurrent.futures")
"""The standard library's own: whoever watches for its messages finds ours too."""


class Job(Future[T]):
    """A future that tells its crew when it is cancelled, so that it no longer counts as waiting."""

    crew: Crew
    withdrawn = False
    """Whether its cancellation has been counted. Guarded by `Crew.cancelling`."""

    def cancel(self) -> bool:
        """As `Future.cancel`."""
        cancelled = super().cancel()
        if cancelled:
            self.crew.withdraw(self)
        return cancelled


Task: TypeAlias = tuple[Job[Any], Callable[..., Any], tuple[Any, ...], dict[str, Any], float]
"""Future, function, its arguments, and when it was submitted. Apart from the
future, which the caller may keep for ever. A plain tuple: one is made a task."""


class Worker:
    """A thread, and the lock on which it sleeps while there is nothing to do."""

    __slots__ = ("began", "busy", "dismissed", "thread", "wake")

    def __init__(self) -> None:
        self.thread: threading.Thread
        self.wake = threading.Lock()
        self.wake.acquire()  # held while asleep: releasing it is the call
        self.busy = False
        self.began = 0.0
        self.dismissed = False


def work(crew: Crew, worker: Worker) -> None:
    """Begin, serve and end: what each thread runs."""
    if crew.initializer is not None:
        try:
            crew.initializer(*crew.initargs)
        except BaseException:
            LOGGER.critical("Exception in initializer:", exc_info=True)
            crew.fail(worker)
            return
    try:
        serve(crew, worker)
    except BaseException:
        # Such as a callback of a future that raises what is no Exception.
        LOGGER.critical("Exception in worker", exc_info=True)
        crew.lose(worker)


def serve(crew: Crew, worker: Worker) -> None:
    """Run one task after the other until told to go."""
    on_start = crew.on_start
    ran = failed = False
    while (task := crew.take(worker, ran, failed)) is not None:
        job, fn, args, kwargs, submitted = task
        if on_start is not None:
            report(on_start, worker.began - submitted)
        failed = run(job, fn, args, kwargs)
        ran = True
        # A worker that sleeps must not keep the results and arguments of its last task alive.
        del task, job, fn, args, kwargs


def run(job: Job[T], fn: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Run one task into its future; True if it raised."""
    try:
        result = fn(*args, **kwargs)
    except BaseException as error:  # noqa: BLE001 - whatever it is belongs to whoever holds the future
        job.set_exception(error)
        del job, fn, args, kwargs  # the traceback refers to this frame: break the cycle
        return True
    job.set_result(result)
    return False


def report(on_start: Callable[[float], object], waited: float) -> None:
    """Call the hook; what it raises must not cost a task."""
    try:
        on_start(waited)
    except BaseException:
        LOGGER.exception("Exception in on_start of a thread pool:")
