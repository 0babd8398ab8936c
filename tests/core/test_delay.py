"""How long an order takes to be in force: measured from sizes alone."""

from collections import deque

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum_control import QuantumController, ResourceState
from quantum_control.core.delay import DelayEstimator
from quantum_control.core.estimation import Estimator
from quantum_control.physics.optomechanical import Optomechanical
from quantum_control.simulation.plants.queues import FluidQueue
from quantum_control.simulation.plants.resource import PlantResource


class Lag:
    """Sizes that act `delay` intervals late, as an estimator meets them."""

    def __init__(self, delay: int, size: float = 10.0) -> None:
        self.delays = DelayEstimator()
        self.delay = delay
        self._orders = deque([size] * 10, maxlen=10)

    def order(self, size: float) -> int:
        self._orders.append(size)
        self.delays.commanded(size)
        self.delays.observed(self._orders[-1 - self.delay])
        return self.delays.delay


@pytest.mark.parametrize("delay", range(6))
def test_it_finds_the_delay_from_sizes_that_change_now_and_then(delay: int) -> None:
    lag = Lag(delay)
    found = [lag.order(10.0 + step // 12) for step in range(80)]
    assert set(found[30:]) == {delay}


@pytest.mark.parametrize("delay", range(4))
def test_it_finds_the_delay_from_sizes_that_change_at_every_step(delay: int) -> None:
    lag = Lag(delay)
    rng = np.random.default_rng(delay)
    found = [lag.order(float(size)) for size in rng.permutation(100)]
    assert set(found[10:]) == {delay}


@pytest.mark.parametrize("delay", range(4))
def test_sizes_that_come_back_do_not_mislead_it(delay: int) -> None:
    lag = Lag(delay)
    rng = np.random.default_rng(delay)
    found = [lag.order(float(size)) for size in rng.integers(10, 12, 300)]
    assert set(found[50:]) == {delay}


@pytest.mark.parametrize(("before", "after"), [(0, 3), (3, 0), (1, 2), (2, 1)])
def test_it_follows_a_delay_that_changes(before: int, after: int) -> None:
    lag = Lag(before)
    rng = np.random.default_rng(1)
    sizes = [float(size) for size in rng.integers(1, 1000, 80)]
    assert [lag.order(size) for size in sizes[:40]][-1] == before
    lag.delay = after
    assert [lag.order(size) for size in sizes[40:]][-1] == after


def test_nothing_is_learnt_while_nothing_moves() -> None:
    lag = Lag(2)
    for size in (10.0, 20.0, 30.0, 20.0, 40.0, 10.0, 50.0):
        lag.order(size)
    for _ in range(500):
        assert lag.order(50.0) == 2


def test_a_size_that_nobody_ordered_says_nothing_about_the_delay() -> None:
    lag = Lag(1)
    for size in (10.0, 20.0, 30.0, 40.0, 50.0):
        lag.order(size)
    for size in (60.0, 70.0, 80.0):
        lag.delays.commanded(size)
        lag.delays.observed(33.0)
    assert lag.delays.delay == 1


@given(st.lists(st.integers(1, 1000), max_size=60), st.integers(0, 12))
def test_it_never_leaves_its_range(sizes: list[int], delay: int) -> None:
    delays = DelayEstimator()
    for step, size in enumerate(sizes):
        delays.commanded(float(size))
        delays.observed(float(sizes[max(0, step - delay)]))
        assert 0 <= delays.delay <= DelayEstimator.LONGEST


def test_orders_under_way_are_those_of_the_delay_oldest_first() -> None:
    lag = Lag(2)
    for size in (11.0, 25.0, 32.0, 17.0, 41.0, 53.0):
        lag.order(size)
    assert lag.delays.in_flight() == [41.0, 53.0]


def test_nothing_is_under_way_without_a_delay() -> None:
    lag = Lag(0)
    for size in (11.0, 25.0, 32.0):
        lag.order(size)
    assert lag.delays.in_flight() == []


def test_a_missed_interval_does_not_make_the_delay_shorter() -> None:
    estimator = Estimator()
    orders = [10.0] * 3 + [float(size) for size in np.random.default_rng(3).integers(10, 1000, 120)]
    for step in range(3, len(orders)):
        if step % 5 == 0:
            orders[step] = orders[step - 1]  # nothing was measured, and so nothing was ordered
            continue
        estimator.update(ResourceState(0.0, size=orders[step - 3]), float(step), orders[step - 1])
    assert estimator.delay == 2


def test_the_backlog_foreseen_allows_for_orders_under_way() -> None:
    estimator = Estimator()
    orders = [float(size) for size in np.random.default_rng(4).integers(20, 40, 30)] + [60.0, 60.0, 60.0]
    for step in range(3, len(orders)):
        size = orders[step - 2]  # in force one interval late
        state = estimator.update(ResourceState.from_demand(10.0, size=size), float(step), orders[step - 1])
    assert estimator.delay == 1
    state = estimator.update(ResourceState.from_demand(160.0, size=60.0), float(step + 1), 60.0)
    # 100 wait now; by the time at which the next order acts, 60 more have been served and some have come.
    assert state.backlog == pytest.approx(100.0 + state.forecast - 60.0)


def test_the_law_is_told_of_the_delay() -> None:
    plant, law = FluidQueue(delay=2), Optomechanical()
    counts = np.random.default_rng(5).poisson(50.0, 60)
    controller = QuantumController(PlantResource(plant, counts, size=40), law, clock=plant.clock)
    for _ in range(60):
        controller.optimize()
    assert law.delay == 2


def test_a_rhythm_that_is_known_leaves_no_backlog_behind_orders_that_follow_it() -> None:
    """While demand rises, sizes that act before the next one are held against the demand of their time."""

    def wave(step: int) -> float:
        return float(10.0 + 2.0 * np.sin(2.0 * np.pi * step / 24.0))

    steps = iter(range(300))

    def anticipate(amplitude: float) -> tuple[float, float]:
        step = next(steps)
        return wave(step) - 10.0, wave(step + 3) - 10.0

    estimator = Estimator(anticipate=anticipate)
    orders = [float(round(wave(step) ** 2) + 3) for step in range(310)]  # each as its time will need it
    for step in range(300):
        state = estimator.update(
            ResourceState.from_demand(wave(step) ** 2, size=orders[step]), float(step), orders[step + 2]
        )
        if step > 50:
            assert estimator.delay == 2
            assert state.forecast == pytest.approx(wave(step + 3) ** 2)
            assert state.backlog < 1.0


@pytest.mark.parametrize("delay", [0, 2])
def test_the_demand_of_the_next_interval_is_predicted_at_any_delay(delay: int) -> None:
    """Of a steady flow it is known: the flow and what waits, whatever is in flight to serve it."""
    plant = FluidQueue(delay=delay)
    resource = PlantResource(plant, np.full(60, 50.0), size=20)
    controller = QuantumController(resource, clock=plant.clock)
    for _ in range(60):
        controller.optimize()
    assert controller.score.naive_error > 0.0
    assert controller.score.error == pytest.approx(0.0, abs=1e-9)
