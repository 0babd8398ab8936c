"""How fast a queue drains, learnt from what leaves it, and the limit that this asks for."""

from math import isnan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum_control.core.controller import QuantumController
from quantum_control.core.resource import Resource, ResourceState
from quantum_control.core.safety import GuardSettings
from quantum_control.resources.drain import WRAP, Drain

TARGET, GRAIN = 0.02, 1514.0
RATE = 1_250_000.0


def watched(*intervals, limit=50_000.0):
    """A drain that has seen intervals of a second: what left in each, and the backlog at its end."""
    drain, sent = Drain(TARGET, GRAIN), 0.0
    drain.count(0.0, 0.0, intervals[0][1], 0, limit)
    for time, (left, backlog) in enumerate(intervals, start=1):
        sent += left
        drain.count(float(time), sent, backlog, 0, limit)
    return drain


def test_a_queue_that_never_runs_empty_drains_as_the_link_carries():
    drain = watched((RATE, 40_000.0))
    assert drain.metrics()["drain_rate"] == RATE
    assert drain.demand(25_000.0) == RATE * TARGET


def test_until_something_waits_the_limit_found_is_right():
    drain = watched((1000.0, 0.0), (2000.0, 0.0))
    assert isnan(drain.metrics()["drain_rate"])
    assert drain.demand(50_000.0) == 50_000.0
    assert drain.demand(49_000.0) > 49_000.0


def test_a_light_load_says_nothing_about_the_link():
    drain = watched((RATE, 40_000.0), (1000.0, 0.0), (0.0, 0.0))
    assert drain.metrics()["drain_rate"] == RATE


def test_a_slower_link_is_seen_as_soon_as_something_waits():
    drain = watched((RATE, 40_000.0), (RATE / 10.0, 40_000.0))
    assert drain.metrics()["drain_rate"] == RATE / 10.0


def test_a_faster_link_is_seen_as_soon_as_more_gets_through():
    drain = watched((RATE, 40_000.0), (8.0 * RATE, 0.0))
    assert drain.metrics()["drain_rate"] == 8.0 * RATE


def test_a_small_backlog_counts_against_the_limit_asked_for_not_against_a_huge_one():
    assert watched((RATE, 10_000.0), limit=1e9).metrics()["drain_rate"] == RATE


def test_the_wait_is_the_backlog_over_what_leaves():
    metrics = watched((RATE, 25_000.0)).metrics()
    assert metrics["wait_seconds"] == pytest.approx(0.02)
    assert metrics["sent"] == RATE
    assert metrics["queue_depth"] == 25_000.0
    assert isnan(watched((0.0, 25_000.0)).metrics()["wait_seconds"])


def test_counts_that_wrap_or_begin_anew_make_no_nonsense():
    drain = Drain(TARGET, GRAIN)
    drain.count(0.0, 5000.0, 0.0, WRAP - 3, 50_000.0)
    drain.count(1.0, 6000.0, 0.0, 2, 50_000.0)
    assert drain.metrics()["drops"] == 5.0
    drain.count(2.0, 10.0, 0.0, 0, 50_000.0)
    assert drain.metrics()["sent"] == 1000.0
    drain.count(2.0, 20.0, 0.0, 0, 50_000.0)
    assert drain.metrics()["sent"] == 1000.0


@given(st.lists(st.tuples(st.floats(0, 1e12), st.floats(0, 1e9)), min_size=1, max_size=20))
def test_whatever_is_counted_the_demand_is_a_positive_number(intervals):
    drain = watched(*intervals)
    assert 0.0 < drain.demand(50_000.0) < 1e13
    assert drain.metrics()["sent"] >= 0.0


class FullQueue(Resource):
    """A queue that is always full, on a link whose rate is `rate`."""

    min_size = 6056

    def __init__(self, limit):
        self.limit, self.rate, self.time, self.sent = limit, RATE, 0.0, 0.0
        self.drain = Drain(TARGET, GRAIN)

    def measure_state(self):
        self.drain.count(self.time, self.sent, self.limit, 0, self.limit)
        return ResourceState.from_demand(self.drain.demand(self.limit), size=self.limit)

    def apply_control(self, new_size):
        self.limit = float(new_size)

    def get_metrics(self):
        return self.drain.metrics()

    def pass_time(self):
        self.time += 0.2
        self.sent += 0.2 * self.rate


LAWS = ("optomechanical", "parametric", "coherent")


@pytest.mark.parametrize(
    ("model", "tuned"), [("auto", False), *((law, tuned) for law in LAWS for tuned in (False, True))]
)
def test_a_law_holds_the_target_and_follows_the_rate_both_ways(model, tuned):
    queue = FullQueue(1_514_000.0)
    controller = QuantumController(
        queue, model, tuned, interval=0.2, clock=lambda: queue.time, guard=GuardSettings(slew_down=16.0)
    )
    for factor in (1.0, 10.0, 1.0):
        queue.rate = factor * RATE
        for _ in range(20):
            queue.pass_time()
            controller.optimize()
        full = queue.rate * TARGET
        assert 0.97 * full < queue.limit < 1.05 * full
