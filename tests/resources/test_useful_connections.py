"""How many connections a server can make use of."""

from __future__ import annotations

from math import inf

import pytest

from quantum_control.resources.useful_connections import UsefulConnections


def seen(cores, *intervals):
    useful = UsefulConnections(cores)
    for busy, competing in intervals:
        useful.observe(busy, competing)
    return useful.limit


def test_while_nothing_competes_there_is_no_limit():
    assert seen(2) == inf
    assert seen(2, (60.0, 0.0)) == inf


@pytest.mark.parametrize("busy", [4.0, 16.0, 64.0])
def test_the_limit_is_the_same_whatever_the_size_it_is_seen_at(busy):
    # Half of those in use compete: of 6 that are, 3 keep two processors busy.
    assert seen(2, (busy, busy / 2.0)) == pytest.approx(6.0)


def test_where_all_compete_it_is_one_more_than_there_are_processors():
    assert seen(8, (40.0, 40.0)) == pytest.approx(9.0)


def test_sessions_of_others_never_press_it_below_that():
    assert seen(2, (3.0, 50.0)) == pytest.approx(3.0)


def test_a_change_of_work_is_followed_within_five_intervals():
    calm = [(10.0, 1.0)] * 50
    assert seen(2, *calm, *[(30.0, 30.0)] * 5) < 4.0
    assert seen(2, *[(30.0, 30.0)] * 50, *[(30.0, 0.0)] * 5) > 15.0


def test_a_server_that_has_become_idle_is_believed_after_two_intervals_not_after_one():
    busy = [(6.0, 6.0)] * 50
    assert seen(2, *busy, (6.0, 0.0)) < 5.0
    assert seen(2, *busy, *[(6.0, 0.0)] * 2) == inf


def test_an_interval_without_any_in_use_says_nothing():
    assert seen(2, *[(6.0, 3.0)] * 50, *[(0.0, 0.0)] * 3) == pytest.approx(6.0)


def test_nothing_is_known_before_the_first_interval():
    useful = UsefulConnections(2)
    assert not useful.known
    useful.observe(1.0, 1.0)
    assert useful.known
