"""Growing and shrinking an executor while it works."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from quantum_control.core.errors import ActuatorError, ConfigError
from quantum_control.resources.executor import ResizableThreadPoolExecutor
from quantum_control.resources.reading import ResizablePool

PATIENCE = 60.0


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that no event announces."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.0005)


class Held:
    """Tasks that run until they are told to end."""

    def __init__(self, pool: ResizableThreadPoolExecutor) -> None:
        self.pool = pool
        self.started: list[int] = []
        self.ends: list[threading.Event] = []
        self.futures: list[Future[int]] = []

    def submit(self) -> int:
        number, end = len(self.ends), threading.Event()
        self.ends.append(end)
        self.futures.append(self.pool.submit(self._run, number, end))
        return number

    def _run(self, number: int, end: threading.Event) -> int:
        self.started.append(number)
        assert end.wait(PATIENCE)
        return number

    def end(self) -> None:
        for end in self.ends:
            end.set()


@contextmanager
def held_pool(size: int) -> Iterator[tuple[ResizableThreadPoolExecutor, Held]]:
    pool = ResizableThreadPoolExecutor(size)
    held = Held(pool)
    try:
        yield pool, held
    finally:
        held.end()
        pool.shutdown()


def test_it_is_a_resizable_pool() -> None:
    with ResizableThreadPoolExecutor(1) as pool:
        assert isinstance(pool, ResizablePool)


def test_growing_starts_waiting_tasks_at_once() -> None:
    with held_pool(1) as (pool, held):
        for _ in range(5):
            held.submit()
        until(lambda: held.started == [0])
        pool.resize(3)
        until(lambda: len(held.started) == 3)
        assert sorted(held.started) == [0, 1, 2]
        assert pool.reading().waiting == 2


def test_growing_starts_no_thread_that_has_nothing_to_do() -> None:
    with ResizableThreadPoolExecutor(1) as pool:
        pool.submit(int).result(PATIENCE)
        pool.resize(50)
        assert pool.reading().alive == 1


def test_idle_threads_leave_at_once() -> None:
    with held_pool(4) as (pool, held):
        for _ in range(4):
            held.submit()
        until(lambda: len(held.started) == 4)
        threads = set(pool._threads)
        held.end()
        until(lambda: pool.reading().busy == 0)
        pool.resize(1)
        assert pool.reading().alive == 1
        for thread in threads - pool._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()


def test_busy_threads_leave_after_their_task_and_before_the_queue_is_served() -> None:
    with held_pool(3) as (pool, held):
        for _ in range(6):
            held.submit()
        until(lambda: len(held.started) == 3)
        pool.resize(1)
        assert pool.reading().alive == 3
        held.ends[0].set()
        held.ends[1].set()
        until(lambda: pool.reading().alive == 1)
        assert sorted(held.started) == [0, 1, 2]
        held.ends[2].set()
        until(lambda: 3 in held.started)
        assert sorted(held.started) == [0, 1, 2, 3]


def test_growing_back_calls_retirements_off() -> None:
    with held_pool(3) as (pool, held):
        for _ in range(6):
            held.submit()
        until(lambda: len(held.started) == 3)
        threads = set(pool._threads)
        pool.resize(1)
        pool.resize(3)
        held.end()
        for future in held.futures:
            future.result(PATIENCE)
        assert pool._threads == threads


@pytest.mark.parametrize("size", [0, -1, 2.0, True, "3", None])
def test_a_size_is_a_positive_integer(size: object) -> None:
    with ResizableThreadPoolExecutor(1) as pool:
        with pytest.raises(ConfigError, match="whole number"):
            pool.resize(size)  # type: ignore[arg-type]
        assert pool.size == 1


def test_a_size_may_be_an_integer_of_numpy() -> None:
    with ResizableThreadPoolExecutor(1) as pool:
        pool.resize(np.int64(3))  # type: ignore[arg-type]
        assert type(pool.size) is int


def test_the_names_that_monitoring_looks_at_tell_the_truth() -> None:
    with held_pool(1) as (pool, held):
        for _ in range(3):
            held.submit()
        pool.resize(2)
        until(lambda: len(held.started) == 2)
        assert (pool._max_workers, len(pool._threads), pool._work_queue.qsize()) == (2, 2, 1)
        pool._max_workers = 3
        assert pool.size == 3


class NoThread(threading.Thread):
    def start(self) -> None:
        raise RuntimeError("can't start new thread")


def test_where_no_thread_can_be_had_growing_fails_and_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with held_pool(1) as (pool, held):
        for _ in range(3):
            held.submit()
        with monkeypatch.context() as patch:
            patch.setattr(threading, "Thread", NoThread)
            with pytest.raises(ActuatorError, match="can't start new thread"):
                pool.resize(3)
            assert (pool.size, pool.reading().alive) == (1, 1)
            pool._crew.target = 3
            held.submit()  # served by the one that is there
        held.end()
        assert held.futures[3].result(PATIENCE) == 3


def test_a_task_that_no_thread_will_ever_serve_is_not_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    with ResizableThreadPoolExecutor(1) as pool:
        with monkeypatch.context() as patch:
            patch.setattr(threading, "Thread", NoThread)
            with pytest.raises(RuntimeError, match="can't start new thread"):
                pool.submit(pytest.fail)
        assert (pool.reading().submitted, pool.reading().waiting) == (0, 0)
        assert pool.submit(int).result(PATIENCE) == 0


class Model(RuleBasedStateMachine):
    """Which tasks run is fully determined: the first in the queue, as many as the size allows."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = ResizableThreadPoolExecutor(2)
        self.held = Held(self.pool)
        self.size = 2
        self.queue: list[int] = []
        self.running: list[int] = []
        self.begun = 0

    def _fill(self) -> None:
        while self.queue and len(self.running) < self.size:
            self.running.append(self.queue.pop(0))
            self.begun += 1

    @rule()
    def submit(self) -> None:
        self.queue.append(self.held.submit())
        self._fill()

    @rule(size=st.integers(1, 6))
    def resize(self, size: int) -> None:
        self.pool.resize(size)
        self.size = size
        self._fill()

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(self.running))
        self.held.ends[number].set()
        assert self.held.futures[number].result(PATIENCE) == number
        self.running.remove(number)
        self._fill()

    @precondition(lambda self: self.queue)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(self.queue))
        assert self.held.futures[number].cancel()
        self.queue.remove(number)

    @invariant()
    def runs_what_the_model_runs(self) -> None:
        until(lambda: len(self.held.started) >= self.begun)
        running = {n for n in self.held.started if not self.held.ends[n].is_set()}
        assert running == set(self.running)
        assert len(self.held.started) == len(set(self.held.started)) == self.begun
        until(lambda: self.pool.reading().busy == len(running))
        reading = self.pool.reading()
        assert reading.waiting == len(self.queue)
        assert reading.size == self.size
        assert reading.alive >= len(running)
        # A thread that was woken for nothing is neither at work nor asleep for a moment.
        until(lambda: self.pool.reading().alive <= max(self.size, len(running)))

    def teardown(self) -> None:
        self.held.end()
        self.pool.shutdown()
        assert sorted(self.held.started) == [n for n, f in enumerate(self.held.futures) if not f.cancelled()]
        assert self.pool.reading().completed == len(self.held.started)
        super().teardown()


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
