"""What a group is found to need, from what it uses, misses and waits for."""

from itertools import pairwise

import pytest

from quantum_control.resources.memory_need import (
    DEAR,
    FEEL,
    HOLD,
    LARGEST_STEP,
    LEAST_CHANCE,
    LONGEST_HOLD,
    LOOKS,
    NEAR_STEP,
    SAVED,
    SIGN_STALL,
    STALL_ALLOWANCE,
    MemoryNeed,
    MemoryReading,
)

MIB = 1 << 20


class Group:
    """Uses what it is left, misses what it is short of `hot`, and stalls `stall` seconds per byte missed."""

    def __init__(self, usage=200 * MIB, hot=0, stall=0.0, told=False):
        self.usage, self.hot, self.stall, self.told = usage, hot, stall, told
        self.need = MemoryNeed()
        self.stalled = 0.0

    def step(self, floor=0):
        taken = min(self.need.take, self.usage)
        self.usage -= taken
        missed = max(0, self.hot - self.usage)
        self.usage += missed
        self.stalled = self.stall * missed
        idle = max(0, self.usage - self.hot) if self.told else None
        self.need.update(MemoryReading(self.usage, floor, missed, self.stalled, 1.0, idle), taken)
        return taken

    def steps(self, count, **options):
        return [self.step(**options) for _ in range(count)]


def test_it_feels_twice_before_it_takes_more_and_more():
    taken = [each for each in Group().steps(14) if each]
    assert taken[:2] == [FEEL, FEEL]
    assert all(earlier < later for earlier, later in pairwise(taken[1:6]))
    assert max(taken) <= LARGEST_STEP * 200 * MIB


def test_no_more_is_tried_than_could_be_paid_for_at_the_chance_that_it_is_missed():
    group = Group()
    tries = 0
    for second in range(1, 31):
        taken = group.step()
        assert taken * DEAR * max(LEAST_CHANCE, 1.0 / (tries + 2)) <= 1.001 * STALL_ALLOWANCE * second
        tries += taken > 0


def test_what_was_never_missed_is_taken_within_seconds():
    group = Group(hot=60 * MIB, stall=DEAR)
    group.steps(40)
    assert group.usage < 80 * MIB


def test_what_is_not_needed_is_taken():
    group = Group(hot=60 * MIB, stall=1e-12)
    group.steps(100)
    assert group.usage < 80 * MIB


def test_never_below_the_floor():
    group = Group()
    group.steps(200, floor=50 * MIB)
    assert group.need.need >= 50 * MIB


def test_nothing_is_taken_before_it_is_known():
    assert not any(Group().steps(HOLD))


def test_at_a_sign_more_than_all_that_was_used_is_given_back():
    group = Group(hot=60 * MIB)
    group.steps(60)
    group.hot = 200 * MIB
    group.step()
    assert group.need.need > 200 * MIB
    assert group.need.take == 0


def test_pages_read_again_are_a_sign_without_any_stall():
    group = Group(hot=200 * MIB)
    group.steps(40)
    assert group.usage == 200 * MIB
    assert sum(bool(each) for each in group.steps(60)) < 15


def test_a_long_stall_is_a_sign_without_pages_read_again():
    need = MemoryNeed()
    for _ in range(HOLD + 4):
        need.update(MemoryReading(200 * MIB, 0, 0, 0.0, 1.0), need.take)
    assert need.take
    need.update(MemoryReading(200 * MIB, 0, 0, 2 * SIGN_STALL, 1.0), need.take)
    assert need.take == 0
    assert need.need > 200 * MIB


def test_what_is_lost_to_trying_keeps_within_the_allowance():
    group = Group(hot=200 * MIB, stall=2e-8)  # four times as dear as it is taken to be
    total = 0.0
    for _ in range(2000):
        group.step()
        total += group.stalled
    assert 0.0 < total < 1.5 * STALL_ALLOWANCE * 2000


def test_the_pause_grows_where_it_was_too_little_before():
    group = Group(hot=200 * MIB)
    tries = [index for index, taken in enumerate(group.steps(400)) if taken]
    pauses = [after - before for before, after in pairwise(tries)]
    assert LONGEST_HOLD <= max(pauses) <= LONGEST_HOLD + 3


def test_near_the_place_where_it_was_too_little_steps_are_small():
    group = Group(hot=190 * MIB)
    group.steps(60)  # has been there
    assert all(taken <= max(FEEL, NEAR_STEP * 205 * MIB) for taken in group.steps(60))


def test_a_need_that_has_shrunk_is_found_again():
    group = Group(hot=200 * MIB)
    group.steps(60)
    group.hot = 60 * MIB
    group.steps(100)
    assert group.usage < 90 * MIB


def test_what_is_read_again_is_paid_for_where_the_kernel_does_not_call_it_a_stall():
    def waits_after(**figures):
        group = Group(hot=60 * MIB, told=True)
        group.steps(40)
        group.need.update(MemoryReading(200 * MIB, 0, 140 * MIB, 0.0, 1.0, 0, **figures), 0)
        readings = (MemoryReading(200 * MIB, 0, 0, 0.0, 1.0, 140 * MIB) for _ in range(60))
        return next(
            wait for wait, each in enumerate(readings) if group.need.update(each, 0) and group.need.take
        )

    assert waits_after(disk=0.3) > waits_after() + 5


def test_a_disk_that_is_waited_for_anyway_costs_nothing():
    need = MemoryNeed()
    for _ in range(HOLD + 2):
        need.update(MemoryReading(200 * MIB, 0, 0, 0.0, 1.0, 140 * MIB, disk=0.9), 0)
    assert need.take > 0


def test_what_is_known_to_be_idle_is_taken_at_once_and_nothing_else_is():
    group = Group(hot=60 * MIB, stall=DEAR, told=True)
    group.steps(HOLD + 20)
    assert group.usage == pytest.approx(60 * MIB, abs=FEEL)
    assert group.stalled == 0.0
    group.hot = group.usage
    assert not any(group.steps(100))


def test_no_more_idle_memory_is_taken_than_could_be_paid_for():
    group = Group(usage=2000 * MIB, told=True)
    tries = 0
    for second in range(1, 31):
        taken = group.step()
        chance = max(LEAST_CHANCE, 1.0 / (LOOKS + tries + 2))
        assert taken * DEAR * chance <= 1.001 * STALL_ALLOWANCE * second
        tries += taken > 0
    assert tries > 20


def test_the_stall_of_a_few_pages_is_not_taken_for_the_price_of_every_byte():
    group = Group(hot=200 * MIB, stall=40 * DEAR)  # at that price, FEEL costs more than can be saved up
    assert FEEL * 40 * DEAR > STALL_ALLOWANCE * SAVED
    assert sum(bool(each) for each in group.steps(200)) > 4


@pytest.mark.parametrize("seconds", [0.0, 0.25, 60.0])
def test_any_length_of_an_interval_will_do(seconds):
    need = MemoryNeed()
    for _ in range(20):
        assert need.update(MemoryReading(MIB, 0, 0, 0.0, seconds), need.take) > 0
