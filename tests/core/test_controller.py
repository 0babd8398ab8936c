"""One step of the loop, taken by hand on a clock of its own."""

import threading
from math import exp, inf, isnan, log, nan
from typing import Any

import numpy as np
import pytest
from doubles import Clock, Pool, Pushes, controlled
from hypothesis import given, settings
from hypothesis import strategies as st

from quantum_control import (
    LifecycleError,
    Objective,
    Outcome,
    PhysicsModel,
    QuantumController,
    Resource,
    ResourceState,
)

LAWS = ["optomechanical", "parametric", "coherent"]


# ---- a user's own resource ----------------------------------------------------------------------


class Queue(Resource):
    """Nothing but the three methods: work comes in, `size` units of it are done per step."""

    def __init__(self) -> None:
        self.size = 4
        self.queue = 0.0
        self.rng = np.random.default_rng(1)

    def measure_state(self) -> ResourceState:
        demand = self.queue + self.rng.poisson(50.0)
        self.queue = max(demand - self.size, 0.0)
        return ResourceState.from_demand(demand, size=self.size)

    def apply_control(self, new_size: int) -> None:
        self.size = new_size

    def get_metrics(self) -> dict[str, float]:
        return {}


@pytest.mark.parametrize("auto_tune", [False, True])
@pytest.mark.parametrize("law", LAWS)
def test_a_resource_of_three_methods_is_steered_by_every_law(law: str, auto_tune: bool) -> None:
    queue = Queue()
    controller, step = controlled(queue, law, auto_tune=auto_tune)
    for _ in range(150):
        step()
    assert controller.failures == 0
    assert controller.physics.name == law
    assert 50 < queue.size < 80
    assert queue.queue < 10.0
    steady = [decision.allowed for decision in controller.decisions]
    assert 45 < np.mean(steady) < 75


@pytest.mark.parametrize("law", LAWS)
def test_it_shrinks_what_is_not_needed(law: str) -> None:
    pool = Pool(500, 20.0)
    _, step = controlled(pool, law)
    for _ in range(60):
        step()
    assert 20 <= pool.size < 40


# ---- the step -----------------------------------------------------------------------------------


def test_optimize_is_one_step_and_needs_no_thread() -> None:
    before = set(threading.enumerate())
    pool = Pool(10)
    controller, step = controlled(pool, Pushes(log(1.5)))
    decision = step()
    assert (decision.outcome, decision.allowed, pool.size) == (Outcome.CHANGED, 15, 15)
    assert (controller.steps, controller.changes, controller.size, controller.original) == (1, 1, 15, 10)
    assert not controller.running
    assert not set(threading.enumerate()) - before


def test_a_decision_tells_what_was_seen_wanted_and_allowed() -> None:
    controller, step = controlled(Pool(10, 8.0), Pushes(log(1.43)))
    decision = step()
    assert decision.state is controller.history[-1]
    assert decision.state.position == pytest.approx(-0.2)
    assert decision.force == log(1.43)
    assert decision.wanted == pytest.approx(14.3)
    assert (decision.allowed, decision.reasons) == (14, ())
    assert decision.time == 101.0
    assert controller.decisions[-1] is decision


def test_a_decision_tells_why_the_guard_intervened() -> None:
    _, step = controlled(Pool(10, most=12), Pushes(log(1.5)))
    assert (step().reasons, step().reasons) == (("maximum",), ("maximum",))


def test_a_decision_tells_where_the_law_wants_to_rest() -> None:
    _, step = controlled(Pool(10, 8.0))
    for _ in range(20):
        decision = step()
    assert decision.setpoint == pytest.approx(8.0 / decision.wanted - 1.0, abs=0.2)
    assert decision.setpoint < 0.0


def test_a_step_in_which_nothing_changes_is_held() -> None:
    pool = Pool(10)
    _, step = controlled(pool, Pushes(0.0))
    decision = step()
    assert (decision.outcome, decision.allowed, decision.reasons) == (Outcome.HELD, 10, ())
    assert pool.applied == []


def test_what_is_kept_is_bounded() -> None:
    controller, step = controlled(Pool(), Pushes(0.0))
    for _ in range(200):
        step()
    assert (len(controller.history), len(controller.decisions)) == (60, 60)
    assert controller.history.maxlen == 60
    assert controller.steps == 200


def test_metrics_are_kept_and_shown_to_the_law() -> None:
    pool = Pool()
    pool.metrics = {"throughput": 7.0, "wait_seconds": 0.5, "mine": 1.0}
    law = Pushes(0.0)
    controller, step = controlled(pool, law)
    step()
    assert controller.metrics == pool.metrics
    assert (law.seen[0].throughput, law.seen[0].wait_seconds) == (7.0, 0.5)


def test_a_resource_that_knows_what_it_can_use_is_not_let_past_it_nor_held_back_before_it() -> None:
    pool = Pool(size=10, demand=200.0)
    pool.metrics = {"throughput": 50.0, "useful_size": 60.0}
    controller = QuantumController(pool, clock=Clock())
    decision = controller.optimize()
    assert decision.allowed == 60
    assert decision.reasons == ("knee: 60 is the most that the resource can make use of",)


