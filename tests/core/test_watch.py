"""The objective watch: losses are found, and the rate of false alarms is what it is said to be."""

from itertools import groupby

import numpy as np
import pytest
from doubles import Pool, Pushes, controlled

from quantum_control import Objective, ResourceState
from quantum_control.core.watch import ALARM, BLOCK, HOLD_SECONDS, MARGIN, LossEvidence, ObjectiveWatch


def time_to_alarm(rng, alarm, draw, most):
    test = LossEvidence()
    for block in range(1, most + 1):
        if test.take(draw(rng)) >= alarm:
            return block
    return most


NO_LOSS = {
    "coins": lambda rng: MARGIN + (0.9 if rng.random() < 0.5 else -0.9),
    "rare large losses": lambda rng: 1.0 if rng.random() < 0.1 else (MARGIN - 0.1) / 0.9,
    "normal": lambda rng: MARGIN + rng.normal(0.0, 0.3),
    "uniform": lambda rng: MARGIN + rng.uniform(-0.9, 0.9),
}


@pytest.mark.parametrize("draw", NO_LOSS.values(), ids=NO_LOSS)
def test_without_a_loss_alarms_are_as_rare_as_stated(draw):
    """The mean time to an alarm is at least `alarm` blocks, at the edge of what counts as no loss.

    Runs are cut at 20 times that, which can only lower the mean.
    """
    rng = np.random.default_rng(5)
    alarm = 50.0
    times = [time_to_alarm(rng, alarm, draw, 1000) for _ in range(120)]
    assert np.mean(times) >= alarm


@pytest.mark.parametrize(("loss", "blocks"), [(0.9, 30), (0.5, 50), (0.2, 400)])
def test_a_loss_is_found_the_sooner_the_larger_it_is(loss, blocks):
    rng = np.random.default_rng(5)
    times = [time_to_alarm(rng, ALARM, lambda rng: loss + rng.normal(0.0, 0.2), 5000) for _ in range(20)]
    assert np.median(times) <= blocks


def test_a_long_good_time_does_not_hide_a_loss_that_begins():
    test = LossEvidence()
    for _ in range(5000):
        test.take(-0.8)
    assert any(test.take(0.8) >= ALARM for _ in range(30))


def play(watch, demand, sizes, start=0.0, restless=False, **more):
    """Answers of the watch while `sizes` are in force on a queue that gets `demand` per interval."""
    backlog, answers = 0.0, []
    for step, size in enumerate(sizes):
        total = backlog + demand
        state = ResourceState.from_demand(total, size=size)
        state = ResourceState(state.position, size=size, time=start + step, flow=demand, **more)
        backlog = max(total - size, 0.0)
        answers.append(watch.allow(state, size, size + (restless or step == 0)))
    return answers


def held(answers):
    return [step for step, (_, why) in enumerate(answers) if why]


def test_steering_that_starves_a_resource_is_rolled_back_and_held():
    watch = ObjectiveWatch(Objective())
    answers = play(watch, 9.0, [12] + [6] * 900)
    first = held(answers)[0]
    assert 5 * BLOCK < first < 40 * BLOCK
    assert answers[first] == (12, "steering costs more than the size found would: rolled back")
    assert len(held(answers)) == int(HOLD_SECONDS) + (first + HOLD_SECONDS >= 901)
    assert watch.roll_backs == 1


def test_steering_that_saves_is_left_alone():
    watch = ObjectiveWatch(Objective())
    assert held(play(watch, 9.0, [40] + [11] * 3000)) == []
    assert watch.evidence < 2.0


def test_failures_that_began_with_the_changes_are_charged():
    quiet, failing = ObjectiveWatch(Objective()), ObjectiveWatch(Objective())
    assert held(play(quiet, 9.0, [12] + [11] * 600, errors=0.0)) == []
    play(failing, 9.0, [12], errors=0.0)
    assert held(play(failing, 9.0, [11] * 600, start=1.0, errors=20.0))


def test_failures_that_were_there_before_are_not():
    watch = ObjectiveWatch(Objective())
    for step in range(60):
        state = ResourceState(-0.25, size=12.0, time=float(step), flow=9.0, errors=20.0)
        watch.allow(state, 12, 12)
    assert held(play(watch, 9.0, [11] * 600, start=60.0, errors=20.0)) == []


def test_each_further_roll_back_holds_twice_as_long():
    watch = ObjectiveWatch(Objective())
    answers = play(watch, 9.0, [12] * 2 + [6] * 4000, restless=True)
    runs = [len(list(run)) for kept, run in groupby(answers, lambda answer: bool(answer[1])) if kept]
    assert runs[:2] == [HOLD_SECONDS, 2 * HOLD_SECONDS]


def test_time_in_which_somebody_keeps_the_size_is_not_charged_to_steering():
    kept = [False]
    watch = ObjectiveWatch(Objective(), kept=lambda: kept[0])
    play(watch, 9.0, [12] + [11] * BLOCK)
    kept[0] = True  # at a size that starves it
    assert held(play(watch, 9.0, [6] * 600, start=20.0)) == []
    kept[0] = False
    assert held(play(watch, 9.0, [11] * 200, start=700.0)) == []
    assert watch.roll_backs == 0


def test_after_a_hold_the_twin_begins_as_the_resource_is():
    watch = ObjectiveWatch(Objective())
    backlog = ResourceState.from_demand(500.0, size=6.0)
    watch.allow(ResourceState(backlog.position, size=6.0, time=0.0, flow=9.0), 12, 12)
    watch.roll_back(ResourceState(backlog.position, size=6.0, time=1.0, flow=9.0))
    play(watch, 9.0, [12] * int(HOLD_SECONDS), start=2.0)
    # Nothing waits any more. Against a twin that still had those 500 waiting a loss would look a gain.
    assert held(play(watch, 9.0, [6] * 25 * BLOCK, start=2.0 + HOLD_SECONDS))


def test_a_controller_goes_back_at_once_however_narrow_its_slew_limit():
    pool = Pool(40, demand=100.0)
    watch = ObjectiveWatch(Objective(), alarm=3.0)
    _, step = controlled(pool, Pushes(-1.0), links=(watch,))
    for _ in range(400):
        step(demand=max(pool.demand - pool.size, 0.0) + 30.0)
        if watch.roll_backs:
            break
    assert pool.size == 40
    for _ in range(20):
        step(demand=30.0)
        assert pool.size == 40
