"""Whose a setting is: orders that are not answered, somebody else's values, and beginning anew."""

from __future__ import annotations

from math import inf, nan

import pytest
from core.doubles import Clock
from hypothesis import given
from hypothesis import strategies as st

from quantum_control.core.errors import ActuatorError, ConfigError, SafetyError
from quantum_control.resources.setting_custody import SettingCustody, hands_off_seconds


class Setting:
    """Something that is set, and that may take it without saying so."""

    def __init__(self, value):
        self.value = value
        self.answers = True

    def write(self, value):
        self.value = value
        if not self.answers:
            raise ActuatorError("no answer in time")
        return self.value


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def setting():
    return Setting(10)


@pytest.fixture
def custody(setting, clock):
    return SettingCustody("the limit", setting.value, 60.0, clock)


def test_what_was_ordered_is_ours(custody, setting):
    custody.order(12, setting.write)
    assert not custody.notice(setting.value)
    assert (custody.original, custody.ordered, custody.found_anew) == (10, 12, 0)


def test_what_comes_into_force_is_what_the_write_says(custody):
    custody.order(13, lambda value: value // 4 * 4)
    assert custody.ordered == 12


def test_what_somebody_else_has_set_is_left_alone_a_while_and_put_back_then(custody, setting, clock, caplog):
    custody.order(12, setting.write)
    assert custody.notice(7)
    assert "the limit was changed from 12 to 7 by somebody else; left alone for 60 s" in caplog.text
    assert not custody.notice(7), "the same is not told twice"
    assert (custody.original, custody.ordered, custody.found_anew) == (7, 7, 1)
    clock.tick(45.0)
    assert custody.left_alone == 15.0
    with pytest.raises(
        SafetyError, match="limit was set to 7 by somebody else and is left alone for another 15 s"
    ):
        custody.order(12, setting.write)
    assert setting.value == 12, "nothing was written"
    custody.order(7, setting.write)  # is no other
    clock.tick(15.0)
    custody.order(12, setting.write)
    assert (custody.original, custody.ordered, custody.left_alone) == (7, 12, 0.0)


def test_an_order_whose_answer_was_lost_is_ours_until_one_is_answered(custody, setting):
    setting.answers = False
    for value in (12, 13):
        with pytest.raises(ActuatorError):
            custody.order(value, setting.write)
    assert custody.ordered == 10, "it is not known to be in force"
    assert not custody.notice(12)
    assert not custody.notice(13)
    setting.answers = True
    custody.order(14, setting.write)
    assert custody.notice(13)


def test_what_was_noticed_just_now_is_not_overruled_in_the_same_step(setting, clock):
    custody = SettingCustody("the limit", setting.value, 0.0, clock)
    setting.value = 7
    assert custody.notice(7)
    assert custody.theirs
    with pytest.raises(SafetyError, match="set to 7 by somebody else"):
        custody.order(12, setting.write)
    assert not custody.notice(7)
    assert not custody.theirs
    custody.order(12, setting.write)
    assert (setting.value, custody.original, custody.replaced) == (12, 7, 10)


def test_beginning_anew_lets_go_of_whatever_was_before(custody, setting):
    custody.notice(7)
    custody.begin(20)
    assert not custody.theirs
    assert not custody.notice(20)
    assert (custody.original, custody.ordered, custody.found_anew, custody.left_alone) == (20, 20, 2, 0.0)
    custody.order(12, setting.write)
    assert setting.value == 12


@pytest.mark.parametrize("seconds", [-1.0, inf, nan])
def test_what_is_no_number_of_seconds_is_refused(seconds):
    with pytest.raises(ConfigError, match=f"hands_off={seconds!r}: seconds, 0 or more"):
        hands_off_seconds(seconds)
    with pytest.raises(ConfigError, match="hands_off"):
        SettingCustody("the limit", 10, seconds, Clock())


STEPS = st.tuples(st.sampled_from(["order", "lost", "hand", "look"]), st.integers(1, 4), st.floats(0.0, 50.0))


@given(st.lists(STEPS))
def test_while_somebody_elses_is_left_alone_nothing_else_is_written(course):
    clock, setting = Clock(), Setting(1)
    custody = SettingCustody("the limit", 1, 60.0, clock)
    hand_until = -inf
    for what, value, seconds in course:
        custody.notice(setting.value)
        if what == "hand":
            known = setting.value
            setting.value = value
            if custody.notice(value):
                assert value != known
                hand_until = clock() + 60.0
        elif what != "look":
            setting.answers = what == "order"
            before = setting.value
            try:
                custody.order(value, setting.write)
            except SafetyError:
                assert clock() < hand_until
                assert setting.value == before
            except ActuatorError:
                assert what == "lost"
            else:
                assert value == before or clock() >= hand_until
        clock.tick(seconds)
