"""What the standard library promises, asked of the standard pool and of ours alike."""

import asyncio
import contextlib
import gc
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    CancelledError,
    Future,
    ThreadPoolExecutor,
    as_completed,
    wait,
)
from concurrent.futures.thread import BrokenThreadPool
from typing import Any

import pytest

from quantum_control.resources.adaptive import AdaptiveThreadPoolExecutor
from quantum_control.resources.executor import ResizableThreadPoolExecutor

PATIENCE = 60.0
OURS = [ResizableThreadPoolExecutor, AdaptiveThreadPoolExecutor]
Kind = type[ThreadPoolExecutor]


@pytest.fixture(params=[ThreadPoolExecutor, *OURS], ids=lambda kind: kind.__name__)
def kind(request: pytest.FixtureRequest) -> Kind:
    kind: Kind = request.param
    return kind


@contextlib.contextmanager
def occupied(pool: ThreadPoolExecutor, count: int = 1) -> Iterator[threading.Event]:
    """A pool with `count` tasks under way until the block or the yielded event ends them."""
    free = threading.Event()
    running = threading.Barrier(count + 1)

    def hold() -> None:
        running.wait(PATIENCE)
        free.wait(PATIENCE)

    for _ in range(count):
        pool.submit(hold)
    del pool  # so that a test may see it collected
    running.wait(PATIENCE)
    try:
        yield free
    finally:
        free.set()


def test_a_task_gets_its_arguments_whatever_they_are_called(kind: Kind) -> None:
    def task(*args: object, **kwargs: object) -> tuple[object, object]:
        return args, kwargs

    with kind(1) as pool:
        assert pool.submit(task, 1, fn=2, self=3).result(PATIENCE) == ((1,), {"fn": 2, "self": 3})


def test_map_keeps_the_order(kind: Kind) -> None:
    with kind(4) as pool:
        assert list(pool.map(pow, range(100), [2] * 100)) == [n**2 for n in range(100)]


def test_map_raises_what_a_task_raised_in_its_place(kind: Kind) -> None:
    with kind(2) as pool:
        results = pool.map(lambda n: 1 // n, [1, 0, 1])
        assert next(results) == 1
        with pytest.raises(ZeroDivisionError):
            next(results)


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), SystemExit(3)])
def test_what_a_task_raises_belongs_to_its_future(kind: Kind, error: BaseException) -> None:
    def fail() -> None:
        raise error

    with kind(1) as pool:
        assert pool.submit(fail).exception(PATIENCE) is error
        assert pool.submit(int, "7").result(PATIENCE) == 7


def test_leaving_the_block_waits_for_the_queue(kind: Kind) -> None:
    done: list[int] = []
    with kind(2) as pool:
        for n in range(50):
            pool.submit(done.append, n)
    assert sorted(done) == list(range(50))


def test_one_worker_serves_in_order(kind: Kind) -> None:
    done: list[int] = []
    with kind(1) as pool:
        for n in range(500):
            pool.submit(done.append, n)
    assert done == list(range(500))


def test_a_pending_future_can_be_cancelled_and_a_running_one_not(kind: Kind) -> None:
    with kind(1) as pool, occupied(pool) as free:
        started = threading.Event()
        running = pool.submit(started.set)
        pending = pool.submit(int)
        assert pending.cancel()
        free.set()
        running.result(PATIENCE)
        assert not running.cancel()
        with pytest.raises(CancelledError):
            pending.result(PATIENCE)


def test_those_who_wait_hear_of_a_cancellation(kind: Kind) -> None:
    with kind(1) as pool, occupied(pool) as free:
        pending = [pool.submit(int) for _ in range(3)]
        pending[1].cancel()
        free.set()
        assert set(as_completed(pending, PATIENCE)) == set(pending)
        assert wait(pending, PATIENCE, FIRST_COMPLETED).done


def test_shutdown_without_waiting_still_serves_the_queue(kind: Kind) -> None:
    pool = kind(1)
    with occupied(pool):
        pending = pool.submit(int, "5")
        pool.shutdown(wait=False)
        assert not pending.done()
    assert pending.result(PATIENCE) == 5
    pool.shutdown()


def test_shutdown_can_cancel_the_queue(kind: Kind) -> None:
    pool = kind(1)
    with occupied(pool):
        pending = [pool.submit(int) for _ in range(3)]
        pool.shutdown(wait=False, cancel_futures=True)
        assert all(future.cancelled() for future in pending)
    pool.shutdown()


