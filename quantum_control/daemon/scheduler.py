"""Calls many things at fixed intervals, so that one that hangs delays no other."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable

_log = logging.getLogger("quantum_control")

SLOTS = 10
"""Different moments within an interval at which calls fall due. Few, so that one waking serves many calls:
a thousand at 1 Hz cost a quarter less than with fifty moments. Enough that they do not all come at once."""

GRACE = 0.002
"""Seconds that a due call waits for a busy worker before another worker takes it."""

SPARE = 3
"""Idle workers that are kept."""

LONGEST_SLEEP = 1.0
"""Seconds after which the dispatcher looks around though nothing is due: its sign of life."""


class Task:
    """Something that is called every `interval` seconds; never twice at once."""

    __slots__ = ("began", "call", "due", "hastened", "interval", "late", "name", "removed", "sequence")

    def __init__(self, name: str, interval: float, call: Callable[[], object]) -> None:
        self.name = name
        self.interval = interval
        self.call = call
        self.due = 0.0
        """When it is called next; seconds on the scheduler's clock."""
        self.began = 0.0
        """When the call under way began; 0 if there is none."""
        self.late = 0.0
        """Seconds by which the last call began after it was due."""
        self.hastened = False
        """Whether it is to be called again as soon as the call under way has come back."""
        self.removed = False
        self.sequence = 0

    def __lt__(self, other: Task) -> bool:
        return (self.due, self.sequence) < (other.due, other.sequence)


class Scheduler:
    """A dispatcher, and as many workers as are needed.

    One worker does all calls that are due, one after the other; where it does
    not come back soon, another goes on. A call that hangs keeps its worker and
    is not repeated meanwhile.

    Parameters
    ----------
    clock
        Seconds, never backwards.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)  # for the dispatcher
        self._work = threading.Condition(self._lock)  # for the workers
        self._waiting: list[Task] = []
        self._ready: deque[Task] = deque()
        self._began: dict[int, float] = {}  # by worker: when its call under way began
        self._idle = 0
        self._numbers = itertools.count(1)
        self._closing = False
        self.turned = clock()
        """When the dispatcher was last awake."""

    def start(self) -> None:
        """Begin."""
        threading.Thread(target=self._dispatch, name="quantum_control dispatcher", daemon=True).start()

    def add(self, name: str, interval: float, call: Callable[[], object]) -> Task:
        """Call `call` every `interval` seconds from now on."""
        task = Task(name, interval, call)
        with self._lock:
            task.sequence = next(self._numbers)
            slot = interval * (task.sequence % SLOTS) / SLOTS
            grid = interval / SLOTS
            task.due = (self._clock() // grid) * grid + slot
            heapq.heappush(self._waiting, task)
            self._changed.notify()
        return task

    def remove(self, task: Task) -> None:
        """Call it no more; a call under way goes on."""
        with self._lock:
            task.removed = True

    def hasten(self, task: Task) -> None:
        """Call it as soon as possible, and from then on at its interval; a call under way does not count."""
        with self._lock:
            if task in self._ready or task.removed:
                return
            if task.began:
                task.hastened = True  # what it is called for may have come too late for that call
                return
            task.due = self._clock()
            heapq.heapify(self._waiting)
            self._changed.notify()

    def close(self) -> None:
        """Begin no further call; those under way go on."""
        with self._lock:
            self._closing = True
            self._changed.notify()
            self._work.notify_all()

    def _dispatch(self) -> None:
        with self._lock:
            while not self._closing:
                now = self.turned = self._clock()
                due = self._waiting
                while due and due[0].due <= now:
                    task = heapq.heappop(due)
                    if not task.removed:
                        self._ready.append(task)
                sleep = min(due[0].due - now, LONGEST_SLEEP) if due else LONGEST_SLEEP
                if self._ready:
                    if self._idle:
                        self._work.notify()
                    elif all(now - began > GRACE for began in self._began.values()):
                        threading.Thread(
                            target=self._serve, name="quantum_control worker", daemon=True
                        ).start()
                    sleep = min(sleep, GRACE)
                self._changed.wait(max(sleep, 0.0))

    def _serve(self) -> None:
        me = threading.get_ident()
        with self._lock:
            self._began[me] = self._clock()
            while not self._closing:
                if not self._ready:
                    del self._began[me]
                    if self._idle >= SPARE:
                        return
                    self._idle += 1
                    self._work.wait()
                    self._idle -= 1
                    self._began[me] = self._clock()
                    continue
                task = self._ready.popleft()
                if task.removed:
                    continue
                now = self._began[me] = task.began = self._clock()
                task.late = now - task.due
                self._lock.release()
                try:
                    task.call()
                except Exception:  # noqa: BLE001 - one task's error must not take the others' worker
                    _log.exception("%s: an error in the daemon itself", task.name)
                finally:
                    self._lock.acquire()
                    self._done(task)
            self._began.pop(me, None)

    def _done(self, task: Task) -> None:
        task.began = 0.0
        if task.removed:
            return
        now = self._clock()
        if task.hastened:
            task.hastened, task.due = False, now
        else:  # on the grid; what a slow call has missed is skipped
            task.due += task.interval * max(1.0, -(-(now - task.due) // task.interval))
        heapq.heappush(self._waiting, task)
        if self._waiting[0] is task:
            self._changed.notify()
