"""A small version of the experiment on real thread pools: the machinery, not the outcome."""

import time

import pytest
from validation.small import small_experiment

from quantum_control.demo.load import default_size
from quantum_control.validation.bed import RUN, Turn
from quantum_control.validation.beds.threads import ThreadsBed
from quantum_control.validation.plan import UNSTEERED, WATCHED, committed, read_plan

pytestmark = pytest.mark.integration

SHORTER = {"wash_in = 0.12": "wash_in = 0.06", "seconds = 0.62": "seconds = 0.2"}


@pytest.fixture
def bed():
    with ThreadsBed(read_plan(committed()).of("threads").bed) as bed:
        bed.prepare({"best_fixed": 9}, ["best fixed", "peer", "auto", WATCHED, UNSTEERED])
        yield bed


def turn(pair):
    return Turn.of(1, RUN, pair, 1)


def test_a_small_experiment_runs_from_the_plan_to_the_report(tmp_path):
    found, calibration = small_experiment("threads", SHORTER, tmp_path)
    assert found["means"]["default"]["threads"] > 0.0
    assert found["means"]["auto"]["cost"] > 0.0
    costs = {int(size): cost for size, cost in calibration["cost_by_size"].items()}
    assert costs[calibration["best_fixed"]] == min(costs.values())
    assert "<svg" in (tmp_path / "out" / "report.html").read_text()


def test_steps_and_their_processor_time_are_counted_over_wash_in_and_block(bed):
    steps = bed._arms["peer"].steps
    spent = []

    def step():
        began = time.thread_time()
        steps.controller.optimize()
        spent.append(time.thread_time() - began)

    steps.step = step
    block = bed.run("peer", turn(0))
    assert block.steps == len(spent) == steps.controller.steps > 0
    assert block.control_cpu >= sum(spent)
    assert block.metrics["lost"] == 0.0


def test_what_is_steered_goes_on_where_it_was_and_its_time_stands_still(bed):
    steps = bed._arms["auto"].steps
    for pair in range(2):
        before = steps.controller.steps
        assert bed.run("auto", turn(pair)).steps == steps.controller.steps - before
        at = steps.clock()
        bed.run("best fixed", turn(pair))
        assert steps.clock() == at


def test_what_only_looks_is_compared_with_the_same_pool_without_a_controller(bed):
    assert type(bed._arms[WATCHED].pool) is type(bed._arms[UNSTEERED].pool)
    for name in (WATCHED, UNSTEERED):
        block = bed.run(name, turn(0))
        assert {size for _, size, _ in block.course} == {default_size()}, name
        assert (block.steps > 0) == (block.control_cpu > 0.0) == (name == WATCHED)


def test_a_step_that_fails_fails_the_block(bed):
    def fail():
        raise OSError("the pool is gone")

    bed._arms["peer"].steps.step = fail
    with pytest.raises(OSError, match="gone"):
        bed.run("peer", turn(0))
