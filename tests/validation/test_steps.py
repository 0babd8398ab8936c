"""Steps in blocks, and the time of what is stepped."""

from __future__ import annotations

import threading
import time

import pytest

from quantum_control.validation.beds.steps import Steps

INTERVAL = 0.001
LONG = 60.0


def until_stepped(steps, often):
    """Take steps until there were so many."""
    done = threading.Event()
    times = []

    def step():
        times.append(steps.clock())
        if len(times) == often:
            done.set()

    steps.step = step
    now = time.monotonic()
    with steps.between(now, now + LONG):
        assert done.wait(LONG)
    return times


def test_steps_are_taken_and_counted_and_their_processor_time_with_them():
    steps = Steps(INTERVAL)
    times = until_stepped(steps, 3)
    assert steps.taken == len(times) >= 3
    assert steps.cpu > 0.0


def test_time_stands_still_between_two_blocks_and_goes_on_from_there():
    steps = Steps(INTERVAL)
    first = until_stepped(steps, 2)
    stood = steps.clock()
    assert first[-1] <= stood == steps.clock()
    again = until_stepped(steps, 2)
    assert stood <= again[0]
    assert steps.clock() - stood < LONG


def test_no_step_is_due_after_the_end():
    steps = Steps(LONG)
    now = time.monotonic()
    with steps.between(now, now):
        pass
    assert steps.taken == 0


def test_a_block_that_is_over_before_its_load_begins_takes_no_time():
    steps = Steps(INTERVAL)
    before = steps.clock()
    now = time.monotonic()
    with steps.between(now + LONG, now + 2.0 * LONG):
        pass
    assert steps.taken == 0
    assert steps.clock() == before


def test_what_a_step_raises_is_raised_at_the_end_of_its_block_and_no_later():
    steps = Steps(INTERVAL)
    failed = threading.Event()

    def fail():
        failed.set()
        raise ValueError("the part is broken")

    steps.step = fail
    now = time.monotonic()
    with pytest.raises(ValueError, match="broken"), steps.between(now, now + LONG):
        assert failed.wait(LONG)
    until_stepped(steps, 1)