def test_the_force_acts_for_one_interval() -> None:
    controller, step = controlled(Pool(10), Pushes(0.0), interval=0.1)
    step(0.1)
    assert controller.calculate_action(2.0) == pytest.approx(10.0 * exp(0.2))
    assert controller.calculate_action(-2.0) == pytest.approx(10.0 * exp(-0.2))


def test_no_force_overflows() -> None:
    controller, step = controlled(Pool(10), Pushes(0.0))
    step()
    assert controller.calculate_action(1e300) < inf
    assert controller.calculate_action(inf) < inf
    assert controller.calculate_action(-inf) == 0.0
    assert isnan(controller.calculate_action(nan))


def test_there_is_no_action_before_there_is_a_size() -> None:
    controller, _ = controlled(Pool())
    assert (controller.size, controller.original) == (None, None)
    with pytest.raises(LifecycleError, match="no size is known before the first measurement"):
        controller.calculate_action(0.1)


def test_its_score_holds_the_laws_predictions_against_what_came() -> None:
    rng = np.random.default_rng(2)
    pool = Pool(100)
    controller, step = controlled(pool)
    for flow in rng.poisson(50, 300):
        step(demand=float(flow))
    assert controller.score.error < controller.score.naive_error
    assert 0.0 < controller.score.skill < 1.0


# ---- weak forces and fractions of a unit --------------------------------------------------------


def test_a_weak_force_adds_up_to_whole_units() -> None:
    pool = Pool(10)
    _, step = controlled(pool, Pushes(0.01))
    for _ in range(100):
        step()
    # Whole units at a time, it moves at most twice as fast as fractions would.
    assert 10.0 * exp(0.01 * 100) - 1 < pool.size < 10.0 * exp(0.02 * 100)


def test_a_weak_force_downwards_too() -> None:
    pool = Pool(20)
    _, step = controlled(pool, Pushes(-0.01))
    for _ in range(200):
        step()
    assert pool.size < 10


class Proportional(PhysicsModel):
    """A user's own law, of a low gain."""

    def calculate_force(self, state: ResourceState) -> float:
        return 0.05 * state.position

    def predict_next_state(self, current: ResourceState) -> ResourceState:
        return current


def test_a_timid_law_on_a_small_pool_gets_to_where_it_wants() -> None:
    pool = Pool(3, 4.0)
    _, step = controlled(pool, Proportional())
    for _ in range(200):
        step()
    assert pool.size == 4
    assert pool.applied == [4]


def test_a_fraction_does_not_make_a_size_chatter() -> None:
    pool = Pool(3, 3.4)
    _, step = controlled(pool, Proportional())
    for _ in range(400):
        step()
    assert len(pool.applied) < 20


def test_a_size_held_at_its_bound_leaves_it_at_once() -> None:
    pool = Pool(10, most=12)
    _, step = controlled(pool, Pushes(*[1.0] * 50, -0.1))
    for _ in range(50):
        step()
    assert pool.size == 12
    step()
    assert pool.size == 11


def test_dear_waiting_holds_more_headroom() -> None:
    settled = []
    for waiting in (1.5, 3.0, 30.0):
        rng = np.random.default_rng(3)
        pool = Pool(100)
        _, step = controlled(pool, objective=Objective(waiting=waiting))
        settled.append(np.mean([step(demand=float(flow)).allowed for flow in rng.poisson(100, 200)]))
    assert settled[0] < settled[1] < settled[2]


# ---- whatever a resource says -------------------------------------------------------------------

anything = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([0, 0.0, -1, -1.0, 1, 10**18, None, "ten", nan, inf, -inf]),
)


class Babbling(Pool):
    """Measures whatever it is told."""

    said: tuple[Any, Any, Any] = (0.0, 1.0, nan)

    def measure_state(self) -> ResourceState:
        position, size, _ = self.said
        return ResourceState(position, size=size)

    def get_metrics(self) -> dict[str, float]:
        return {"throughput": self.said[2]}


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(LAWS), st.lists(st.tuples(anything, anything, anything), max_size=30))
def test_no_measurement_gets_a_size_out_of_its_bounds_or_ends_the_loop(
    law: str, measurements: list[tuple[Any, Any, Any]]
) -> None:
    pool = Babbling(50, least=10, most=100)
    pool.said = (0.0, 50.0, nan)
    _, step = controlled(pool, law, max_failures=3)
    step()
    for said in measurements:
        pool.said = said
        decision = step()
        assert isinstance(decision.outcome, Outcome)
    # Sizes found elsewhere may be outside of the bounds, and are then brought inside at the slew rate.
    found = [size for _, size, _ in measurements if isinstance(size, (int, float)) and not 10 <= size <= 100]
    assert found or all(10 <= size <= 100 for size in pool.applied)
    for _ in range(40):
        pool.said = (-0.5, float(pool.applied[-1] if pool.applied else 50), nan)
        decision = step()
    assert decision.outcome in (Outcome.HELD, Outcome.CHANGED)
    assert 10 <= decision.allowed <= 100
