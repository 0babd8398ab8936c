import gc
import threading
import weakref

import pytest

from quantum_control.core.errors import ConfigError
from quantum_control.resources.adaptive import AdaptiveThreadPoolExecutor
from quantum_control.resources.threads import ThreadPoolResource

PATIENCE = 60.0


def steering_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if "_OwnThreads" in thread.name]


def test_it_grows_under_load() -> None:
    started = threading.Semaphore(0)
    free = threading.Event()

    def hold() -> None:
        started.release()
        free.wait(PATIENCE)

    with AdaptiveThreadPoolExecutor(1, interval=0.01, max_threads=8) as pool:
        for _ in range(20):
            pool.submit(hold)
        try:
            for _ in range(8):
                assert started.acquire(timeout=PATIENCE)
            assert pool.size == 8
        finally:
            free.set()


def test_control_begins_with_the_first_task() -> None:
    pool = AdaptiveThreadPoolExecutor(interval=0.01)
    assert not steering_threads()
    pool.submit(int).result(PATIENCE)
    assert pool.controller.running
    pool.shutdown()
    assert not steering_threads()


def test_control_begins_with_the_block_and_ends_with_it() -> None:
    with AdaptiveThreadPoolExecutor(interval=0.01) as pool:
        assert pool.controller.running
    assert not pool.controller.running


def test_control_that_could_not_begin_begins_with_the_next_task(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    pool = AdaptiveThreadPoolExecutor(interval=0.01)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", exhausted)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            pool.submit(int)
    pool.submit(int).result(PATIENCE)
    assert pool.controller.running
    pool.shutdown()


def test_control_that_was_stopped_by_hand_stays_so() -> None:
    with AdaptiveThreadPoolExecutor(interval=0.01) as pool:
        pool.controller.stop()
        pool.submit(int).result(PATIENCE)
        assert not pool.controller.running


def test_a_pool_that_nobody_refers_to_ends_its_control() -> None:
    assert not steering_threads()
    pool = AdaptiveThreadPoolExecutor(interval=0.01)
    pool.submit(int).result(PATIENCE)
    (thread,) = steering_threads()
    reference = weakref.ref(pool)
    del pool
    gc.collect()
    assert reference() is None
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_a_pool_shut_down_in_passing_ends_its_control_once_it_is_served() -> None:
    pool = AdaptiveThreadPoolExecutor(1, interval=0.01)
    free = threading.Event()
    pool.submit(free.wait, PATIENCE)
    last = pool.submit(int, "2")
    (thread,) = steering_threads()
    pool.shutdown(wait=False)
    free.set()
    assert last.result(PATIENCE) == 2
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_the_first_size_is_held_within_the_bounds() -> None:
    assert AdaptiveThreadPoolExecutor(50, min_threads=2, max_threads=9).size == 9
    assert AdaptiveThreadPoolExecutor(1, min_threads=2, max_threads=9).size == 2


@pytest.mark.parametrize(
    "parameters",
    [
        {"min_threads": 0},
        {"min_threads": 5, "max_threads": 4},
        {"interval": 0.0},
        {"physics_model": "optomecanical"},
    ],
)
def test_what_is_wrong_is_said_when_it_is_made(parameters: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        AdaptiveThreadPoolExecutor(**parameters)  # type: ignore[arg-type]


def test_it_takes_no_second_controller() -> None:
    with pytest.raises(ConfigError, match="steers itself"):
        ThreadPoolResource(pool=AdaptiveThreadPoolExecutor())
