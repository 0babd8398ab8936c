"""A turnstile in front of a connection pool: how many may hold a connection at once."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace

from quantum_control.core.errors import QuantumControlError
from quantum_control.core.forked import forget_in_child
from quantum_control.resources.reading import PoolReading, Tally


class NoPlaceError(QuantumControlError):
    """There was no place in time; the adapter raises its library's own error in its stead."""


class LineFullError(NoPlaceError):
    """The line was too long to join it."""


class _Thread:
    """A thread in line."""

    __slots__ = ("arrived", "granted", "turn")

    def __init__(self, arrived: float) -> None:
        self.arrived = arrived
        self.granted = False
        self.turn = threading.Lock()
        self.turn.acquire()

    def wake(self) -> bool:
        """Let it go on."""
        self.turn.release()
        return True


class _Task:
    """An asyncio task in line."""

    __slots__ = ("arrived", "granted", "turn")

    def __init__(self, arrived: float) -> None:
        self.arrived = arrived
        self.granted = False
        self.turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def wake(self) -> bool:
        """Let it go on, from any thread; False if its event loop was closed."""
        try:
            self.turn.get_loop().call_soon_threadsafe(self._resolve)
        except RuntimeError:
            return False
        return True

    def _resolve(self) -> None:
        if not self.turn.done():  # it is if the task was cancelled or has given up meanwhile
            self.turn.set_result(None)


class Turnstile:
    """Lets `limit` visitors at once through to a pool, first come, first served, and counts them.

    A visit is `enter`, then `begin` with the connection in hand, then `end`;
    or `enter`, then `fail` if the pool had none to give. Whoever is inside
    and has not begun still waits. The limit can be changed at any time, from
    any thread: growing lets visitors in at once, shrinking takes effect as
    they leave. Psycopg and redis-py have no such thing: there a lower
    maximum leaves the connections that exist in use.

    Parameters
    ----------
    limit
        Visitors inside at once, at least 1.
    clock
        Any callable that returns seconds and does not run backwards.
    """

    def __init__(self, limit: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._clock = clock
        self._lock = threading.RLock()  # reentrant for destructors that return a connection
        self._tally = Tally(clock())
        self._in_hand = 0
        self._line: OrderedDict[_Thread | _Task, None] = OrderedDict()
        forget_in_child(self)

    @property
    def limit(self) -> int:
        """Visitors that may be inside at once."""
        return self._limit

    @property
    def busy(self) -> int:
        """Visitors with a connection in hand."""
        return self._in_hand

    def __len__(self) -> int:
        """Visitors in line."""
        return len(self._line)

    def resize(self, limit: int) -> None:
        """Set the limit, from any thread."""
        with self._lock:
            self._limit = limit
            self._grant()

    def reading(self, *, size: int, alive: int) -> PoolReading:
        """Measure now; whoever gave up in line is in `submitted` alone, failed visits are in `failed`.

        `busy` is the number with a connection in hand. `busy_seconds` counts
        the places that are taken: between being let in and beginning a place
        serves nobody, yet nobody else can have it.
        """
        with self._lock:
            waiting = len(self._line) + self._tally.busy - self._in_hand
            now = self._tally.reading(self._clock(), size=size, alive=alive, waiting=waiting)
            return replace(now, busy=self._in_hand)

    def enter(self, timeout: float | None = None, longest: int = 0) -> float:
        """Wait in line for a place; answers the time of arrival, in the clock's seconds.

        Parameters
        ----------
        timeout
            Seconds after which to give up; None never.
        longest
            Length of the line past which nobody joins it; 0 is any length.

        Raises
        ------
        NoPlaceError
            The line was too long (`LineFullError`), or it took too long.
        """
        with self._lock:
            now = self._arrive()
            if self._walk_in(now):
                return now
            self._check_line(timeout, longest)
            place = _Thread(now)
            self._line[place] = None
        try:
            place.turn.acquire(timeout=-1 if timeout is None else timeout)
        except BaseException:  # of a signal's handler
            with self._lock:
                self._line.pop(place, None)
                if place.granted:
                    self.withdraw()
            raise
        with self._lock:
            if not place.granted:
                self._line.pop(place, None)
                raise NoPlaceError(f"no place within {timeout} s")
        return now

    async def enter_async(self, timeout: float | None = None, longest: int = 0) -> float:
        """Do as `enter`, from a task; cancellation gives the place in line, or the place, to the next."""
        with self._lock:
            now = self._arrive()
            if self._walk_in(now):
                return now
            self._check_line(timeout, longest)
            place = _Task(now)
            self._line[place] = None
        try:
            async with asyncio.timeout(timeout):
                await place.turn
        except BaseException as error:
            with self._lock:
                self._line.pop(place, None)
                if place.granted and isinstance(error, TimeoutError):
                    return now
                if place.granted:
                    self.withdraw()
            if isinstance(error, TimeoutError):
                raise NoPlaceError(f"no place within {timeout} s") from None
            raise
        return now

    def begin(self, arrived: float) -> float:
        """Count a connection in hand; answers the time, to be given to `end`."""
        with self._lock:
            now = self._clock()
            self._in_hand += 1
            self._tally.begin(now - arrived)
            return now

    def end(self, began: float, *, failed: bool = False) -> None:
        """Count a connection given back, broken (`failed`) or well, and let the next one in."""
        with self._lock:
            if not self._in_hand:  # begun before a fork, in whose child nobody was inside
                return
            self._in_hand -= 1
            self._tally.finish(self._clock() - began, failed)
            self.withdraw()

    def fail(self, arrived: float) -> None:
        """Count a visit that ended without a connection as an error, and let the next one in."""
        with self._lock:
            self._tally.begin(self._clock() - arrived)
            self._tally.finish(0.0, failed=True)
            self.withdraw()

    def withdraw(self) -> None:
        """Leave without having begun, as one who was cancelled, and let the next one in."""
        with self._lock:
            self._tally.occupy(self._clock(), -1)
            self._grant()

    def forget(self) -> None:
        """Begin anew in a forked child: whoever is inside or in line is so in the parent."""
        self._lock = threading.RLock()
        self._line.clear()
        self._in_hand = 0
        self._tally.occupy(self._clock(), -self._tally.busy)

    def _arrive(self) -> float:
        self._tally.submitted += 1
        return self._clock()

    def _walk_in(self, now: float) -> bool:
        if self._line or self._tally.busy >= self._limit:
            return False
        self._tally.occupy(now, 1)
        return True

    def _check_line(self, timeout: float | None, longest: int) -> None:
        if longest and len(self._line) >= longest:
            raise LineFullError(f"{len(self._line)} wait already")
        if timeout is not None and timeout <= 0.0:
            raise NoPlaceError("all places are taken")

    def _grant(self) -> None:
        """Hand free places to the first in line."""
        while self._line and self._tally.busy < self._limit:
            place, _ = self._line.popitem(last=False)
            place.granted = place.wake()
            if place.granted:
                self._tally.occupy(self._clock(), 1)
