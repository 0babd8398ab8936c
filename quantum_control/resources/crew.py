"""The worker threads of one executor and the queue that they serve."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import InvalidStateError
from concurrent.futures.thread import BrokenThreadPool
from typing import Any

from quantum_control.core.errors import ActuatorError
from quantum_control.resources.reading import PoolReading, Tally
from quantum_control.resources.worker import Job, Task, Worker, work

AFTER_SHUTDOWN = "cannot schedule new futures after shutdown"
AFTER_EXIT = "cannot schedule new futures after interpreter shutdown"
INITIALIZER_FAILED = "A thread initializer failed, the thread pool is not usable anymore"


class Crew:
    """What the worker threads hold in place of the executor, so that it can be collected.

    A lock of our own and a plain deque instead of the standard library's
    `SimpleQueue` and semaphore: that makes all counts exact, lets a shrink act
    before the backlog is served, and leaves nothing private to rely upon.

    The lock is reentrant because a destructor or a signal handler that submits
    or cancels may run in the middle of any block below.
    """

    def __init__(
        self,
        size: int,
        prefix: str,
        initializer: Callable[..., object] | None,
        initargs: tuple[Any, ...],
        clock: Callable[[], float],
        on_start: Callable[[float], object] | None,
    ) -> None:
        self.lock = threading.RLock()
        self.target = size
        self.queue: deque[Task] = deque()
        self.withdrawn = 0
        """Cancelled tasks that are still in the queue."""
        self.cancelling = threading.RLock()
        """Guards `withdrawn`, and is held for nothing else. As with standard futures, whoever
        cancels, be it a destructor, must not have to wait while a thread is being started."""
        self.threads: set[threading.Thread] = set()
        """Those that serve: neither dismissed nor gone."""
        self.leaving: list[threading.Thread] = []
        """Those that were told to go; kept so that a shutdown can join them."""
        self.idle: deque[Worker] = deque()
        """Asleep, the one that fell asleep last at the right: it is woken first, its caches being warm."""
        self.closing = False
        """Workers leave once the queue is empty."""
        self.hiring = True
        """Whether threads can be started: not any more once the interpreter goes."""
        self.refusal: RuntimeError | None = None
        """Why nothing can be submitted any more."""
        self.clock = clock
        self.on_start = on_start
        self.tally = Tally(clock())
        self.prefix = prefix
        self.names = itertools.count()
        self.initializer = initializer
        self.initargs = initargs

    def reading(self) -> PoolReading:
        """Measure now."""
        with self.lock:
            waiting = len(self.queue) - self.withdrawn
            return self.tally.reading(
                self.clock(), size=self.target, alive=len(self.threads), waiting=waiting
            )

    def enqueue(
        self, job: Job[Any], fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Put a task at the end of the queue and see to it that somebody comes for it."""
        with self.lock:
            if self.refusal is not None:
                raise type(self.refusal)(*self.refusal.args)
            self.tally.submitted += 1
            task = (job, fn, args, kwargs, self.clock())
            self.queue.append(task)
            if self.idle:
                self.idle.pop().wake.release()
            elif len(self.threads) < self.target and self.short():
                try:
                    self.hire()
                except (RuntimeError, MemoryError):
                    # Those that are there will serve it. Where there is nobody, the caller
                    # hears of it, and the task must not run behind its back later.
                    if not self.threads:
                        self.queue.remove(task)
                        self.tally.submitted -= 1
                        raise

    def short(self) -> bool:
        """Whether a task waits for which no thread is on its way, and there is room for one."""
        alive = len(self.threads)
        return (
            self.hiring and alive < self.target and len(self.queue) > alive - self.tally.busy - len(self.idle)
        )

    def hire(self) -> None:
        """Start one thread."""
        worker = Worker()
        name = f"{self.prefix}_{next(self.names)}"
        worker.thread = threading.Thread(name=name, target=work, args=(self, worker))
        self.threads.add(worker.thread)
        try:
            worker.thread.start()
        except (RuntimeError, MemoryError):
            self.threads.discard(worker.thread)
            raise

    def resize(self, size: int) -> None:
        """Set the number of threads; see `ResizableThreadPoolExecutor.resize`."""
        with self.lock:
            before, self.target = self.target, size
            self.trim()
        while True:
            with self.lock:  # released between two threads: starting many takes long
                if not self.short():
                    return
                try:
                    self.hire()
                except (RuntimeError, MemoryError) as error:
                    self.target = before
                    self.trim()
                    raise ActuatorError(
                        f"growing pool {self.prefix!r} from {before} to {size} threads: {error}, with"
                        f" {len(self.threads)} running; raise the process's thread limit or lower max_threads"
                    ) from error

    def trim(self) -> None:
        """Dismiss surplus sleepers; those at work see for themselves after their task."""
        while len(self.threads) > self.target:
            try:
                worker = self.idle.popleft()
            except IndexError:  # and not a look beforehand: `abandon` may come in between
                return
            worker.dismissed = True
            self.depart(worker)
            worker.wake.release()

    def take(self, worker: Worker, ran: bool, failed: bool) -> Task | None:
        """Count what `worker` has just run, if anything, and give it the next task; None tells it to go."""
        while True:
            task = None
            with self.lock:
                now = self.clock()
                if ran:
                    self.tally.finish(now - worker.began, failed)
                    ran = False
                if len(self.threads) > self.target:
                    self.depart(worker)
                    return None
                if self.queue:
                    task = self.queue.popleft()
                    if self.admit(task[0]):
                        if not worker.busy:
                            worker.busy = True
                            self.tally.occupy(now, 1)
                        worker.began = now
                        self.tally.begin(now - task[4])
                        return task
                elif self.closing:
                    self.depart(worker)
                    return None
                else:
                    if worker.busy:
                        worker.busy = False
                        self.tally.occupy(now, -1)
                    self.settle(worker)
            # Here a cancelled task is dropped, outside of the lock: destructors are foreign code.
            if task is None:
                worker.wake.acquire()
                if worker.dismissed:
                    return None

    def settle(self, worker: Worker) -> None:
        """Lay a worker to sleep."""
        self.idle.append(worker)
        if self.closing:  # set by `abandon` since the caller looked, and too early to find this worker
            self.rouse()

    def admit(self, job: Job[Any]) -> bool:
        """Set a task running, unless it was cancelled."""
        try:
            if job.set_running_or_notify_cancel():
                return True
        except (RuntimeError, InvalidStateError):
            pass  # somebody else has set its result: logged there, and there is nothing left to run
        with self.cancelling:
            if job.withdrawn:
                self.withdrawn -= 1
            job.withdrawn = True
        return False

    def withdraw(self, job: Job[Any]) -> None:
        """Stop counting a cancelled task as waiting."""
        with self.cancelling:
            if not job.withdrawn:
                job.withdrawn = True
                self.withdrawn += 1

    def depart(self, worker: Worker) -> None:
        """Strike a worker off; its thread has no more than its last steps to do."""
        self.threads.discard(worker.thread)
        self.leaving = [thread for thread in self.leaving if thread.is_alive()]
        self.leaving.append(worker.thread)
        if worker.busy:
            worker.busy = False
            self.tally.occupy(self.clock(), -1)

    def lose(self, worker: Worker) -> None:
        """Replace a worker that died of an exception which no task owns."""
        with self.lock:
            if worker.thread in self.threads:
                if worker.busy:
                    self.tally.finish(self.clock() - worker.began, failed=True)
                self.depart(worker)
                if self.short():
                    self.hire()

    def close(self, refusal: RuntimeError) -> None:
        """Take no more tasks, and go when those in the queue are done."""
        with self.lock:
            if self.refusal is None:
                self.refusal = refusal
            self.closing = True
            self.rouse()

    def join(self) -> None:
        """Wait until every thread has ended, those that replace one another included."""
        while True:
            with self.lock:
                threads = [thread for thread in (*self.threads, *self.leaving) if thread.is_alive()]
            if not threads:
                return
            for thread in threads:
                thread.join()

    def drain(self) -> list[Job[Any]]:
        """Empty the queue; what becomes of the futures is the caller's affair."""
        with self.lock, self.cancelling:
            jobs = [task[0] for task in self.queue]
            tasks, self.queue = self.queue, deque()
            for job in jobs:
                job.withdrawn = True
            self.withdrawn = 0
        del tasks  # outside of the lock, as in `take`
        return jobs

    def fail(self, worker: Worker) -> None:
        """Break the pool: the initialiser of `worker` has raised."""
        with self.lock:
            self.refusal = BrokenThreadPool(INITIALIZER_FAILED)
            self.depart(worker)
            jobs = self.drain()
        for job in jobs:
            if job.set_running_or_notify_cancel():
                job.set_exception(BrokenThreadPool(INITIALIZER_FAILED))

    def abandon(self) -> None:
        """Close because the executor was collected.

        Without the lock: a collection can start inside any critical section of
        any thread, of another crew as well, and must wait for nobody.
        """
        self.closing = True
        self.rouse()

    def rouse(self) -> None:
        """Wake everybody."""
        while True:
            try:
                worker = self.idle.pop()
            except IndexError:
                return
            worker.wake.release()

    def forget_threads(self) -> None:
        """Start afresh in a forked child, where no worker lives and the lock may be held for ever."""
        self.lock = threading.RLock()
        self.cancelling = threading.RLock()
        self.threads.clear()
        self.leaving.clear()
        self.idle.clear()
        self.queue.clear()
        self.withdrawn = 0
        self.tally.occupy(self.clock(), -self.tally.busy)
