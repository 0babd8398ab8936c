"""The best fixed size in hindsight."""

import numpy as np
import pytest

from quantum_control.core.physics import Objective
from quantum_control.demo import sweep
from quantum_control.demo.load import Load, Segment, daily
from quantum_control.demo.work import Calibration
from quantum_control.resources.adaptive import INTERVAL


def segment(*due, seconds=10.0, burst=True):
    """Give a segment with tasks at these times."""
    count = len(due)
    return Segment(seconds, np.array(due, float), np.full(count, 0.03), np.full(count, burst))


def load_of(*segments):
    """Give a load of these segments."""
    return Load(segments, np.ones(len(segments)), (0.02, 0.05), "test")


def test_tasks_wait_for_the_first_thread_that_is_free():
    replayed = sweep.replay(segment(0.0, 0.0, 0.0, 5.0), np.array([1.0, 2.0, 1.0, 1.0]), 2)
    assert replayed.waits.tolist() == [0.0, 0.0, 1.0, 0.0]
    assert replayed.seconds == 10.0


def test_a_replay_lasts_until_the_last_task_is_done():
    assert sweep.replay(segment(0.0, 0.0, seconds=1.0), np.array([1.0, 1.5]), 1).seconds == 2.5


def test_more_threads_never_wait_longer():
    load = daily(10.0, 1)
    services = sweep.expected_services(load, Calibration(0.001, 0.003))
    waits = [
        sum(sweep.replay(*pair, size).waits.sum() for pair in zip(load.segments, services, strict=True))
        for size in range(1, 40)
    ]
    assert np.all(np.diff(waits) <= 1e-9)


def test_the_cost_is_backlog_size_and_change_at_the_controllers_prices():
    # One task a thread-interval long waits 2 s: a backlog of one for 2 s.
    cost = sweep.cost(Objective(3.0, 1.0, 0.3), np.array([2.0]), np.array([INTERVAL]), 10.0, 5.0)
    assert cost == pytest.approx(3.0 * 2.0 + 10.0 + 0.3 * 5.0 * INTERVAL)


def test_a_short_task_that_waits_asks_for_less_than_a_thread():
    objective = Objective(1.0, 1.0, 0.0)
    cost = sweep.cost(objective, np.array([2.0]), np.array([INTERVAL / 10.0]), 0.0, 0.0)
    assert cost == pytest.approx(0.2)


def test_the_sweep_stops_only_where_no_larger_size_can_cost_less():
    load = daily(12.0, 1)
    objective = Objective()
    services = sweep.expected_services(load, Calibration(0.001, 0.003))
    costs = sweep.sweep(load, services, objective)
    best = min(costs, key=costs.__getitem__)
    beyond = [sweep.replayed_cost(load, services, size, objective) for size in range(max(costs) + 1, 80)]
    assert 1 < best < max(costs)
    assert min(beyond) > costs[best]


def test_the_size_that_waits_no_longer_is_the_least_of_its_kind():
    load = load_of(segment(*[0.0] * 10))
    services = [np.full(10, 1.0)]
    assert sweep.enough(load, services, 0.0) == 10
    assert sweep.enough(load, services, 1.0) == 5
    assert sweep.enough(load, services, -1.0) is None
