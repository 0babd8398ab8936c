"""A standard thread pool that the application has already, measured and held to a size."""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import thread as stock
from contextlib import suppress
from typing import Any, ParamSpec, TypeVar

from quantum_control.core.errors import ActuatorError, ConfigError, SafetyError
from quantum_control.core.forked import forget_in_child
from quantum_control.resources.reading import PoolReading, Tally, positive_int

P = ParamSpec("P")
T = TypeVar("T")

PRIVATE = (
    "_adjust_thread_count",
    "_broken",
    "_idle_semaphore",
    "_max_workers",
    "_shutdown",
    "_shutdown_lock",
    "_threads",
    "_work_queue",
)
"""Attributes of a standard pool that are used below; the same in CPython 3.9 to 3.14."""


class AdoptedPool:
    """A `concurrent.futures.ThreadPoolExecutor` with a size and a reading.

    While adopted, the pool has a `submit` of its own that stamps each task
    with the time and sends it through a gate, which lets `size` of them run at
    once, in the order in which the workers reach it. Growing also raises the
    pool's `_max_workers` and starts threads for what waits.

    What cannot be done to a standard pool:

    * Its threads cannot be made to end before it is shut down. After a shrink
      the surplus ones stand at the gate: their number of running tasks shrinks
      at once, their memory stays.
    * A task that a surplus thread has taken from the queue and holds at the
      gate can no longer be cancelled, and its future says that it runs.
    * Tasks submitted before the adoption, or through a `pool.submit` that was
      looked up before, are neither gated nor measured, except for their place
      in the queue; and a cancelled task counts as waiting until a worker comes
      upon it.

    Parameters
    ----------
    pool
        The pool. It is not kept from being collected by anything but this object.
    clock
        Any callable that returns seconds and does not run backwards.

    Raises
    ------
    ConfigError
        This Python's pool has not got the private attributes that are needed.
    SafetyError
        The pool is adopted already.
    """

    def __init__(self, pool: ThreadPoolExecutor, *, clock: Callable[[], float] = time.monotonic) -> None:
        missing = [name for name in PRIVATE if not hasattr(pool, name)]
        if missing:
            raise ConfigError(
                f"a {type(pool).__name__} without {', '.join(missing)} cannot be adopted;"
                " use ResizableThreadPoolExecutor in its place"
            )
        found = vars(pool).get("submit")
        if isinstance(found, Entrance):
            if found.adopted:
                raise SafetyError("this pool is adopted already; release() the other one first")
            entrance = found
        else:
            entrance = Entrance(pool, found, Gate(clock))
        self.pool = pool
        self.original: int = pool._max_workers
        """`_max_workers` as found."""
        self._set: int | None = None
        """`_max_workers` as last set here; None until then."""
        self._released = False  # whoever adopts it next may do so by the same entrance
        self._gate = entrance.gate
        self._entrance = entrance
        entrance.adopted = True
        pool.submit = entrance  # type: ignore[method-assign]

    def reading(self) -> PoolReading:
        """Measure now."""
        if self._set is not None and not self._released:
            with suppress(RuntimeError):  # no thread to be had now: a measurement does not fail of that
                self._start_threads()
        pool = self.pool
        allowed: int = pool._max_workers
        limit = self._gate.limit
        size = allowed if limit is None else min(limit, allowed)
        return self._gate.reading(size, alive=len(pool._threads), queued=pool._work_queue.qsize())

    def resize(self, size: int, /) -> None:
        """Let `size` tasks run at once.

        Raises
        ------
        ConfigError
            Not a positive integer.
        ActuatorError
            A thread could not be started; everything is as it was before. Or the pool was released.
        """
        size = positive_int("resize", size)
        if self._released:
            if size == self.pool._max_workers:  # a controller that ends late puts back what is back
                return
            raise ActuatorError(f"setting the size to {size}: the pool was given back by release()")
        before = (self.pool._max_workers, self._set, self._gate.limit)
        self._set = self.pool._max_workers = size
        self._gate.set_limit(size)
        try:
            self._start_threads()
        except RuntimeError as error:
            self.pool._max_workers, self._set, limit = before
            self._gate.set_limit(limit)
            raise ActuatorError(
                f"growing an adopted pool from {before[0]} to {size} threads: {error};"
                " raise the process's thread limit or lower max_threads"
            ) from error

    def release(self) -> None:
        """Give the pool back as it was found; may be called any number of times.

        `submit` and `_max_workers` are the original ones again. Where the pool
        has grown past its original size, the threads that it gained stay until
        it is shut down, and so does the gate, at the original size: without it
        the pool would go on running more tasks at once than it was built for.
        """
        entrance, pool = self._entrance, self.pool
        if self._released:
            return
        self._released = True
        entrance.adopted = False
        if self._set is not None and pool._max_workers == self._set:  # else somebody else has set it since
            pool._max_workers = self.original
        outgrown = len(pool._threads) > pool._max_workers and not pool._shutdown
        self._gate.set_limit(pool._max_workers if outgrown else None)
        if not outgrown and vars(pool).get("submit") is entrance:
            if entrance.found is None:
                del pool.submit
            else:
                pool.submit = entrance.found  # type: ignore[method-assign]

    def _start_threads(self) -> None:
        """Start the threads that waiting tasks are due; the pool by itself does so only in `submit`."""
        pool = self.pool
        due = min(pool._work_queue.qsize(), pool._max_workers - len(pool._threads))
        for _ in range(due):
            with pool._shutdown_lock, stock._global_shutdown_lock:
                if pool._shutdown or stock._shutdown or pool._broken:
                    return
                # In Python 3.11 each task that ends counts as an idle worker even where others wait,
                # and a pool that has worked off a backlog starts no threads until those are used up.
                while pool._idle_semaphore.acquire(blocking=False):
                    pass
                pool._adjust_thread_count()


