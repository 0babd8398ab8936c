"""A thread pool executor that steers its own number of threads."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar

from quantum_control.core.physics import PhysicsModel
from quantum_control.core.resource import ResourceState
from quantum_control.resources.crew import Crew
from quantum_control.resources.executor import ResizableThreadPoolExecutor
from quantum_control.resources.threads import MAX_THREADS, ThreadPoolResource

if TYPE_CHECKING:
    from quantum_control.core.controller import QuantumController

P = ParamSpec("P")
T = TypeVar("T")

INTERVAL = 0.1
"""Seconds between steps: several times what it takes to start a few threads,
and short beside what people notice."""


class AdaptiveThreadPoolExecutor(ResizableThreadPoolExecutor):
    """A thread pool that finds its own size.

    The control begins with the first task, or with `with`, and ends with the
    pool: when it was shut down and its queue is served, or when nobody refers
    to it any more.

    Parameters
    ----------
    max_workers
        Size to begin with, held within the bounds; None as in the standard library.
    thread_name_prefix, initializer, initargs, on_start, clock
        As for `ResizableThreadPoolExecutor`.
    min_threads, max_threads
        Bounds of the size. Tasks that wait for other tasks of the same pool
        need a `min_threads` above the number of those that wait.
    physics_model, auto_tune, interval
        As for `QuantumController`; `interval` in seconds.

    Raises
    ------
    ConfigError
        Bounds that are not 1 <= min <= max, an unknown model, or an interval
        that is not positive.
    """

    steers_itself = True

    def __init__(
        self,
        max_workers: int | None = None,
        thread_name_prefix: str = "",
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        *,
        min_threads: int = 1,
        max_threads: int = MAX_THREADS,
        physics_model: str | PhysicsModel = "optomechanical",
        auto_tune: bool = False,
        interval: float = INTERVAL,
        on_start: Callable[[float], object] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        from quantum_control.core.controller import QuantumController

        super().__init__(
            max_workers, thread_name_prefix, initializer, initargs, on_start=on_start, clock=clock
        )
        resource = _OwnThreads(self._crew, min_threads, max_threads)
        self._crew.resize(min(max(self.size, min_threads), max_threads))
        self.controller: QuantumController = QuantumController(
            resource, physics_model, auto_tune, interval=interval
        )
        """The control: its `history`, `decisions` and `metrics` are there to be looked at."""
        resource.controller = self.controller
        self._steered = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Schedule `fn(*args, **kwargs)`; see `concurrent.futures.Executor.submit`."""
        if not self._steered:
            self._steer()
        return super().submit(fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Free the threads once the queue is served; see `concurrent.futures.Executor.shutdown`.

        The size is steered until then.
        """
        super().shutdown(wait, cancel_futures=cancel_futures)
        if wait:
            self.controller.stop(restore=False)

    def __enter__(self) -> Self:
        self._steer()
        return self

    def _steer(self) -> None:
        with self._crew.lock:
            if self._steered or self._crew.closing:
                return
            self._steered = True
        try:
            self.controller.start()
        except BaseException:  # no thread to be had now: the next task tries again
            self._steered = False
            raise


class _OwnThreads(ThreadPoolResource):
    """The pool as its own controller sees it: through the crew, so that the pool can be collected."""

    controller: QuantumController

    def __init__(self, crew: Crew, min_threads: int, max_threads: int) -> None:
        super().__init__(pool=crew, min_threads=min_threads, max_threads=max_threads)
        self._crew = crew

    def measure_state(self) -> ResourceState:
        if self._crew.closing and not self._crew.threads:
            self.controller.stop(restore=False)  # on the controller's own thread: it ends after this step
        return super().measure_state()