def test_nothing_can_be_submitted_after_shutdown(kind: Kind) -> None:
    pool = kind(1)
    pool.shutdown()
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        pool.submit(int)
    pool.shutdown()


def test_shutdown_ends_every_thread(kind: Kind) -> None:
    with kind(3, "shutdown-test") as pool, occupied(pool, 3):
        pass
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("shutdown-test")]


def test_every_thread_is_initialised_once(kind: Kind) -> None:
    seen: list[tuple[str, int]] = []

    def initialise(number: int) -> None:
        seen.append((threading.current_thread().name, number))

    with kind(3, "named", initialise, (7,)) as pool, occupied(pool, 3):
        pass
    assert sorted(seen) == [("named_0", 7), ("named_1", 7), ("named_2", 7)]


def test_a_failing_initialiser_breaks_the_pool(kind: Kind) -> None:
    go = threading.Event()

    def initialise() -> None:
        go.wait(PATIENCE)
        raise ValueError

    pool = kind(1, initializer=initialise)
    pending = [pool.submit(int) for _ in range(3)]
    go.set()
    for future in pending:
        with pytest.raises(BrokenThreadPool):
            future.result(PATIENCE)
    with pytest.raises(BrokenThreadPool):
        pool.submit(int)
    pool.shutdown()


def test_threads_are_not_daemons(kind: Kind) -> None:
    with kind(1) as pool:
        assert not pool.submit(lambda: threading.current_thread().daemon).result(PATIENCE)


def test_a_thread_is_only_started_if_none_is_idle(kind: Kind) -> None:
    with kind(20) as pool:
        idle = threading.Semaphore(0)
        for _ in range(20):
            pool.submit(idle.release).result(PATIENCE)
            settled(pool)
        assert len(pool._threads) <= 2  # the result is known a moment before its thread is idle


def settled(pool: ThreadPoolExecutor) -> None:
    """Let the worker that has just set a result go to sleep, where that can be seen."""
    deadline = threading.Event()
    while isinstance(pool, ResizableThreadPoolExecutor) and pool.reading().busy:
        deadline.wait(0.001)


@pytest.mark.parametrize(("arguments", "error"), [((0,), ValueError), ((1, "", 3), TypeError)])
def test_bad_arguments_are_refused(kind: Kind, arguments: tuple[Any, ...], error: type[Exception]) -> None:
    with pytest.raises(error):
        kind(*arguments)


def test_the_default_size_is_the_standard_one(kind: Kind) -> None:
    assert kind()._max_workers == ThreadPoolExecutor()._max_workers


def test_tasks_can_submit_tasks(kind: Kind) -> None:
    with kind(2) as pool:
        assert pool.submit(lambda: pool.submit(int, "3").result(PATIENCE)).result(PATIENCE) == 3


def test_it_serves_an_event_loop(kind: Kind) -> None:
    async def main() -> list[int]:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(kind(2))
        return await asyncio.gather(*(loop.run_in_executor(None, pow, n, 2) for n in range(20)))

    assert asyncio.run(main()) == [n**2 for n in range(20)]


def test_an_idle_worker_keeps_nothing_of_its_last_task_alive(kind: Kind) -> None:
    class Thing:
        pass

    with kind(1) as pool:
        thing = Thing()
        gone = threading.Event()
        weakref.finalize(thing, gone.set)
        future: Future[Thing] = pool.submit(lambda passed: passed, thing)
        assert future.result(PATIENCE) is thing
        del thing, future
        assert gone.wait(PATIENCE)


def test_an_error_makes_no_reference_cycle(kind: Kind) -> None:
    class BoomError(Exception):
        pass

    def fail() -> None:
        raise BoomError

    gone = threading.Event()
    gc.disable()
    try:
        with kind(1) as pool:
            error = pool.submit(fail).exception(PATIENCE)
            weakref.finalize(error, gone.set)
            del error
            assert gone.wait(PATIENCE)
    finally:
        gc.enable()


def test_a_collected_pool_serves_its_queue_and_ends_its_threads(kind: Kind) -> None:
    pool = kind(2, "collected")
    with occupied(pool, 2):
        pending = pool.submit(int, "4")
        reference = weakref.ref(pool)
        threads = list(pool._threads)
        del pool
        gc.collect()
        assert reference() is None
    assert pending.result(PATIENCE) == 4
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
