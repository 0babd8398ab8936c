"""Answers that are late, old or run backwards are not believed; frozen ones shrink nothing."""

from math import nan

import pytest
from doubles import Clock, Pool

from quantum_control import QuantumController, ResourceState, SensorError
from quantum_control.core.chain import Pause
from quantum_control.core.decision import Outcome
from quantum_control.core.sensing import Checked


class Stamped(Pool):
    """Takes `takes` seconds to answer, and says that it measured at `stamp`."""

    def __init__(self, clock, demand=8.0):
        super().__init__(10, demand)
        self.clock = clock
        self.takes = 0.0
        self.stamp = nan

    def measure_state(self):
        self.clock.tick(self.takes)
        return ResourceState.from_demand(self.demand, size=self.size, time=self.stamp)


def checked(demand=8.0, frozen_after=5):
    clock = Clock(1000.0)
    pool = Stamped(clock, demand)
    return pool, Checked(pool, 2.0, frozen_after, clock), clock


def test_an_answer_in_time_is_passed_on():
    pool, resource, _ = checked()
    pool.metrics = {"throughput": 3.0}
    assert resource.measure_state().demand == 8.0
    assert resource.get_metrics() == {"throughput": 3.0}
    resource.apply_control(12)
    assert pool.size == 12


def test_a_late_answer_is_none():
    pool, resource, _ = checked()
    pool.takes = 2.5
    with pytest.raises(SensorError, match=r"took 2.5 s; after 2 s it is too old"):
        resource.measure_state()


def test_a_source_that_stands_still_is_found_by_its_own_time():
    pool, resource, clock = checked()
    pool.stamp = 50.0  # another clock than ours
    resource.measure_state()
    clock.tick(1.0)
    resource.measure_state()
    clock.tick(1.5)
    with pytest.raises(SensorError, match=r"2.5 s old"):
        resource.measure_state()
    pool.stamp = 52.5
    resource.measure_state()


def test_a_source_that_goes_back_in_time_is_told_once_and_then_believed():
    pool, resource, clock = checked()
    pool.stamp = 50.0
    resource.measure_state()
    clock.tick()
    pool.stamp = 20.0
    with pytest.raises(SensorError, match="30 s before the measurement before it"):
        resource.measure_state()
    clock.tick()
    pool.stamp = 21.0
    resource.measure_state()


def held(resource):
    """Why a wish for a smaller size is held back."""
    return resource.frozen.allow(resource.measure_state(), 10, 8)[1]


def test_while_answers_do_not_change_though_work_waits_nothing_shrinks(caplog):
    _, resource, _ = checked(demand=12.5)
    assert [held(resource) for _ in range(5)] == [""] * 5
    assert held(resource).startswith("6 measurements in a row are equal to the last digit while work waits")
    assert [resource.frozen.allow(resource.measure_state(), 10, wanted)[0] for wanted in (8, 12)] == [10, 12]
    assert len(caplog.records) == 1


def test_a_demand_computed_from_a_moving_size_still_counts_as_equal():
    pool, resource, _ = checked(demand=1000.1)
    for size in range(10, 15):
        pool.size = size
        assert held(resource) == ""
    assert "equal" in held(resource)


def test_without_work_waiting_equal_answers_are_no_news():
    _, resource, _ = checked(demand=8.0)
    assert {held(resource) for _ in range(50)} == {""}


def test_metrics_that_move_show_that_the_sensor_lives():
    pool, resource, _ = checked(demand=12.5)
    for number in range(50):
        pool.metrics = {"throughput": float(number)}
        assert held(resource) == ""


def test_a_saturated_resource_keeps_its_size_and_is_steered_on_when_the_demand_changes(caplog):
    pool, resource, clock = checked(demand=100.0)
    resource.max_size = 50
    controller = QuantumController(resource, clock=clock, max_failures=3, links=(resource.frozen,))

    def step():
        clock.tick()
        return controller.optimize().outcome

    assert step() is Outcome.CHANGED
    assert {step() for _ in range(40)} <= {Outcome.CHANGED, Outcome.HELD}
    assert (pool.size, controller.failures) == (50, 0)
    assert "the sensor is frozen, or the resource saturated" in caplog.text
    pool.demand = 20.0
    for _ in range(10):
        step()
    assert pool.size < 50


def test_one_that_was_saturated_while_it_was_paused_grows_on_after_that():
    pool, resource, clock = checked(demand=100.0)
    pause = Pause()
    controller = QuantumController(resource, clock=clock, links=(resource.frozen, pause))
    for why in ("paused by hand", ""):
        pause.why = why
        for _ in range(20):
            clock.tick()
            controller.optimize()
        assert (pool.size > 90) is not bool(why)
