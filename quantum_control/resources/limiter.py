"""A limit on tasks in flight in asyncio, which can change while tasks wait for it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from types import TracebackType

from quantum_control.core.errors import LifecycleError
from quantum_control.core.forked import forget_in_child
from quantum_control.resources.reading import PoolReading, Tally, positive_int


class _Waiter:
    """One task that waits for a permit."""

    __slots__ = ("arrived", "future", "granted")

    def __init__(self, arrived: float) -> None:
        self.arrived = arrived
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.granted = False

    def wake(self) -> bool:
        """Let it go on, from any thread; False if its event loop was closed, so that nobody is left to."""
        loop = self.future.get_loop()
        if loop is _running_loop():
            self._resolve()
            return True
        try:
            loop.call_soon_threadsafe(self._resolve)
        except RuntimeError:
            return False
        return True

    def _resolve(self) -> None:
        if not self.future.done():  # it is if the task was cancelled meanwhile
            self.future.set_result(None)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class AsyncLimiter:
    """Lets a limited number of tasks at once into `async with limiter:`.

    As `asyncio.Semaphore`, but resizable while in use and from any thread,
    strictly first come, first served, usable from any number of event loops,
    and counting what a controller needs to know. A task that is cancelled
    while it waits loses its place and nothing else: a permit that was already
    on its way to it goes to the next.

    Parameters
    ----------
    limit
        Permits, at least 1.
    clock
        Any callable that returns seconds and does not run backwards.

    Raises
    ------
    ConfigError
        The limit is not a positive integer.
    """

    def __init__(self, limit: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = positive_int("limit", limit)
        self._clock = clock
        # A controller's thread resizes and reads while event loops acquire and release.
        self._lock = threading.RLock()
        self._tally = Tally(clock())
        self._waiters: OrderedDict[_Waiter, None] = OrderedDict()
        """In line, the first to be served first; a deque could not let go of many at once in linear time."""
        self._began: deque[float] = deque()
        """When the tasks inside came in, the first one first."""
        forget_in_child(self)

    @property
    def size(self) -> int:
        """Permits: how many tasks may be inside at once."""
        return self._limit

    def reading(self) -> PoolReading:
        """Measure now.

        `busy` is the number of permits in use, `alive` the number there are, or
        are in use where a shrink has left more of them. `service_seconds` pairs
        each release with the task that is longest inside, since any task may
        release: its sum is exact whenever nobody is, and right on average in
        between. `failed` counts the blocks left by an exception other than a
        cancellation.
        """
        with self._lock:
            alive = max(self._limit, self._tally.busy)
            return self._tally.reading(
                self._clock(), size=self._limit, alive=alive, waiting=len(self._waiters)
            )

    def resize(self, size: int, /) -> None:
        """Set the number of permits, from any thread.

        Growing lets waiting tasks in at once. Shrinking takes effect as tasks
        leave; none is interrupted.

        Raises
        ------
        ConfigError
            Not a positive integer.
        """
        size = positive_int("resize", size)
        with self._lock:
            self._limit = size
            self._grant()

    def forget(self) -> None:
        """Begin anew in a forked child, where nobody is in line; the permits in use stay so."""
        self._lock = threading.RLock()
        self._waiters.clear()

    async def acquire(self) -> None:
        """Take a permit, waiting in line for it. Each one must be given back by `release()`."""
        with self._lock:
            now = self._clock()
            self._tally.submitted += 1
            if not self._waiters and self._tally.busy < self._limit:
                self._tally.occupy(now, 1)
                self._begin(now, 0.0)
                return
            waiter = _Waiter(now)
            self._waiters[waiter] = None
        try:
            await waiter.future
        except BaseException:
            with self._lock:
                if waiter.granted:
                    self._tally.occupy(self._clock(), -1)
                    self._grant()
                else:
                    self._waiters.pop(waiter, None)  # not there if its event loop was closed
            raise
        with self._lock:
            now = self._clock()
            self._begin(now, now - waiter.arrived)

    def release(self, *, failed: bool = False) -> None:
        """Give a permit back, from any thread; `failed` counts what it was taken for as an error.

        Raises
        ------
        LifecycleError
            No permit is in use.
        """
        with self._lock:
            if not self._began:
                raise LifecycleError("release() without acquire(): no permit of this limiter is in use")
            now = self._clock()
            self._tally.finish(now - self._began.popleft(), failed)
            self._tally.occupy(now, -1)
            self._grant()

    def _begin(self, now: float, waited: float) -> None:
        self._tally.begin(waited)
        self._began.append(now)

    def _grant(self) -> None:
        """Hand free permits to the first in line."""
        while self._waiters and self._tally.busy < self._limit:
            waiter, _ = self._waiters.popitem(last=False)
            waiter.granted = waiter.wake()
            if waiter.granted:
                self._tally.occupy(self._clock(), 1)

    async def __aenter__(self) -> None:
        await self.acquire()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release(failed=kind is not None and issubclass(kind, Exception))
