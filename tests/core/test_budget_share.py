"""A member of a budget: kept as somebody wants it, being put back, told of orders, measured amid them."""

import threading

import pytest
from budgeted import Allowance, Pool

from quantum_control.core.budget import Budget
from quantum_control.core.budget_share import ON_ITS_WAY
from quantum_control.core.errors import SafetyError


def test_a_size_that_somebody_keeps_is_not_cut_for_the_others_sake():
    budget = Budget(20)
    a, b, c = Pool(12), Pool(4), Pool(4)
    first, second, third = (budget.share(pool) for pool in (a, b, c))
    first.kept = lambda: True
    second.apply_control(20)
    third.apply_control(20)
    assert (a.size, b.size, c.size) == (12, 4, 4)
    first.kept = lambda: False
    second.apply_control(20)
    assert a.size < 12
    assert b.size > 4


def test_a_size_that_somebody_keeps_is_cut_where_the_sum_would_be_above_the_budget():
    budget = Budget(20)
    a, b = Pool(12), Pool(8)
    first, _ = budget.share(a), budget.share(b)
    first.kept = lambda: True
    a.size = 19
    first.measure_state()
    assert (a.size, b.size) == (12, 8)
    budget.share(Pool(9, min_size=9))
    assert a.size + b.size == 11


def test_who_asks_has_what_he_asks_for_though_his_size_is_kept():
    budget, pool = Budget(20), Pool(12)
    share = budget.share(pool)
    share.kept = lambda: True
    share.apply_control(6)
    assert pool.size == 6
    share.apply_control(9)
    assert pool.size == 9


def test_a_member_that_is_being_put_back_is_left_alone_and_counts_until_it_leaves():
    budget = Budget(20)
    a, b = Pool(12), Pool(8)
    first, second = budget.share(a), budget.share(b)
    first.close()
    second.apply_control(20)
    assert (a.size, b.size) == (12, 8)
    first.leave()
    second.apply_control(20)
    assert (a.size, b.size) == (12, 20)


def test_each_size_that_is_ordered_is_told():
    budget = Budget(20)
    shares, told = [budget.share(Pool(12)), budget.share(Pool(4))], []
    shares[0].tell = told.append
    shares[1].apply_control(20)
    shares[0].apply_control(15)
    assert told == [10, 10]


def test_a_member_whose_measurement_hangs_is_not_cut_amid_it_and_keeps_no_other():
    budget = Budget(20)
    a, b = Pool(18), Pool(2)
    first, second = budget.share(a), budget.share(b)
    amid, go_on = threading.Event(), threading.Event()
    a.in_measuring = lambda: (amid.set(), go_on.wait())
    thread = threading.Thread(target=first.measure_state)
    thread.start()
    amid.wait()
    second.apply_control(20)
    assert (a.size, b.size, a.clashes) == (18, 2, 0)
    go_on.set()
    thread.join()
    second.apply_control(20)
    assert (a.size, b.size) == (10, 10)


def test_who_leaves_has_left_though_the_other_processes_cannot_be_told(caplog):
    allowance = Allowance(20)
    budget, pools = Budget(allowance), [Pool(4), Pool(4)]
    first, second = (budget.share(pool) for pool in pools)

    def claim(wanted, floor, held):
        raise SafetyError("cut off")

    allowance.claim, claimed = claim, allowance.claim
    first.leave()
    assert (budget.held, len(caplog.records)) == (4, 1)
    allowance.claim = claimed
    second.apply_control(20)
    assert pools[1].size == 20


def test_cut_off_from_the_other_processes_a_member_can_shrink_and_not_grow():
    allowance = Allowance(20)
    budget, pool = Budget(allowance), Pool(9)
    share = budget.share(pool)

    def claim(wanted, floor, held):
        raise SafetyError("cut off")

    allowance.claim = claim
    share.apply_control(4)
    assert (pool.size, share.granted) == (4, 4)
    with pytest.raises(SafetyError, match="cut off"):
        share.apply_control(5)


def test_what_somebody_keeps_is_claimed_of_the_other_processes():
    allowance = Allowance(20)
    budget, pool = Budget(allowance), Pool(9)
    share = budget.share(pool)
    share.apply_control(4)
    share.kept = lambda: True
    pool.size = 12
    share.measure_state()
    assert allowance.claims[-1] == (12, 1, 12)


class Slow(Pool):
    """Comes to the size ordered by and by."""

    ordered = 10

    def apply_control(self, new_size):
        self.ordered = new_size


def test_a_growth_that_is_on_its_way_is_not_handed_on():
    budget = Budget(100)
    slow, other = Slow(10), Pool(10)
    mine, theirs = budget.share(slow), budget.share(other)
    mine.apply_control(80)
    for size in (10, 10, 30, 45):
        slow.size = size
        mine.measure_state()
        theirs.apply_control(60)
        assert slow.ordered + other.size <= 100
    assert (slow.ordered, other.size) == (50, 50)


def test_a_growth_that_never_comes_is_given_up():
    budget = Budget(100)
    slow = Slow(10)
    mine = budget.share(slow)
    mine.apply_control(80)
    granted = []
    for _ in range(ON_ITS_WAY + 1):
        mine.measure_state()
        granted.append(mine.granted)
    assert granted == [80] * (ON_ITS_WAY - 1) + [10] * 2


def test_what_a_slow_shrink_gives_up_is_free_as_soon_as_it_is_there():
    budget = Budget(100)
    slow = Slow(80)
    mine = budget.share(slow)
    mine.apply_control(20)
    granted = []
    for size in (80, 40, 20):
        slow.size = size
        mine.measure_state()
        granted.append(mine.granted)
    assert granted == [80, 40, 20]
