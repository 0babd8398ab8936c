"""What is found idle, and when it is looked for."""

import pytest
from core.doubles import Clock

from quantum_control.resources.idle_memory import LOOK_SHARE, MOSTLY, IdleMemory
from quantum_control.resources.memory_need import LOOKS

MIB = 1 << 20
ALL = 200 * MIB


class Marks:
    """Marks of a program that touches `hot` bytes; a look costs processor seconds, and is `late`."""

    def __init__(self, clock, hot=60 * MIB, cost=0.0, late=0.0):
        self.clock, self.hot, self.cost, self.late = clock, hot, cost, late
        self.spent = 0.0
        self.marked = ALL
        self.cleared = self.looks = 0
        self.allowed = True

    def forget(self):
        self.cleared += self.allowed
        self.marked = self.hot if self.allowed else self.marked
        return self.allowed

    def read(self):
        self.clock.now += self.late
        self.spent += self.cost
        self.looks += 1
        self.marked = max(self.marked, self.hot)
        return self.marked


@pytest.fixture
def marks():
    return Marks(Clock())


def idle_memory(marks):
    return IdleMemory(marks, marks.clock, lambda: marks.spent)


def steps(idle, marks, count, mapped=ALL, taken=0):
    found = []
    for _ in range(count):
        marks.clock.tick()
        found.append(idle.update(ALL, mapped, taken))
    return found


def test_what_is_not_touched_in_several_intervals_is_idle(marks):
    found = steps(idle_memory(marks), marks, LOOKS + 2)
    assert found[:LOOKS] == [0] * LOOKS
    assert found[LOOKS:] == [140 * MIB] * 2
    assert marks.cleared == 1, "the marks add up as long as there is something to take"


def test_what_is_taken_while_it_cannot_be_told_is_not_idle_afterwards(marks):
    marks.cost = 1.0  # the next look is not due for long
    idle = idle_memory(marks)
    steps(idle, marks, LOOKS + 1)
    assert steps(idle, marks, 1, mapped=0, taken=100 * MIB) == [None]
    assert steps(idle, marks, 1) == [40 * MIB]
    assert marks.looks == 1


def test_where_nothing_is_idle_the_marks_are_cleared_again_and_again(marks):
    marks.hot = ALL
    assert not any(steps(idle_memory(marks), marks, 5 * LOOKS))
    assert marks.cleared == 5


def test_what_falls_idle_later_is_found(marks):
    idle = idle_memory(marks)
    marks.hot = ALL
    steps(idle, marks, 3 * LOOKS)
    marks.hot = 60 * MIB
    assert steps(idle, marks, 2 * LOOKS + 1)[-1] == 140 * MIB


def test_between_looks_what_was_taken_is_no_longer_idle(marks):
    marks.cost = 2.5 * LOOK_SHARE  # of intervals of a second
    found = steps(idle_memory(marks), marks, LOOKS + 3, taken=10 * MIB)
    assert found[LOOKS:] == [140 * MIB, 130 * MIB, 120 * MIB]


def test_looking_takes_a_small_share_of_the_time(marks):
    marks.cost = 10 * LOOK_SHARE
    steps(idle_memory(marks), marks, 100)
    assert 0 < marks.looks * marks.cost < 1.5 * LOOK_SHARE * 100


def test_a_look_that_was_kept_waiting_is_not_a_dear_one(marks):
    marks.late = 0.1
    marks.hot = ALL
    steps(idle_memory(marks), marks, 5 * LOOKS)
    assert marks.cleared == 5


def test_it_cannot_be_told_where_files_are_read_and_not_mapped(marks):
    idle = idle_memory(marks)
    assert set(steps(idle, marks, 2 * LOOKS, mapped=round(0.99 * MOSTLY * ALL))) == {None}


def test_it_cannot_be_told_where_the_marks_may_not_be_cleared(marks):
    marks.allowed = False
    assert set(steps(idle_memory(marks), marks, 2 * LOOKS)) == {None}
