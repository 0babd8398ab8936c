import asyncio
import gc
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from math import isnan
from typing import Any

import pytest

from quantum_control.core.controller import QuantumController
from quantum_control.core.errors import ConfigError
from quantum_control.resources.executor import ResizableThreadPoolExecutor
from quantum_control.resources.limiter import AsyncLimiter
from quantum_control.resources.reading import PoolReading
from quantum_control.resources.threads import (
    MAX_THREADS,
    ThreadPoolResource,
    register_pool,
    unregister_pool,
)

PATIENCE = 60.0


class Scripted:
    """A pool whose readings are given."""

    def __init__(self, size: int = 4) -> None:
        self.now = PoolReading(0.0, size, size, 0, 0, 0, 0, 0, 0, 0.0, 0.0, 0.0)
        self.sizes: list[int] = []

    def reading(self) -> PoolReading:
        return self.now

    def resize(self, size: int, /) -> None:
        self.sizes.append(size)

    def passes(self, seconds: float, **changes: Any) -> None:
        self.now = replace(self.now, time=self.now.time + seconds, **changes)


def test_demand_is_what_was_in_use_and_what_the_queue_asks_for() -> None:
    pool = Scripted(size=4)
    resource = ThreadPoolResource(pool=pool)
    pool.passes(2.0, busy_seconds=8.0, started=80, completed=80, waiting=30, busy=4)
    state = resource.measure_state()
    assert state.demand == pytest.approx(4.0 + 30 * 0.1 / 2.0)
    assert state.size == 4.0


def test_the_next_measurement_describes_the_time_since_the_last() -> None:
    pool = Scripted(size=4)
    resource = ThreadPoolResource(pool=pool)
    pool.passes(1.0, busy_seconds=4.0, completed=10)
    resource.measure_state()
    pool.passes(1.0, busy_seconds=5.0, completed=20)
    assert resource.measure_state().demand == pytest.approx(1.0)


def test_heads_are_counted_while_nothing_ends() -> None:
    pool = Scripted(size=4)
    resource = ThreadPoolResource(pool=pool)
    pool.passes(1.0, busy_seconds=4.0, started=4, waiting=6, busy=4)
    assert resource.measure_state().demand == pytest.approx(10.0)


def test_a_measurement_at_the_same_instant_counts_heads_and_keeps_the_figures() -> None:
    pool = Scripted(size=4)
    resource = ThreadPoolResource(pool=pool)
    assert resource.get_metrics() == {}
    pool.passes(0.0, busy=3, waiting=2)
    assert resource.measure_state().demand == pytest.approx(5.0)
    assert resource.get_metrics() == {}
    pool.passes(1.0, busy_seconds=3.0, completed=5)
    resource.measure_state()
    figures = resource.get_metrics()
    resource.measure_state()
    assert resource.get_metrics() == pytest.approx(figures, nan_ok=True)


def test_figures_describe_the_last_interval() -> None:
    pool = Scripted(size=4)
    resource = ThreadPoolResource(pool=pool)
    pool.passes(1.0, started=100, completed=100, wait_seconds=100.0, service_seconds=50.0, busy_seconds=3.0)
    resource.measure_state()
    pool.passes(
        2.0,
        started=140,
        completed=120,
        failed=4,
        wait_seconds=104.0,
        service_seconds=60.0,
        busy_seconds=9.0,
        waiting=7,
        alive=5,
    )
    resource.measure_state()
    assert resource.get_metrics() == pytest.approx(
        {
            "throughput": 10.0,
            "errors": 2.0,
            "wait_seconds": 0.1,
            "service_seconds": 0.5,
            "busy": 3.0,
            "queue_depth": 7.0,
            "threads": 5.0,
        }
    )


def test_what_did_not_happen_has_no_mean() -> None:
    pool = Scripted()
    resource = ThreadPoolResource(pool=pool)
    pool.passes(1.0)
    resource.measure_state()
    figures = resource.get_metrics()
    assert isnan(figures["wait_seconds"])
    assert isnan(figures["service_seconds"])
    assert figures["throughput"] == 0.0


def test_control_sets_the_size() -> None:
    pool = Scripted()
    ThreadPoolResource(pool=pool).apply_control(9)
    assert pool.sizes == [9]


