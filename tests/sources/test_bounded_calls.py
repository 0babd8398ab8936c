"""Calls that are given up when they take too long."""

from __future__ import annotations

import gc
import threading
import time

import pytest

from quantum_control.sources.bounded_calls import BoundedCalls

LONG = 60.0


def nothing():
    pass


def fail():
    raise ValueError("as it was raised")


def test_results_and_errors_come_through_from_one_thread():
    calls = BoundedCalls()
    first = calls.call(threading.get_ident, LONG, late=nothing)
    with pytest.raises(ValueError, match="as it was raised"):
        calls.call(fail, LONG, late=nothing)
    assert calls.call(threading.get_ident, LONG, late=nothing) == first != threading.get_ident()


def test_one_that_hangs_is_left_and_cleared_up_after_while_the_next_goes_on():
    calls, go, cleared = BoundedCalls(), threading.Event(), threading.Event()
    with pytest.raises(TimeoutError):
        calls.call(lambda: go.wait(LONG), 0.01, late=cleared.set)
    assert calls.call(lambda: "next", LONG, late=nothing) == "next"
    assert not cleared.is_set()
    go.set()
    assert cleared.wait(LONG)


def test_a_time_out_of_the_work_itself_clears_nothing_up():
    calls, cleared = BoundedCalls(), threading.Event()

    def slow():
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        calls.call(slow, LONG, late=cleared.set)
    calls.call(nothing, LONG, late=nothing)
    assert not cleared.is_set()


@pytest.mark.parametrize("forget", [False, True])
def test_the_thread_ends_with_it(forget):
    calls = BoundedCalls()
    thread = calls.call(threading.current_thread, LONG, late=nothing)
    if forget:
        del calls
        gc.collect()
    else:
        calls.close()
    thread.join(LONG)
    assert not thread.is_alive()


def test_no_time_left_is_no_answer():
    calls = BoundedCalls()
    with pytest.raises(TimeoutError):
        calls.call(lambda: time.sleep(0.1), -1.0, late=nothing)
