"""A thread pool executor whose number of threads can change while it works."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from typing import Any, ClassVar, ParamSpec, TypeVar, cast

from quantum_control.resources.crew import AFTER_EXIT, AFTER_SHUTDOWN, Crew
from quantum_control.resources.reading import PoolReading, positive_int
from quantum_control.resources.worker import Job

P = ParamSpec("P")
T = TypeVar("T")


class ResizableThreadPoolExecutor(ThreadPoolExecutor):
    """`concurrent.futures.ThreadPoolExecutor` with `resize` and `reading`.

    Put it where the standard one is: everything that works there works here.
    Tasks begin in the order in which they were submitted, whatever is resized
    meanwhile.

    Parameters
    ----------
    max_workers, thread_name_prefix, initializer, initargs
        As in the standard library. `max_workers` is where the size begins.
    on_start
        Called in the worker thread as each task begins, with the seconds that
        it has waited. What it raises is logged. None costs nothing.
    clock
        Any callable that returns seconds and does not run backwards.

    Raises
    ------
    ValueError, TypeError
        As in the standard library.
    """

    steers_itself: ClassVar[bool] = False
    """Whether pools of this class come with a controller of their own."""

    _unnamed = count().__next__

    def __init__(
        self,
        max_workers: int | None = None,
        thread_name_prefix: str = "",
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        *,
        on_start: Callable[[float], object] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        prefix = thread_name_prefix or f"{type(self).__name__}-{self._unnamed()}"
        # The crew comes first: the standard constructor then checks the arguments and works out
        # the default of `max_workers`, which reaches the crew through the property below.
        self._crew = Crew(1, prefix, initializer, initargs, clock, on_start)
        super().__init__(max_workers, prefix, initializer, initargs)
        # Neither is used here; programs that watch a pool look at them.
        self._threads = self._crew.threads
        self._work_queue = cast(Any, _Backlog(self._crew))
        _enlist(self._crew)
        weakref.finalize(self, self._crew.abandon).atexit = False

    @property
    def size(self) -> int:
        """Number of threads allowed: what `resize` was last given, at first `max_workers`."""
        return self._crew.target

    @property
    def _max_workers(self) -> int:
        """The standard executor's name for the size, which other programs read and even set."""
        return self._crew.target

    @_max_workers.setter
    def _max_workers(self, value: int) -> None:
        self._crew.resize(value)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Schedule `fn(*args, **kwargs)`; see `concurrent.futures.Executor.submit`."""
        job: Job[T] = Job()
        job.crew = self._crew
        self._crew.enqueue(job, fn, args, kwargs)
        return job

    def resize(self, size: int, /) -> None:
        """Set the number of threads.

        Growing starts threads at once for tasks that wait, later ones as tasks
        need them. Shrinking ends idle threads at once and others after their
        current task, before the rest of the queue is served. Growing again
        calls off whatever retirement has not happened yet. No task is lost,
        repeated or overtaken. A pool that was shut down can be resized as long
        as it has tasks to finish.

        Parameters
        ----------
        size
            Threads, at least 1.

        Raises
        ------
        ConfigError
            Not a positive integer.
        ActuatorError
            A thread could not be started; the size is what it was before.
        """
        self._crew.resize(positive_int("resize", size))

    def reading(self) -> PoolReading:
        """Measure now: size, threads, queue, and everything counted so far."""
        return self._crew.reading()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Free the threads once the queue is served; see `concurrent.futures.Executor.shutdown`."""
        self._shutdown = True
        self._crew.close(RuntimeError(AFTER_SHUTDOWN))
        if cancel_futures:
            for job in self._crew.drain():
                # The second call tells those who sit in `wait` or `as_completed`.
                if job.cancel() and job.cancelled():
                    job.set_running_or_notify_cancel()
        if wait:
            self._crew.join()


class _Backlog:
    """What `_work_queue` is to programs that watch a pool: something with a length."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew

    def qsize(self) -> int:
        return self._crew.reading().waiting

    def empty(self) -> bool:
        return not self.qsize()


_crews: weakref.WeakSet[Crew] = weakref.WeakSet()
_crews_lock = threading.RLock()
_exiting = threading.Event()


def _enlist(crew: Crew) -> None:
    with _crews_lock:
        _crews.add(crew)
    if _exiting.is_set():
        crew.close(RuntimeError(AFTER_EXIT))


def _close_all() -> None:
    """Let every pool of the process finish before the interpreter goes."""
    _exiting.set()
    with _crews_lock:
        crews = list(_crews)
    for crew in crews:
        crew.hiring = False
        crew.close(RuntimeError(AFTER_EXIT))
    for crew in crews:
        crew.join()


def _forget_all() -> None:
    """In a forked child, where no worker lives and any lock may be held for ever."""
    global _crews_lock
    _crews_lock = threading.RLock()
    for crew in list(_crews):
        crew.forget_threads()


# The one private name relied upon. Threads that are not daemons are joined before `atexit`
# functions run, so idle workers have to be sent home earlier; and daemons they must not be,
# or every thread that a task starts would inherit it and be cut off at exit.
threading._register_atexit(_close_all)  # type: ignore[attr-defined]
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
