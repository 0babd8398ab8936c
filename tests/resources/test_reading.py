"""What a pool counts, against a clock that stands still unless told to move."""

import threading
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from quantum_control.resources.executor import ResizableThreadPoolExecutor
from quantum_control.resources.reading import Tally
from quantum_control.resources.worker import LOGGER

PATIENCE = 60.0


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Step:
    """A task that says when it has begun and ends when told to."""

    def __init__(self, pool: ThreadPoolExecutor, error: Exception | None = None) -> None:
        self.begun = threading.Event()
        self.end = threading.Event()
        self.error = error
        self.future: Future[None] = pool.submit(self.run)

    def run(self) -> None:
        self.begun.set()
        assert self.end.wait(PATIENCE)
        if self.error is not None:
            raise self.error


def test_busy_time_grows_while_a_task_runs() -> None:
    clock = Clock()
    with ResizableThreadPoolExecutor(2, clock=clock) as pool:
        first, second = Step(pool), Step(pool)
        assert first.begun.wait(PATIENCE)
        assert second.begun.wait(PATIENCE)
        before = pool.reading()
        clock.now += 3.0
        after = pool.reading()
        assert (after.busy_seconds - before.busy_seconds) / (after.time - before.time) == 2.0
        assert (after.busy, after.service_seconds, after.completed) == (2, 0.0, 0)
        first.end.set()
        second.end.set()


def test_waiting_and_serving_are_timed_apart() -> None:
    clock = Clock()
    pool = ResizableThreadPoolExecutor(1, clock=clock)
    first, second = Step(pool), Step(pool, ValueError())
    assert first.begun.wait(PATIENCE)
    clock.now += 5.0
    assert (pool.reading().waiting, pool.reading().wait_seconds) == (1, 0.0)
    first.end.set()
    assert second.begun.wait(PATIENCE)
    clock.now += 2.0
    second.end.set()
    pool.shutdown()
    reading = pool.reading()
    assert (reading.submitted, reading.started, reading.completed, reading.failed) == (2, 2, 2, 1)
    assert (reading.wait_seconds, reading.service_seconds, reading.busy_seconds) == (5.0, 7.0, 7.0)
    assert reading.time == 1007.0


def test_a_cancelled_task_neither_waits_nor_starts() -> None:
    with ResizableThreadPoolExecutor(1) as pool:
        step = Step(pool)
        assert step.begun.wait(PATIENCE)
        pending = [pool.submit(pytest.fail) for _ in range(3)]
        assert pool.reading().waiting == 3
        for future in pending:
            future.cancel()
            future.cancel()
        assert pool.reading().waiting == 0
        step.end.set()
        pool.submit(int).result(PATIENCE)
        assert (pool.reading().submitted, pool.reading().started, pool.reading().waiting) == (5, 2, 0)


def test_a_cancelled_queue_does_not_wait_either() -> None:
    pool = ResizableThreadPoolExecutor(1)
    step = Step(pool)
    assert step.begun.wait(PATIENCE)
    pending = [pool.submit(pytest.fail) for _ in range(3)]
    pending[0].cancel()
    pool.shutdown(wait=False, cancel_futures=True)
    assert all(future.cancelled() for future in pending)
    assert pool.reading().waiting == 0
    step.end.set()
    pool.shutdown()


def test_a_hook_hears_how_long_each_task_has_waited() -> None:
    clock = Clock()
    waits: list[float] = []
    with ResizableThreadPoolExecutor(1, clock=clock, on_start=waits.append) as pool:
        first, second = Step(pool), Step(pool)
        assert first.begun.wait(PATIENCE)
        clock.now += 4.0
        first.end.set()
        second.end.set()
    assert waits == [0.0, 4.0]


@pytest.mark.parametrize("error", [ValueError, SystemExit])
def test_a_hook_that_raises_costs_no_task(error: type[BaseException]) -> None:
    def broken(waited: float) -> None:
        raise error(waited)

    with ResizableThreadPoolExecutor(1, on_start=broken) as pool:
        assert pool.submit(int, "6").result(PATIENCE) == 6


def test_a_thread_that_dies_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    messages: list[str] = []
    monkeypatch.setattr(LOGGER, "critical", lambda message, **_: messages.append(message))

    def raise_exit(_: Future[int]) -> None:
        raise SystemExit

    with ResizableThreadPoolExecutor(1) as pool:
        step = Step(pool)
        pool.submit(int).add_done_callback(raise_exit)
        last = pool.submit(int, "9")
        step.end.set()
        assert last.result(PATIENCE) == 9
    reading = pool.reading()
    assert messages == ["Exception in worker"]
    assert (reading.completed, reading.failed, reading.busy, reading.alive) == (3, 1, 0, 0)


def test_a_result_set_by_somebody_else_costs_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LOGGER, "critical", lambda *_, **__: None)
    with ResizableThreadPoolExecutor(1) as pool:
        step = Step(pool)
        pool.submit(int, "8").set_result(7)
        step.end.set()
        assert pool.submit(int, "9").result(PATIENCE) == 9
        assert (pool.reading().alive, pool.reading().waiting) == (1, 0)


def test_a_tally_integrates_what_is_in_use() -> None:
    tally = Tally(10.0)
    tally.occupy(12.0, 3)
    tally.occupy(14.0, -1)
    assert tally.reading(15.0, size=4, alive=4, waiting=0).busy_seconds == 3 * 2.0 + 2 * 1.0