def test_a_real_pool_under_a_real_controller() -> None:
    now = [0.0]
    free = threading.Event()
    with ResizableThreadPoolExecutor(2, clock=lambda: now[0]) as pool:
        controller = QuantumController(
            ThreadPoolResource(pool=pool, max_threads=16), interval=1.0, clock=lambda: now[0]
        )
        try:
            for _ in range(40):
                pool.submit(free.wait, PATIENCE)
            for _ in range(30):
                now[0] += 1.0
                controller.optimize()
            assert pool.size == 16
        finally:
            free.set()
        controller.stop()
        assert pool.size == 2


def test_bounds_and_unit() -> None:
    resource = ThreadPoolResource(pool=Scripted(), min_threads=10, max_threads=1000)
    assert (resource.min_size, resource.max_size, resource.unit) == (10, 1000, "threads")
    assert ThreadPoolResource(pool=Scripted()).max_size == MAX_THREADS


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ({"min_threads": 0}, "min_threads=0"),
        ({"min_threads": 1.5}, "min_threads=1.5"),
        ({"max_threads": True}, "max_threads=True"),
        ({"max_threads": "9"}, "max_threads='9'"),
        ({"min_threads": 9, "max_threads": 8}, "min_threads=9 is above max_threads=8"),
    ],
)
def test_wrong_bounds_are_named(bounds: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ThreadPoolResource(pool=Scripted(), **bounds)


def test_a_registered_pool_is_found_by_its_name() -> None:
    with ResizableThreadPoolExecutor(3) as pool:
        register_pool("worker_pool", pool)
        register_pool("worker_pool", pool)
        resource = ThreadPoolResource(pool_name="worker_pool", min_threads=2)
        resource.apply_control(5)
        assert pool.size == 5
        with pytest.raises(ConfigError, match="did you mean 'worker_pool'"):
            ThreadPoolResource("worker_pol")
        with pytest.raises(ConfigError, match="registered as 'worker_pool' already"):
            register_pool("worker_pool", Scripted())
        unregister_pool("worker_pool")
        with pytest.raises(ConfigError, match="register_pool"):
            ThreadPoolResource("worker_pool")
        with pytest.raises(ConfigError, match="unknown pool 'worker_pool'"):
            unregister_pool("worker_pool")


def test_the_registry_forgets_a_collected_pool() -> None:
    pool = ThreadPoolExecutor(1)
    register_pool("passing", pool)
    del pool
    gc.collect()
    with pytest.raises(ConfigError, match="unknown pool 'passing'"):
        ThreadPoolResource("passing")


def test_either_a_name_or_a_pool_is_needed() -> None:
    for arguments in ({}, {"pool_name": "x", "pool": Scripted()}):
        with pytest.raises(ConfigError, match="either pool_name="):
            ThreadPoolResource(**arguments)  # type: ignore[arg-type]


def test_a_pool_of_another_kind_is_refused() -> None:
    with ProcessPoolExecutor(1) as pool:
        with pytest.raises(ConfigError, match="ProcessPoolExecutor cannot be steered"):
            ThreadPoolResource(pool=pool)  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match="ProcessPoolExecutor cannot be steered"):
            register_pool("processes", pool)  # type: ignore[arg-type]


def test_a_standard_pool_is_adopted_and_given_back() -> None:
    with ThreadPoolExecutor(2) as pool, ThreadPoolResource(pool=pool) as resource:
        assert pool.submit(int, "4").result(PATIENCE) == 4
        resource.apply_control(6)
        assert resource.measure_state().size == 6.0
        resource.release()
        assert ("submit" in vars(pool), pool._max_workers) == (False, 2)


def test_a_limiter_is_a_pool_as_well() -> None:
    async def main() -> None:
        limiter = AsyncLimiter(2)
        resource = ThreadPoolResource(pool=limiter)
        async with limiter, limiter:
            waiting = asyncio.ensure_future(limiter.acquire())
            await asyncio.sleep(0)
            resource.measure_state()  # all three are there from here on
            await asyncio.sleep(0.001)
            assert resource.measure_state().position == pytest.approx(0.5)
            resource.apply_control(3)
            await waiting
            limiter.release()
        resource.measure_state()
        assert resource.get_metrics()["throughput"] > 0.0

    asyncio.run(main())
