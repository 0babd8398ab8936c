"""Each link of the safety chain behind the guard: when it holds, and when it lets go."""

from datetime import UTC, datetime
from math import log

import pytest
from doubles import Pool, Pushes, controlled

from quantum_control import ConfigError, ResourceState
from quantum_control.core.chain import HoldOff, Pause
from quantum_control.core.hands import EXACT, REMEMBERED, SEEN, Hands, ReadBack
from quantum_control.core.oscillation import LEAST_GAIN, WINDOW, Oscillation
from quantum_control.core.quiet import QuietHours


def state(time=0.0, size=10.0, forecast=8.0, **more):
    return ResourceState(-0.2, size=size, time=time, forecast=forecast, **more)


# ---- pause and hold-off --------------------------------------------------------------------------


def test_a_pause_holds_until_it_is_lifted():
    pause = Pause()
    assert pause.allow(state(), 10, 12) == (12, "")
    pause.why = "paused"
    assert pause.allow(state(), 10, 12) == (10, "paused")


def test_two_changes_are_apart_by_the_hold_off():
    link = HoldOff(5.0)
    answers = [link.allow(state(time), 10, 12)[0] for time in (0.0, 1.0, 4.9, 5.0, 6.0)]
    assert answers == [12, 10, 10, 12, 10]
    assert link.allow(state(6.0), 10, 10) == (10, "")


def test_a_clock_that_goes_back_does_not_hold_for_ever():
    link = HoldOff(5.0)
    link.allow(state(1e9), 10, 12)
    assert link.allow(state(0.0), 10, 12) == (12, "")


def test_a_controller_says_which_link_held_it():
    pause = Pause()
    pause.why = "paused by hand"
    pool = Pool(10)
    _, step = controlled(pool, Pushes(log(2.0)), links=(pause,))
    assert step().reasons == ("paused by hand",)
    pause.why = ""
    assert step().allowed == 20  # the force has not added up meanwhile


# ---- quiet hours ---------------------------------------------------------------------------------

MONDAY = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("times", "day", "clock", "quiet"),
    [
        ("22:00-06:00", 1, "23:00", True),
        ("22:00-06:00", 1, "05:59", True),
        ("22:00-06:00", 1, "06:00", False),
        ("mon-fri 09:00-17:00", 5, "16:59", True),
        ("mon-fri 09:00-17:00", 6, "12:00", False),
        ("sat,sun", 7, "00:00", True),
        ("fri-mon", 2, "12:00", False),
        ("fri-mon", 1, "12:00", True),
        ("fri 22:00-06:00", 6, "05:00", True),
        ("fri 22:00-06:00", 5, "05:00", False),
        ("00:00-24:00", 3, "23:59", True),
    ],
)
def test_quiet_hours_hold_and_the_rest_of_the_week_does_not(times, day, clock, quiet):
    hours, minutes = map(int, clock.split(":"))
    when = MONDAY.replace(day=day, hour=hours, minute=minutes)
    link = QuietHours([times], now=lambda: when)
    assert link.allow(state(), 10, 12) == ((10, f"quiet hours {times}") if quiet else (12, ""))


@pytest.mark.parametrize(
    "times", ["", "25:00-26:00", "noon", "xxx", "mon-tue-wed", "09:00-09:00", "24:00-06:00"]
)
def test_a_time_that_is_none_is_refused(times):
    with pytest.raises(ConfigError):
        QuietHours([times])


# ---- read-back and hands -------------------------------------------------------------------------


class Deaf(Pool):
    """Accepts every size and keeps the one it has."""

    def apply_control(self, new_size):
        self.applied.append(new_size)


def test_a_resource_that_does_not_take_sizes_is_left_alone_for_a_while():
    pool = Deaf(10)
    _, step = controlled(pool, Pushes(log(2.0)), links=(ReadBack(seconds=60.0),))
    orders, decisions = [], []
    for _ in range(150):
        orders.append(len(pool.applied))
        decisions.append(step())
    assert orders[REMEMBERED] == REMEMBERED
    # Two times a minute of rest, and what is tried before and after.
    assert REMEMBERED < orders[-1] <= 3 * (REMEMBERED + 1)
    assert orders[70] == orders[20]
    assert "steps ago and 10 is in force" in decisions[70].reasons[-1]


