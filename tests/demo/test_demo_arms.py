"""The pools that are compared."""

import threading

import pytest

from quantum_control.demo.arms import FixedArm, SteeredArm, Stopwatch
from quantum_control.demo.load import default_size


@pytest.fixture
def steered():
    """Give the steered arm, and close it."""
    arm = SteeredArm()
    yield arm
    arm.close()


def steps(arm, count):
    """Wait until the controller has taken `count` more steps."""
    done, seen = threading.Event(), []
    measure = arm.controller.resource.measure_state

    def measured():
        seen.append(None)
        if len(seen) > count:
            done.set()
        return measure()

    arm.controller.resource.measure_state = measured
    assert done.wait(60.0)
    del arm.controller.resource.measure_state


def test_a_fixed_pool_has_all_its_threads_from_the_beginning_and_none_at_the_end():
    before = set(threading.enumerate())  # those of earlier tests may end meanwhile
    arm = FixedArm(5)
    assert arm.threads() == 5
    assert len(set(threading.enumerate()) - before) == 5
    arm.close()
    assert not set(threading.enumerate()) - before


def test_the_default_arm_is_pythons_own():
    arm = FixedArm(default_size())
    assert arm.pool._max_workers == default_size()
    arm.close()


def test_the_steered_pool_begins_where_python_would(steered):
    assert steered.threads() == default_size()


def test_the_control_steps_between_begin_and_end_and_its_time_is_counted(steered):
    steered.begin()
    steps(steered, 3)
    assert steered.control_cpu > 0.0
    steered.end()
    taken = steered.controller.steps
    assert taken >= 3
    assert not steered.controller.running
    assert steered.control_cpu == 0.0
    steered.begin()
    steps(steered, 1)
    steered.end()
    assert steered.controller.steps > taken


def test_a_break_does_not_put_the_original_size_back(steered):
    for _ in range(20):  # the loop may take a step between the order and the end
        steered.begin()
        steps(steered, 1)
        steered.controller.resource.apply_control(3)
        steered.end()
        if steered.pool.size == 3:
            break
    assert steered.pool.size == 3
    assert steered.threads() <= default_size()


def test_closing_in_the_middle_of_a_segment_ends_every_thread():
    before = set(threading.enumerate())
    arm = SteeredArm()
    arm.begin()
    arm.pool.submit(int).result()
    arm.close()
    arm.close()
    assert set(threading.enumerate()) <= before


def test_the_stopwatch_stands_still_in_breaks_and_never_goes_back():
    watch = Stopwatch()
    watch.go()
    first = watch()
    watch.halt()
    halted = watch()
    assert first <= halted == watch()
    watch.halt()
    assert watch() == halted
    watch.go()
    assert watch() >= halted
