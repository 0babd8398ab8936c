"""A standard pool taken over while it works, and given back."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from concurrent.futures import thread as stock
from typing import Any

import pytest

from quantum_control.core.errors import ActuatorError, ConfigError
from quantum_control.resources.adoption import PRIVATE, AdoptedPool

PATIENCE = 60.0


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that no event announces."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.0005)


class Held:
    """Tasks that run until they are told to end."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self.pool = pool
        self.started: list[int] = []
        self.ends: list[threading.Event] = []
        self.futures: list[Future[None]] = []

    def submit(self, count: int = 1) -> None:
        for _ in range(count):
            end = threading.Event()
            self.futures.append(self.pool.submit(self._run, len(self.ends), end))
            self.ends.append(end)

    def _run(self, number: int, end: threading.Event) -> None:
        self.started.append(number)
        assert end.wait(PATIENCE)

    def running(self, *numbers: int) -> bool:
        return sorted(n for n in self.started if not self.ends[n].is_set()) == list(numbers)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(3) as pool:
        yield pool


@pytest.fixture
def held(pool: ThreadPoolExecutor) -> Iterator[Held]:
    held = Held(pool)
    yield held
    for end in held.ends:
        end.set()


def as_found(pool: ThreadPoolExecutor, workers: int = 3) -> bool:
    return "submit" not in vars(pool) and pool._max_workers == workers


def test_this_python_has_what_is_relied_upon(pool: ThreadPoolExecutor) -> None:
    assert not [name for name in PRIVATE if not hasattr(pool, name)]
    assert isinstance(stock._shutdown, bool)
    with stock._global_shutdown_lock:
        pass
    assert callable(threading._register_atexit)  # type: ignore[attr-defined]


def test_an_adopted_pool_still_does_everything(pool: ThreadPoolExecutor) -> None:
    AdoptedPool(pool).resize(2)
    assert list(pool.map(pow, range(50), [2] * 50)) == [n**2 for n in range(50)]
    assert isinstance(pool.submit(lambda: 1 // 0).exception(PATIENCE), ZeroDivisionError)
    assert pool.submit(dict, fn=1, self=2).result(PATIENCE) == {"fn": 1, "self": 2}
    pool.shutdown()
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.submit(int)


def test_growing_starts_threads_for_what_waits(pool: ThreadPoolExecutor, held: Held) -> None:
    adopted = AdoptedPool(pool)
    held.submit(7)
    until(lambda: held.running(0, 1, 2))
    adopted.resize(5)
    until(lambda: held.running(0, 1, 2, 3, 4))
    reading = adopted.reading()
    assert (reading.size, reading.alive, reading.busy, reading.waiting) == (5, 5, 5, 2)


def test_growing_works_after_a_backlog_was_served(pool: ThreadPoolExecutor, held: Held) -> None:
    adopted = AdoptedPool(pool)
    wait([pool.submit(time.sleep, 0.0001) for _ in range(300)], PATIENCE)
    adopted.resize(6)
    held.submit(6)
    until(lambda: adopted.reading().busy == 6)


def test_shrinking_holds_surplus_threads_in_order(pool: ThreadPoolExecutor, held: Held) -> None:
    adopted = AdoptedPool(pool)
    held.submit(6)
    until(lambda: held.running(0, 1, 2))
    adopted.resize(1)
    assert (adopted.reading().size, adopted.reading().busy) == (1, 3)
    held.ends[0].set()
    held.ends[1].set()
    until(lambda: adopted.reading().busy == 1)
    assert adopted.reading().waiting == 3
    assert held.running(2)
    held.ends[2].set()
    until(lambda: len(held.started) == 4)
    assert adopted.reading().busy == 1
    adopted.resize(3)
    until(lambda: held.running(3, 4, 5))


def test_a_pool_shut_down_while_some_are_held_ends(pool: ThreadPoolExecutor, held: Held) -> None:
    adopted = AdoptedPool(pool)
    adopted.resize(1)
    held.submit(5)
    pool.shutdown(wait=False)
    for end in held.ends:
        end.set()
    pool.shutdown()
    assert sorted(held.started) == [0, 1, 2, 3, 4]


def test_waiting_and_serving_are_timed_and_counted(pool: ThreadPoolExecutor, held: Held) -> None:
    now = [0.0]
    adopted = AdoptedPool(pool, clock=lambda: now[0])
    adopted.resize(1)
    held.submit(2)
    until(lambda: len(held.started) == 1)
    first = held.started[0]
    now[0] = 5.0
    assert adopted.reading().busy_seconds == 5.0
    held.ends[first].set()
    until(lambda: len(held.started) == 2)
    now[0] = 7.0
    held.ends[1 - first].set()
    wait(held.futures, PATIENCE)
    reading = adopted.reading()
    assert (reading.submitted, reading.started, reading.completed, reading.failed) == (2, 2, 2, 0)
    assert (reading.wait_seconds, reading.service_seconds, reading.busy_seconds) == (5.0, 7.0, 7.0)


def test_a_refused_task_is_not_counted(pool: ThreadPoolExecutor) -> None:
    adopted = AdoptedPool(pool)
    pool.shutdown()
    with pytest.raises(RuntimeError):
        pool.submit(int)
    assert adopted.reading().submitted == 0


def test_releasing_lets_held_tasks_go(pool: ThreadPoolExecutor, held: Held) -> None:
    adopted = AdoptedPool(pool)
    adopted.resize(1)
    held.submit(1)
    until(lambda: held.running(0))
    pool._max_workers = 3  # as if three threads had been there before
    held.submit(2)
    until(lambda: len(pool._threads) == 3)
    pool._max_workers = 1
    adopted.release()
    until(lambda: held.running(0, 1, 2))
    assert "submit" not in vars(pool)


def test_a_pool_that_has_outgrown_its_size_keeps_its_gate(pool: ThreadPoolExecutor, held: Held) -> None:
    adopted = AdoptedPool(pool)
    adopted.resize(6)
    held.submit(6)
    until(lambda: adopted.reading().busy == 6)
    adopted.release()
    assert pool._max_workers == 3
    for end in held.ends:
        end.set()
    wait(held.futures, PATIENCE)
    held.submit(6)
    until(lambda: len(held.started) == 9)
    again = AdoptedPool(pool)
    until(lambda: again.reading().waiting == 3)
    assert (again.original, again.reading().size, again.reading().busy) == (3, 3, 3)


def test_a_thread_that_cannot_be_had_changes_nothing(
    pool: ThreadPoolExecutor, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    adopted = AdoptedPool(pool)
    held.submit(5)
    until(lambda: held.running(0, 1, 2))
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        with pytest.raises(ActuatorError, match="can't start new thread"):
            adopted.resize(5)
    assert (adopted.reading().size, pool._max_workers) == (3, 3)
    adopted.release()
    assert as_found(pool)


@pytest.mark.parametrize("size", [0, 1.5, True])
def test_a_wrong_size_changes_nothing(pool: ThreadPoolExecutor, size: Any) -> None:
    adopted = AdoptedPool(pool)
    with pytest.raises(ConfigError):
        adopted.resize(size)
    assert adopted.reading().size == 3
