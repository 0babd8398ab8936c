"""Resizing at random while tasks pour in."""

import random
import threading
import time
from collections.abc import Callable

import pytest

from quantum_control.resources.executor import ResizableThreadPoolExecutor
from quantum_control.resources.reading import PoolReading

PATIENCE = 60.0


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that no event announces."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.0005)


@pytest.mark.parametrize("seed", range(3))
def test_every_task_runs_once_whatever_is_resized(seed: int) -> None:
    rng = random.Random(seed)
    runs = [0] * 4000
    done: list[int] = []
    previous: PoolReading | None = None

    def task(number: int) -> None:
        runs[number] += 1
        if number % 50 == 0:
            time.sleep(0.0002)

    with ResizableThreadPoolExecutor(4) as pool:
        for number in range(len(runs)):
            pool.submit(task, number).add_done_callback(lambda _: done.append(1))
            if rng.random() < 0.05:
                pool.resize(rng.randint(1, 12))
                reading = pool.reading()
                for counter in ("started", "completed", "busy_seconds", "wait_seconds", "service_seconds"):
                    assert previous is None or getattr(reading, counter) >= getattr(previous, counter)
                previous = reading
        pool.resize(3)
        until(lambda: pool.reading().alive <= 3)
    reading = pool.reading()
    assert runs == [1] * len(runs)
    assert reading.submitted == reading.started == reading.completed == len(done) == len(runs)
    assert (reading.busy, reading.waiting, reading.alive) == (0, 0, 0)


def test_shutdown_while_another_thread_resizes() -> None:
    for seed in range(5):
        rng = random.Random(seed)
        done: list[int] = []
        pool = ResizableThreadPoolExecutor(2, f"resized-{seed}")
        stop = threading.Event()

        def churn(pool: ResizableThreadPoolExecutor, rng: random.Random, stop: threading.Event) -> None:
            while not stop.wait(0.0001):
                pool.resize(rng.randint(1, 8))

        churner = threading.Thread(target=churn, args=(pool, rng, stop))
        churner.start()
        for number in range(300):
            pool.submit(done.append, number)
        pool.shutdown()
        assert not [t for t in threading.enumerate() if t.name.startswith(f"resized-{seed}_")]
        stop.set()
        churner.join()
        assert sorted(done) == list(range(300))
