"""What is in force is not what was ordered, or not yet, or not to the unit."""

from math import log, nan

import numpy as np
import pytest
from doubles import Pool, Pushes, controlled

from quantum_control import (
    ResourceState,
)
from quantum_control.core.actuator import PATIENCE

LAWS = ["optomechanical", "parametric", "coherent"]


def test_a_size_changed_elsewhere_is_noticed_and_gone_on_from() -> None:
    pool = Pool(10, 40.0)
    controller, step = controlled(pool, Pushes(0.0))
    step()
    for _ in range(PATIENCE + 1):
        assert controller.size == 10
        step(size=50)
    assert (controller.size, controller.original) == (50, 10)
    assert pool.applied == []


@pytest.mark.parametrize("delay", [1, 2, 4])
@pytest.mark.parametrize("law", LAWS)
def test_a_resource_that_takes_its_time_is_steered_all_the_same(law: str, delay: int) -> None:
    pool = Pool(10, delay=delay)
    controller, step = controlled(pool, law)
    rng = np.random.default_rng(delay)
    sizes = []
    for flow in rng.poisson(100, 150):
        step(demand=float(flow))
        sizes.append(pool.size)
    assert 95 < np.mean(sizes[50:]) < 130
    assert controller._estimator.delay == delay


class Crawling(Pool):
    """Moves a tenth of the way at each measurement."""

    goal = 100

    def measure_state(self) -> ResourceState:
        self.size += (self.goal - self.size) * 0.1
        return super().measure_state()

    def apply_control(self, new_size: int) -> None:
        self.applied.append(new_size)
        self.goal = new_size


def test_a_size_that_creeps_to_what_was_ordered_is_not_mistaken_for_somebody_elses() -> None:
    pool = Crawling(100, 100.0)
    controller, step = controlled(pool, Pushes(log(2.0), 0.0))
    for _ in range(60):
        step()
    assert controller.size == 200
    assert pool.applied == [200]


class Coarse(Pool):
    """Takes only multiples of eight."""

    def apply_control(self, new_size: int) -> None:
        super().apply_control(max(8, new_size // 8 * 8))


@pytest.mark.parametrize("law", LAWS)
def test_a_resource_that_rounds_is_steered_without_complaint(law: str) -> None:
    pool = Coarse(64, 100.0)
    controller, step = controlled(pool, law)
    for _ in range(60):
        step()
    assert controller.failures == 0
    assert pool.size in (96, 104, 112)
    assert set(pool.applied[20:]) <= {96, 104, 112}


def test_a_size_that_the_resource_does_not_report_is_taken_as_ordered() -> None:
    class Silent(Pool):
        def measure_state(self) -> ResourceState:
            reported = nan if self.applied else self.size
            return ResourceState(self.demand / self.size - 1.0, size=reported)

    pool = Silent(10, 40.0)
    controller, step = controlled(pool)
    for _ in range(20):
        step()
    assert controller.failures == 0
    assert 40 <= pool.size < 60


@pytest.mark.parametrize(("size", "least", "most"), [(500, 1, 20), (3, 50, 100)])
def test_a_first_size_outside_the_bounds_is_brought_inside_and_given_back_on_stop(
    size: int, least: int, most: int
) -> None:
    pool = Pool(size, 15.0, least=least, most=most)
    controller, step = controlled(pool)
    for _ in range(10):
        step()
    assert least <= pool.size <= most
    assert pool.applied[0] in (size // 2, size * 10)
    controller.stop()
    assert pool.size == size


def test_an_original_that_is_no_integer_is_restored_to_the_nearest() -> None:
    pool = Pool(10.4)
    controller, step = controlled(pool, Pushes(1.0))
    step()
    controller.stop()
    assert pool.applied[-1] == 10


@pytest.mark.parametrize("size", [10**9, 10**18])
@pytest.mark.parametrize("law", LAWS)
def test_bytes_are_steered_as_threads_are(law: str, size: int) -> None:
    pool = Pool(size, 0.3 * size)
    controller, step = controlled(pool, law)
    for _ in range(40):
        step()
    assert controller.failures == 0
    assert 0.3 * size <= pool.size < 0.301 * size
    controller.stop()
    assert pool.size == size


def test_a_size_that_floats_cannot_hold_is_restored_to_the_unit() -> None:
    size = 2**60 + 1
    pool = Pool(size, float(size))
    controller, step = controlled(pool, Pushes(0.0, 0.5, 0.0))
    assert (step().allowed, pool.applied) == (size, [])
    step()
    controller.stop()
    assert pool.size == size