def test_a_resource_that_takes_its_time_is_waited_for():
    link = ReadBack(patience=3)
    assert link.allow(state(0.0, size=10.0), 10, 20) == (20, "")
    for time, size in enumerate((10.0, 10.0, 12.0, 14.0, 16.0, 18.0, 20.0)):
        assert link.allow(state(1.0 + time, size=size), 20, 21 + time) == (21 + time, "")


def test_one_that_rounds_is_still_given_what_it_can_take():
    link = ReadBack(patience=3)
    answers = [link.allow(state(float(time), size=96.0), 96, 99)[0] for time in range(6)]
    assert answers == [99] * 4 + [96] * 2
    assert link.allow(state(6.0, size=96.0), 96, 104) == (104, "")
    assert link.allow(state(7.0, size=104.0), 104, 99) == (99, "")
    assert link.allow(state(8.0, size=96.0), 99, 90) == (90, "")


def test_a_budget_that_grants_less_is_no_resource_that_does_not_take_sizes():
    link = ReadBack(patience=3)
    for time in range(20):
        assert link.allow(state(float(time), size=55.0), 55, 90) == (90, "")
        link.ordered(55)


def taken(link, times=EXACT):
    for time in range(times):
        assert link.allow(state(float(time), size=10.0), 10, 10) == (10, "")


def test_a_size_set_by_hand_is_left_alone_until_its_time_is_over():
    link = Hands(60.0)
    taken(link)
    for time in range(SEEN - 1):
        assert link.allow(state(10.0 + time, size=40.0), 10, 11)[0] == 10
        assert link.theirs is None
    held, why = link.allow(state(20.0, size=40.0), 10, 11)
    assert (held, link.theirs) == (10, 40)
    assert why == "size 40 was set by somebody else; left alone for 60 s"
    assert link.allow(state(79.0, size=41.0), 40, 11)[0] == 40
    assert link.theirs == 41
    assert link.allow(state(81.0, size=41.0), 41, 30) == (30, "")
    assert link.theirs is None


def test_what_a_budget_orders_in_place_of_a_wish_is_ours():
    link = Hands(60.0)
    taken(link)
    in_force = 10
    for time, granted in enumerate((55, 55, 40, 40, 40, 70, 70, 70)):
        assert link.allow(state(10.0 + time, size=float(in_force)), 90, 91 + time) == (91 + time, "")
        link.ordered(granted)
        in_force = granted


def test_a_size_set_by_hand_that_a_budget_had_to_cut_is_ours_again():
    link = Hands(60.0)
    taken(link)
    for time in range(SEEN):
        link.allow(state(10.0 + time, size=40.0), 10, 10)
    assert (link.theirs, link.keeps) == (40, True)
    link.ordered(30)
    assert link.allow(state(20.0, size=30.0), 40, 30) == (30, "")
    assert (link.theirs, link.keeps, link.foreign) == (None, False, False)


def test_an_order_that_the_resource_refuses_for_the_hand_does_not_end_its_time():
    link = Hands(60.0)
    taken(link)
    for time in range(SEEN):
        link.allow(state(10.0 + time, size=40.0), 10, 10)
    for time in range(5):
        link.ordered(30)
        assert link.allow(state(20.0 + time, size=40.0), 40, 12)[0] == 40
    assert (link.theirs, link.keeps) == (40, True)


def test_every_order_of_late_is_ours_however_slow_the_resource():
    link = Hands(60.0)
    taken(link)
    for time in range(REMEMBERED - 2):
        assert link.allow(state(10.0 + time, size=10.0), 10 + time, 11 + time)[1] == ""
    for size in range(11, 17):
        assert link.allow(state(30.0, size=float(size)), 20, 20)[1] == ""


