"""What a controller counts of its own work."""

from __future__ import annotations

import pytest
from core.doubles import Clock, Pool

from quantum_control import QuantumController
from quantum_control.core.chain import HoldOff, Pause
from quantum_control.core.physics import Objective
from quantum_control.core.resource import ResourceState
from quantum_control.core.safety import GuardSettings
from quantum_control.core.tally import Tally, kind_of
from quantum_control.core.watch import ObjectiveWatch


class Stubborn:
    """A link of somebody's own."""

    def allow(self, state, size, wanted, /):
        return (size, "because it is 3 o'clock") if wanted != size else (wanted, "")


def steered(demand=8.0, most=50, **options):
    clock, pool = Clock(), Pool(10, demand, most=most)
    controller = QuantumController(pool, clock=clock, **options)

    def step(demand=None):
        clock.tick()
        if demand is not None:
            pool.demand = demand
        return controller.optimize()

    return controller, pool, step


def test_every_step_is_counted_under_its_outcome():
    controller, pool, step = steered(max_failures=2)
    outcomes = [step(demand).outcome for demand in (8.0, 30.0, 31.0)]
    pool.broken_measuring = OSError("gone")
    outcomes += [step().outcome for _ in range(3)]
    pool.broken_measuring = None
    outcomes += [step().outcome for _ in range(4)]
    outcomes.append(controller.optimize().outcome)  # the clock has not advanced
    told = [each.value for each in outcomes]
    assert set(told) == {"changed", "held", "failed", "suspended"}
    assert controller.tally.outcomes == {each: told.count(each) for each in set(told)}
    assert sum(controller.tally.outcomes.values()) == controller.steps == len(told)
    assert controller.changes == told.count("changed")


def test_interventions_are_counted_by_who_intervened_not_by_what_was_said():
    controller, _, step = steered(
        most=12, guard=GuardSettings(slew_up=1.1), links=[Stubborn()], max_failures=1
    )
    for number in range(20):
        step(30.0 + number)
    kinds = set(controller.tally.interventions)
    assert kinds <= {"maximum", "slew limit", "stubborn", "knee"}
    assert {"slew limit", "stubborn"} <= kinds


def test_nothing_is_counted_where_nothing_intervened():
    controller, _, step = steered()
    for _ in range(5):
        step(10.0)
    pause = Pause()
    paused, _, step = steered(links=[pause, HoldOff(0.0)])
    step()
    before = dict(paused.tally.interventions)
    pause.why = "paused by hand"
    step(30.0)
    assert "pause" not in before
    assert paused.tally.interventions["pause"] == 1
    assert "stop() was called" not in controller.tally.interventions


def test_the_names_of_links_are_their_types_in_words():
    assert kind_of(HoldOff(1.0)) == "hold off"
    assert kind_of(ObjectiveWatch(Objective())) == "objective watch"


def test_putting_the_original_back_is_counted_by_cause():
    controller, pool, step = steered(max_failures=1)
    step(8.0)
    step(30.0)
    assert controller.size != 10
    pool.broken_measuring = OSError("gone")
    step()
    step()
    assert (controller.tally.handed_back, controller.tally.put_back) == (1, 0)
    pool.broken_measuring = None
    for _ in range(3):
        step(30.0)
    assert controller.size != 10
    controller.stop()
    controller.stop()
    assert (controller.tally.handed_back, controller.tally.put_back) == (1, 1)


def test_steps_take_time():
    controller, _, step = steered()
    step()
    first = controller.tally.seconds
    step()
    assert 0.0 < first < controller.tally.seconds


def charged(demands, sizes, original, prices):
    tally = Tally()
    carried = 0.0
    for demand, size in zip(demands, sizes, strict=True):
        state = ResourceState.from_demand(demand, size=size)
        flow = demand - carried
        carried = max(demand - size, 0.0)
        tally.charge(state.__class__(state.position, size=state.size, flow=flow), original, prices)
    return tally


def test_a_size_that_never_moves_saves_nothing():
    tally = charged([8.0, 14.0, 12.0, 9.0], [10.0] * 4, 10, Objective())
    assert tally.cost == pytest.approx(tally.cost_at_original)
    assert tally.saving == pytest.approx(0.0)


def test_what_the_size_found_would_have_cost_is_that_of_a_queue_with_the_same_flow():
    prices = Objective(waiting=3.0, size=1.0, change=0.5)
    # Flows 8, 14, 14, 2; at size 10 they leave 0, 4, 8, 0 waiting.
    tally = charged([8.0, 14.0, 14.0, 2.0], [10.0, 14.0, 14.0, 10.0], 10, prices)
    assert tally.cost_at_original == pytest.approx(4 * 10.0 + 3.0 * (4.0 + 8.0 + 0.0))
    assert tally.cost == pytest.approx(10.0 + 14.0 + 14.0 + 10.0 + 0.5 * (4.0 + 4.0))
    assert tally.saving == pytest.approx(1.0 - 52.0 / 76.0)


def test_nothing_is_claimed_before_anything_was_charged():
    assert Tally().saving == 0.0