class Entrance:
    """Takes the place of `submit` on one pool."""

    def __init__(
        self, pool: ThreadPoolExecutor, found: Callable[..., Future[Any]] | None, gate: Gate
    ) -> None:
        self._pool = weakref.ref(pool)  # the pool holds this object: it must stay collectable by counting
        self.found = found
        """The `submit` that the instance had of its own, such as another library's."""
        self.gate = gate
        self.adopted = False

    def __call__(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Submit `fn(*args, **kwargs)` by way of the gate."""
        submitted = self.gate.arrive()
        try:
            return self._submit(self.gate.run, fn, args, kwargs, submitted)
        except BaseException:
            self.gate.turn_away()
            raise

    def _submit(self, *stamped: Any) -> Future[Any]:
        if self.found is not None:
            return self.found(*stamped)
        pool = self._pool()
        if pool is None:
            raise RuntimeError("cannot schedule new futures: the pool has been collected")
        submit: Callable[..., Future[Any]] = type(pool).submit
        return submit(pool, *stamped)


class Gate:
    """Lets so many tasks of a pool run at once and counts them; refers to no pool."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.limit: int | None = None
        """Tasks that may run at once; None is any number."""
        self._lock = threading.RLock()  # reentrant for destructors that submit, as in a crew
        self._clock = clock
        self._tally = Tally(clock())
        self._held: deque[tuple[threading.Lock, float]] = deque()
        """Workers that stand at the gate, and when their tasks were submitted."""
        forget_in_child(self)

    def reading(self, size: int, *, alive: int, queued: int) -> PoolReading:
        """Measure now."""
        with self._lock:
            waiting = queued + len(self._held)
            return self._tally.reading(self._clock(), size=size, alive=alive, waiting=waiting)

    def set_limit(self, limit: int | None) -> None:
        """Open the gate so far."""
        with self._lock:
            self.limit = limit
            self._let_in(self._clock())

    def arrive(self) -> float:
        """Count a task about to be submitted; answers the time."""
        with self._lock:
            self._tally.submitted += 1
            return self._clock()

    def turn_away(self) -> None:
        """Take back `arrive`: the pool has refused the task."""
        with self._lock:
            self._tally.submitted -= 1

    def run(self, fn: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any], submitted: float) -> T:
        """Run a task in its worker once there is room."""
        turn = None
        with self._lock:
            began = self._clock()
            if not self._held and (self.limit is None or self._tally.busy < self.limit):
                self._tally.occupy(began, 1)
                self._tally.begin(began - submitted)
            else:
                turn = threading.Lock()
                turn.acquire()
                self._held.append((turn, submitted))
        if turn is not None:
            turn.acquire()  # until `_let_in` releases it, having counted this task as running
            began = self._clock()
        failed = True
        try:
            result = fn(*args, **kwargs)
            failed = False
        finally:
            with self._lock:
                now = self._clock()
                self._tally.finish(now - began, failed)
                self._tally.occupy(now, -1)
                self._let_in(now)
        return result

    def forget(self) -> None:
        """Begin anew in a forked child; a standard pool goes on there counting its parent's workers."""
        self._lock = threading.RLock()

    def _let_in(self, now: float) -> None:
        while self._held and (self.limit is None or self._tally.busy < self.limit):
            turn, submitted = self._held.popleft()
            self._tally.occupy(now, 1)
            self._tally.begin(now - submitted)
            turn.release()