def test_a_resource_that_rounds_is_not_taken_for_a_hand():
    link = Hands(60.0)
    for time in range(50):
        size = 10_000 + time
        assert link.allow(state(float(time), size=8192.0 * (1 + time % 2)), size, size + 1)[1] == ""


def test_a_controller_leaves_a_size_that_somebody_sets():
    pool = Pool(10)
    hands = Hands(100.0)
    _, step = controlled(pool, Pushes(0.0, *[0.0] * 5, log(2.0)), links=(hands,))
    for _ in range(6):
        step()
    pool.size = 50
    for _ in range(30):
        step()
    assert hands.theirs == 50
    assert pool.size == 50
    hands.release()
    step()
    assert pool.size == 100  # twice what somebody had set: it goes on from there


def restarted(size):
    """A link in whose time the resource was started anew with a size; the next step is at 10 s."""
    starts = [(0, 0)]
    link = Hands(60.0, lambda: starts[-1])
    taken(link)
    starts.append((1, size))
    return link, starts


def test_the_size_of_what_was_started_anew_is_no_hands():
    link, starts = restarted(size=40)
    for time in range(2 * SEEN):
        assert link.allow(state(10.0 + time, size=40.0), 40, 41)[1] == ""
    starts.append((2, 7))
    for time in range(2 * SEEN):
        assert link.allow(state(20.0 + time, size=7.0), 7, 7) == (7, "")
    assert not link.foreign


@pytest.mark.parametrize("waited", [0, 1, 5])
@pytest.mark.parametrize("wanted", [40, 41])
def test_a_hand_that_comes_shortly_after_a_start_is_respected(waited, wanted):
    link, _ = restarted(size=40)
    for time in range(waited):
        assert link.allow(state(10.0 + time, size=40.0), 40, wanted) == (wanted, "")
    for time in range(SEEN):
        link.allow(state(20.0 + time, size=10.0), 40, wanted)  # by hand, as it was before the start
    assert (link.theirs, link.keeps) == (10, True)


def test_what_somebody_had_set_goes_with_what_has_ended():
    link, starts = restarted(size=10)
    for time in range(SEEN):
        link.allow(state(10.0 + time, size=50.0), 10, 11)
    assert link.theirs == 50
    starts.append((2, 30))
    assert link.allow(state(20.0, size=30.0), 30, 31) == (31, "")
    assert not link.keeps


# ---- oscillation ---------------------------------------------------------------------------------


def chasing(link, steps, gain=1.4, delay=1):
    """Sizes of a law that overdoes every correction, and does not know that it acts late."""
    orders, size, sizes = [10] * (delay + 1), 10, []
    for time in range(steps):
        in_force = orders[-1 - delay]
        wanted = max(1, min(1000, round(size + gain * (100 - in_force))))
        size, _ = link.allow(state(float(time), size=float(in_force), forecast=100.0), size, wanted)
        orders.append(size)
        sizes.append(size)
    return sizes


def test_a_loop_that_chases_its_own_tail_comes_to_rest():
    undamped = chasing(Pause(), 300)
    assert max(undamped[-50:]) - min(undamped[-50:]) > 100
    damped = chasing(Oscillation(), 300)
    assert max(damped[-50:]) - min(damped[-50:]) <= 10
    assert abs(damped[-1] - 100) <= 10


def test_the_gain_comes_back_when_the_cycle_is_over():
    link = Oscillation()
    link.gain = LEAST_GAIN
    for time in range(WINDOW * 8):
        link.allow(state(100.0 + time, size=100.0), 100, 100)
    assert link.gain == 1.0


def test_swings_that_demand_asks_for_are_not_damped():
    link = Oscillation()
    size = 100
    for time in range(200):
        demand = 100 + 60 * (-1) ** (time // 2)
        size, why = link.allow(state(float(time), size=float(size), forecast=demand), size, demand)
        assert why == ""


def test_some_of_a_change_is_always_made():
    link = Oscillation()
    link.gain = LEAST_GAIN
    assert link.allow(state(), 100, 200)[0] == 100 + round(100 * LEAST_GAIN)
