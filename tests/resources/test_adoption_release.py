"""A standard pool given back as it was found."""

import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from forked import held, in_child

from quantum_control.core.errors import ActuatorError, ConfigError, SafetyError
from quantum_control.resources.adoption import AdoptedPool
from quantum_control.resources.threads import ThreadPoolResource

PATIENCE = 60.0


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(3) as pool:
        yield pool


def as_found(pool: ThreadPoolExecutor, workers: int = 3) -> bool:
    return "submit" not in vars(pool) and pool._max_workers == workers


def test_adopting_and_releasing_leaves_no_trace(pool: ThreadPoolExecutor) -> None:
    before = dict(vars(pool))
    adopted = AdoptedPool(pool)
    assert not as_found(pool)
    adopted.release()
    adopted.release()
    assert vars(pool) == before


def test_a_released_pool_is_set_no_more(pool: ThreadPoolExecutor) -> None:
    adopted = AdoptedPool(pool)
    adopted.resize(2)
    adopted.release()
    with pytest.raises(ActuatorError, match="given back by release"):
        adopted.resize(2)
    adopted.resize(3)  # it is that
    assert as_found(pool)


def test_who_has_released_a_pool_takes_it_from_nobody_afterwards(pool: ThreadPoolExecutor) -> None:
    first = AdoptedPool(pool)
    first.resize(6)
    go = threading.Event()
    for _ in range(6):
        pool.submit(go.wait, PATIENCE)
    first.release()  # it has outgrown its size and keeps its gate, which is used again
    go.set()
    second = AdoptedPool(pool)
    second.resize(5)
    first.release()
    with pytest.raises(SafetyError, match="adopted already"):
        AdoptedPool(pool)
    second.release()
    assert pool._max_workers == 3


def test_an_exception_while_it_is_steered_gives_it_back(pool: ThreadPoolExecutor) -> None:
    def steer() -> None:
        with ThreadPoolResource(pool=pool) as resource:
            resource.apply_control(2)
            raise KeyError

    with pytest.raises(KeyError):
        steer()
    assert as_found(pool)


def test_a_pool_without_the_needed_attributes_is_left_alone(pool: ThreadPoolExecutor) -> None:
    semaphore = pool.__dict__.pop("_idle_semaphore")
    with pytest.raises(ConfigError, match="_idle_semaphore cannot be adopted"):
        AdoptedPool(pool)
    assert as_found(pool)
    pool._idle_semaphore = semaphore


def test_a_pool_is_adopted_by_one_at_a_time(pool: ThreadPoolExecutor) -> None:
    first = AdoptedPool(pool)
    with pytest.raises(SafetyError, match="adopted already"):
        ThreadPoolResource(pool=pool)
    first.release()
    ThreadPoolResource(pool=pool).release()
    assert as_found(pool)


def test_bounds_refused_leave_the_pool_alone(pool: ThreadPoolExecutor) -> None:
    with pytest.raises(ConfigError):
        ThreadPoolResource(pool=pool, min_threads=4, max_threads=2)
    assert as_found(pool)


def test_another_librarys_submit_is_used_and_put_back(pool: ThreadPoolExecutor) -> None:
    seen: list[Any] = []
    original = pool.submit

    def theirs(fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        seen.append(fn)
        return original(fn, *args, **kwargs)

    pool.submit = theirs  # type: ignore[method-assign]
    adopted = AdoptedPool(pool)
    assert pool.submit(int, "3").result(PATIENCE) == 3
    adopted.release()
    assert vars(pool)["submit"] is theirs
    assert len(seen) == 1
    del pool.submit


def test_a_submit_put_over_ours_stays(pool: ThreadPoolExecutor) -> None:
    adopted = AdoptedPool(pool)
    ours = pool.submit

    def theirs(fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return ours(fn, *args, **kwargs)

    pool.submit = theirs  # type: ignore[method-assign]
    adopted.release()
    assert vars(pool)["submit"] is theirs
    assert pool.submit(int, "3").result(PATIENCE) == 3
    del pool.submit


def test_a_size_that_somebody_else_has_set_stays(pool: ThreadPoolExecutor) -> None:
    adopted = AdoptedPool(pool)
    adopted.resize(2)
    pool._max_workers = 7
    assert adopted.reading().size == 2  # the smaller of both is in force
    adopted.release()
    assert as_found(pool, 7)


def test_adoption_does_not_keep_a_forgotten_pool_from_being_collected() -> None:
    pool = ThreadPoolExecutor(2)
    adopted = AdoptedPool(pool)
    pool.submit(int).result(PATIENCE)
    threads, gone = list(pool._threads), threading.Event()
    weakref.finalize(pool, gone.set)
    gc.disable()
    try:
        del pool, adopted
        assert gone.is_set()
    finally:
        gc.enable()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_a_resource_that_is_collected_releases_its_pool(pool: ThreadPoolExecutor) -> None:
    resource = ThreadPoolResource(pool=pool)
    resource.apply_control(2)
    del resource
    gc.collect()
    assert as_found(pool)


def test_a_forked_child_gets_through_the_gate_and_can_release(pool: ThreadPoolExecutor) -> None:
    adopted = AdoptedPool(pool)

    def child() -> None:
        assert pool.submit(int, "8").result(PATIENCE) == 8
        adopted.release()
        assert as_found(pool)

    with held(adopted._gate._lock):
        assert in_child(child) == 0
    adopted.release()
