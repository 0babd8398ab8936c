"""Who is put out, who is let back in, and that somebody always stays."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum_control.core.ejection import HOLD, LONGEST_HOLD, Ejection, Observation, Standing
from quantum_control.core.errors import ConfigError

WELL = Observation(rate=50.0, ended=50.0, failures=0.0, in_flight=2.0)
FAILING = Observation(rate=50.0, ended=50.0, failures=50.0, in_flight=0.0)
SILENT = Observation(rate=50.0, ended=0.0, failures=0.0, in_flight=50.0)
IDLE = Observation(rate=0.0, ended=0.0, failures=0.0, in_flight=0.0)
DOWN = Observation(rate=0.0, ended=0.0, failures=0.0, in_flight=0.0, up=False)

MU = dict.fromkeys("abcdef", 80.0)


def seen(**others):
    """Six servers, well but for those named."""
    return dict.fromkeys("abcdef", WELL) | others


def watch(ejection, steps, **others):
    for _ in range(steps):
        rulings = ejection.step(seen(**others), 1.0, MU)
    return rulings


def out(rulings):
    return {name for name, ruling in rulings.items() if ruling.standing is Standing.OUT}


def test_a_server_that_fails_is_put_out_in_the_same_interval_and_told_why():
    ejection = Ejection()
    watch(ejection, 5)
    rulings = watch(ejection, 1, c=FAILING)
    assert out(rulings) == {"c"}
    assert "failed" in rulings["c"].reason


def test_a_stalled_server_is_out_after_its_first_silent_interval():
    ejection = Ejection()
    watch(ejection, 5)
    rulings = watch(ejection, 1, c=SILENT)
    assert out(rulings) == {"c"}
    assert "no answer" in rulings["c"].reason


def test_one_slow_request_is_no_stall():
    ejection = Ejection()
    watch(ejection, 5)
    slow = Observation(rate=0.0, ended=0.0, failures=0.0, in_flight=1.0)
    assert not out(watch(ejection, 3, c=slow))


def test_a_request_that_has_just_come_in_is_no_silence():
    ejection = Ejection()
    watch(ejection, 5, c=IDLE)
    late = Observation(rate=2.0, ended=0.0, failures=0.0, in_flight=2.0)
    assert not out(watch(ejection, 1, c=late))


def test_a_failure_now_and_then_is_tolerated():
    ejection = Ejection()
    rare = Observation(rate=50.0, ended=50.0, failures=2.0, in_flight=2.0)
    assert not out(watch(ejection, 50, c=rare))


def test_when_all_fail_alike_nobody_is_put_out():
    ejection = Ejection()
    assert not out(watch(ejection, 20, **dict.fromkeys("abcdef", FAILING)))


def test_no_more_than_the_cap_are_out_those_counted_that_are_down():
    ejection = Ejection(max_out=0.5)
    watch(ejection, 5)
    rulings = watch(ejection, 3, a=DOWN, b=SILENT, c=SILENT, d=SILENT, e=SILENT)
    assert len(out(rulings)) == 2


def test_without_a_cap_allowed_nobody_is_out():
    assert not out(watch(Ejection(max_out=0.0), 10, c=FAILING))


def test_the_last_one_that_is_up_stays():
    ejection = Ejection(max_out=1.0)
    watch(ejection, 3)
    rest = dict.fromkeys("bcdef", DOWN)
    rulings = watch(ejection, 5, a=SILENT, **rest)
    assert not out(rulings)
    assert "no answer" in rulings["a"].reason  # what would put it out, were there another


def test_a_sick_server_is_taken_back_when_nobody_else_is_left():
    ejection = Ejection()
    watch(ejection, 3)
    assert out(watch(ejection, 1, a=SILENT)) == {"a"}
    rulings = watch(ejection, 1, **dict.fromkeys("bcdef", DOWN))
    assert rulings["a"].standing is Standing.IN


def test_it_is_tried_after_its_hold_and_comes_back_when_it_answers():
    ejection = Ejection()
    watch(ejection, 3)
    watch(ejection, 1, c=FAILING)
    assert watch(ejection, HOLD - 1, c=IDLE)["c"].standing is Standing.OUT
    tried = watch(ejection, 1, c=IDLE)["c"]
    assert tried.standing is Standing.TRIAL
    assert "was out" in tried.reason
    answered = Observation(rate=2.0, ended=2.0, failures=0.0, in_flight=0.0)
    assert watch(ejection, 1, c=answered)["c"].standing is Standing.IN


@pytest.mark.parametrize(
    "still_sick",
    [
        Observation(rate=1.0, ended=1.0, failures=1.0, in_flight=0.0),
        Observation(rate=0.0, ended=0.0, failures=0.0, in_flight=1.0),
    ],
)
def test_one_that_fails_its_trial_is_out_twice_as_long_up_to_a_limit(still_sick):
    ejection = Ejection()
    watch(ejection, 3)
    watch(ejection, 1, c=FAILING)
    waits, waited = [], 0
    for _ in range(2000):
        standing = ejection.step(seen(c=still_sick), 1.0, MU)["c"].standing
        if standing is Standing.OUT:
            waited += 1
        elif waited:
            waits.append(waited)
            waited = 0
    assert waits[1] > 1.5 * waits[0]
    assert waits[2] > 1.5 * waits[1]
    assert max(waits) <= LONGEST_HOLD


def test_it_is_not_tried_while_the_balancer_takes_it_for_down():
    ejection = Ejection()
    watch(ejection, 3)
    watch(ejection, 1, c=FAILING)
    assert watch(ejection, 3 * HOLD, c=DOWN)["c"].standing is Standing.OUT
    assert watch(ejection, 1, c=IDLE)["c"].standing is Standing.TRIAL


def held(ejection):
    """Intervals from now on for which "c" is out, if nothing is heard of it."""
    waited = 0
    while watch(ejection, 1, c=IDLE)["c"].standing is Standing.OUT and waited < LONGEST_HOLD:
        waited += 1
    return waited


def test_offences_are_forgotten_after_it_has_been_well_for_long():
    ejection = Ejection()
    watch(ejection, 3)
    watch(ejection, 1, c=FAILING)
    first = held(ejection)
    watch(ejection, 1)
    watch(ejection, 1, c=FAILING)
    assert held(ejection) > 1.5 * first
    watch(ejection, 10 * HOLD)
    watch(ejection, 1, c=FAILING)
    assert held(ejection) == first


@pytest.mark.parametrize("max_out", [-0.1, 1.1, float("nan")])
def test_a_part_that_is_no_part_is_refused(max_out):
    with pytest.raises(ConfigError, match="max_out"):
        Ejection(max_out)


KINDS = st.sampled_from([WELL, FAILING, SILENT, IDLE, DOWN])


@given(st.lists(st.fixed_dictionaries(dict.fromkeys("abcdef", KINDS)), max_size=40), st.floats(0.0, 1.0))
def test_whatever_happens_the_cap_holds_and_somebody_usable_stays_in(course, max_out):
    ejection = Ejection(max_out)
    for observed in course:
        rulings = ejection.step(observed, 1.0, MU)
        assert len(out(rulings)) <= max_out * 6
        if any(one.up for one in observed.values()):
            assert any(rulings[n].standing is Standing.IN and one.up for n, one in observed.items())
