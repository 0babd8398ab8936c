"""What is concluded on the number of workers from which there are."""

from __future__ import annotations

from quantum_control.resources.gunicorn_setting import LEFT, SETTLED, Seen, Setting


def workers(*pids, serves=True, busy=False, beat=0.0):
    return [Seen(pid, serves, busy, beat) for pid in pids]


class Course:
    """A setting and a clock that both begin at nought."""

    def __init__(self, *pids):
        self.setting = Setting(workers(*pids))
        self.now = 0.0

    def see(self, there, after=0.1):
        self.now += after
        return self.setting.observe(there, self.now, 1000.0 + self.now)

    def order(self, number):
        while self.setting.number != number:
            self.setting.step(1 if number > self.setting.number else -1, 1000.0 + self.now)


def test_it_is_what_was_found():
    course = Course(1, 2, 3)
    assert (course.setting.number, course.setting.in_force, course.setting.leaving) == (3, 3, 0)
    assert not course.see(workers(1, 2, 3))
    assert not course.setting.doubtful


def test_a_growth_is_in_force_as_far_as_it_serves():
    course = Course(1, 2)
    course.order(5)
    course.see(workers(1, 2) + workers(3, 4, 5, serves=False))
    assert course.setting.in_force == 2
    course.see(workers(1, 2, 3) + workers(4, 5, serves=False))
    assert course.setting.in_force == 3
    course.see(workers(1, 2, 3, 4, 5))
    assert course.setting.in_force == 5


def test_a_replacement_counts_before_it_serves():
    course = Course(1, 2, 3)
    course.see(workers(1, 2))
    assert course.setting.in_force == 3
    course.see(workers(1, 2) + workers(4, serves=False))
    assert (course.setting.in_force, course.setting.doubtful) == (3, False)


def test_a_shrink_is_in_force_at_once_and_the_oldest_leave():
    course = Course(1, 2, 3, 4)
    course.order(2)
    assert [each.pid for each in course.setting.staying] == [3, 4]
    assert (course.setting.in_force, course.setting.leaving) == (2, 2)
    assert not course.see(workers(1, 2, 3, 4), after=100.0)
    course.see(workers(2, 3, 4))
    assert (course.setting.leaving, course.setting.doubtful) == (1, False)


def test_growing_again_waits_for_those_that_leave():
    course = Course(1, 2, 3)
    course.order(1)
    course.order(3)
    assert not course.see(workers(1, 2, 3), after=100.0)
    assert not course.setting.doubtful
    course.see(workers(3, 4, 5))
    assert (course.setting.in_force, course.setting.leaving) == (3, 0)


def test_fewer_than_set_are_somebody_elses_doing_once_that_lasts():
    course = Course(1, 2, 3)
    assert not course.see(workers(1, 2))
    assert course.setting.doubtful
    assert course.setting.number == 3
    assert course.see(workers(1, 2), after=SETTLED)
    assert (course.setting.number, course.setting.doubtful) == (2, False)


def test_a_number_that_still_changes_is_not_believed():
    course = Course(1, 2, 3)
    for number in range(10):
        assert not course.see(workers(1, 2) if number % 2 else workers(2), after=SETTLED)


def test_one_more_is_somebody_elses_doing_if_the_others_go_on():
    course = Course(1, 2)
    assert not course.see(workers(1, 2, 3))
    assert not course.see(workers(1, 2, 3), after=SETTLED)  # 1 may have just ended its last request
    assert course.see(workers(1, 2, 3), after=LEFT)
    assert course.setting.number == 3


def test_more_that_replace_busy_ones_may_be_a_reload():
    course = Course(1, 2, 3, 4)
    there = workers(1, 2, 3, 4, busy=True, beat=999.0) + workers(5, 6)
    for _ in range(50):
        assert not course.see(there, after=SETTLED)
    assert course.setting.doubtful
    assert not course.see(workers(5, 6))
    assert course.see(workers(5, 6), after=SETTLED)
    assert course.setting.number == 2


def test_busy_ones_that_have_begun_another_request_are_not_being_replaced():
    course = Course(1, 2)
    course.see(workers(1, 2, 3, busy=True, beat=999.0))
    busy = workers(1, busy=True, beat=999.0) + workers(2, 3, busy=True, beat=1000.0 + course.now + 1.0)
    assert not course.see(busy, after=SETTLED)
    assert course.see(busy, after=LEFT)
    assert course.setting.number == 3


def test_one_that_was_to_leave_and_begins_anew_has_not_been_told():
    course = Course(1, 2, 3)
    course.order(2)
    assert not course.see(workers(1, 2, 3, busy=True, beat=1000.0), after=SETTLED)
    assert course.setting.leaving == 1
    anew = workers(1, 2, 3, busy=True, beat=1000.0 + course.now)
    assert not course.see(anew)
    assert (course.setting.leaving, course.setting.doubtful) == (0, True)
    for _ in range(4):
        course.see(workers(1, 2, 3, busy=True, beat=1001.0 + course.now), after=SETTLED)
    assert (course.setting.number, course.setting.doubtful) == (3, False)


def test_nobody_who_is_to_leave_waits_for_work():
    course = Course(1, 2, 3)
    course.order(1)
    course.see(workers(1, 2, busy=True) + workers(3))
    assert course.setting.kept
    course.see(workers(1, busy=True) + workers(2, 3))
    assert not course.setting.kept
    course.setting.recount()
    assert (course.setting.number, course.setting.leaving) == (2, 1)
