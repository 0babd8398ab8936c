"""A budget that several resources share."""

from __future__ import annotations

import random
import threading
import time

import pytest
from budgeted import Allowance, Pool
from hypothesis import given
from hypothesis import strategies as st

from quantum_control.core.budget import Budget
from quantum_control.core.controller import QuantumController
from quantum_control.core.errors import ActuatorError, ConfigError, SafetyError
from quantum_control.core.waterfilling import water_fill

members = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 9), st.floats(0.01, 100.0)), min_size=1, max_size=6
)


# ---- sharing -------------------------------------------------------------------------------------


@given(members, st.integers(0, 120))
def test_shares_never_exceed_the_capacity_and_keep_to_floors_and_wants(rows, extra):
    wants, floors, weights = (list(column) for column in zip(*rows, strict=True))
    capacity = sum(floors) + extra
    shares = water_fill(capacity, wants, floors, weights)
    assert sum(shares) <= capacity
    for share, want, floor in zip(shares, wants, floors, strict=True):
        assert floor <= share <= max(want, floor)
    # Nothing is left lying while somebody wants it.
    assert sum(shares) == min(capacity, sum(map(max, wants, floors)))


@given(members, st.integers(0, 120))
def test_in_a_shortage_nobody_below_his_want_has_less_than_his_weights_part_of_anothers(rows, extra):
    wants, floors, weights = (list(column) for column in zip(*rows, strict=True))
    shares = water_fill(sum(floors) + extra, wants, floors, weights)
    for i, mine in enumerate(shares):
        for j, theirs in enumerate(shares):
            if mine < wants[i] and theirs > floors[j]:
                # Whole units: one of rounding on either side.
                assert (mine + 1) / weights[i] >= (theirs - 1) / weights[j] - 1e-6


@pytest.mark.parametrize(
    ("capacity", "wants", "floors", "weights", "shares"),
    [
        (10, [3, 4], [1, 1], [1, 1], [3, 4]),
        (10, [20, 20], [1, 1], [1, 1], [5, 5]),
        (10, [2, 20, 20], [1, 1, 1], [1, 1, 1], [2, 4, 4]),
        (12, [20, 20], [1, 1], [2, 1], [8, 4]),
        (10, [20, 20], [8, 1], [1, 1], [8, 2]),
        (9, [20, 20], [0, 0], [1, 1], [5, 4]),
        (5, [0, 20], [2, 2], [1, 1], [2, 3]),
    ],
)
def test_water_filling_by_hand(capacity, wants, floors, weights, shares):
    assert water_fill(capacity, wants, floors, weights) == shares


def test_floors_above_the_capacity_are_refused():
    with pytest.raises(ConfigError, match="a capacity of 4 cannot hold floors that add up to 6"):
        water_fill(4, [3, 3], [3, 3], [1, 1])


# ---- the budget ----------------------------------------------------------------------------------


def test_the_reserve_is_left_to_others():
    budget = Budget(20, reserve=5)
    pool = Pool()
    budget.share(pool).apply_control(100)
    assert pool.size == budget.held == 15


def test_sizes_found_are_cut_when_they_do_not_fit_in():
    budget, pools = Budget(12), [Pool(10), Pool(10), Pool(10)]
    for pool in pools:
        budget.share(pool)
    assert [pool.size for pool in pools] == [4, 4, 4]


def test_a_shortage_is_shared_by_weight_and_what_one_does_not_need_goes_to_the_others():
    budget = Budget(30)
    a, b = Pool(1), Pool(1)
    first, second = budget.share(a, weight=2.0), budget.share(b)
    first.apply_control(100)
    assert (a.size, b.size) == (29, 1)
    second.apply_control(100)
    assert (a.size, b.size) == (20, 10)
    first.apply_control(5)
    second.apply_control(100)
    assert (a.size, b.size) == (5, 25)


def test_what_a_shrink_has_not_given_up_yet_is_not_handed_on():
    budget = Budget(20)
    a, b = Pool(18), Pool(2)
    first, second = budget.share(a), budget.share(b)
    a.held = 18
    first.measure_state()
    second.apply_control(20)
    assert (a.size, b.size) == (10, 2)  # told to shrink; the connections are in use still
    a.held = 12
    first.measure_state()
    second.apply_control(20)
    assert b.size == 8
    a.held = 10
    first.measure_state()
    second.apply_control(20)
    assert b.size == 10


def test_what_is_open_still_when_a_member_joins_is_not_handed_on_either():
    budget = Budget(20)
    a, b = Pool(18), Pool(2)
    a.held = 18
    budget.share(a)
    second = budget.share(b)
    second.apply_control(20)  # cuts the first before it was ever measured by its controller
    assert (a.size, b.size) == (10, 2)


def test_a_member_that_cannot_be_cut_costs_the_other_his_growth_and_not_the_sum():
    budget = Budget(20)
    a, b = Pool(18), Pool(2)
    budget.share(a)
    second = budget.share(b)
    a.stuck = True
    second.apply_control(20)
    assert (a.size, b.size) == (18, 2)


def test_a_size_raised_by_somebody_else_is_cut_back():
    budget = Budget(20)
    a, b = Pool(10), Pool(10)
    first = budget.share(a)
    budget.share(b)
    a.size = 15
    first.measure_state()
    assert a.size == 10


def test_a_failed_growth_leaves_everything_as_it_was():
    budget = Budget(20)
    pool = Pool(5)
    share = budget.share(pool)
    pool.stuck = True
    with pytest.raises(ActuatorError):
        share.apply_control(9)
    assert pool.size == budget.held == 5


def test_who_leaves_makes_room_and_gets_nothing_more():
    budget = Budget(20)
    a, b = Pool(10), Pool(10)
    first, second = budget.share(a), budget.share(b)
    budget.leave(first)
    with pytest.raises(SafetyError, match="has left its budget"):
        first.apply_control(11)
    second.apply_control(20)
    assert b.size == 20


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Budget(10, reserve=10), "leaves nothing to share"),
        (lambda: Budget(-1), "total=-1"),
        (lambda: Budget(10, reserve=1.5), r"reserve=1\.5"),
        (lambda: Budget(10).share(Pool(), weight=0.0), r"weight=0\.0"),
        (lambda: Budget(3).share(Pool(min_size=4)), "cannot hold floors"),
    ],
)
def test_wrong_parameters_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_a_resource_takes_part_once():
    budget, pool = Budget(30), Pool()
    budget.share(pool)
    with pytest.raises(ConfigError, match="takes part in this budget already"):
        budget.share(pool)


def test_controllers_on_many_threads_never_pass_the_budget():
    budget = Budget(40, reserve=4)
    pools = [Pool(4) for _ in range(4)]
    for pool in pools:
        pool.in_measuring = lambda: time.sleep(0.0)  # lets another thread run, which may cut this one
    shares = [budget.share(pool, weight=1.0 + index) for index, pool in enumerate(pools)]
    sums: list[int] = []

    def ask(share, seed):
        rng = random.Random(seed)
        for _ in range(300):
            share.apply_control(rng.randint(1, 40))
            share.measure_state()
            share.get_metrics()
            sums.append(sum(pool.size for pool in pools))

    threads = [threading.Thread(target=ask, args=(share, seed)) for seed, share in enumerate(shares)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # A grant is preceded by the cuts that make room for it, so that no moment shows more.
    assert max(sums) <= 36
    assert [pool.clashes for pool in pools] == [0] * 4


def test_shares_follow_need_when_controllers_steer():
    budget = Budget(40)
    pools = [Pool(10, max_size=100) for _ in range(2)]
    shares = [budget.share(pool) for pool in pools]
    now = [0.0]
    controllers = [QuantumController(share, clock=lambda: now[0]) for share in shares]

    def run(demands):
        for pool, demand in zip(pools, demands, strict=True):
            pool.demand = demand
        for _ in range(40):
            now[0] += 1.0
            for controller in controllers:
                controller.optimize()
            assert budget.held <= 40

    run((25.0, 2.0))
    assert pools[0].size >= 25
    run((2.0, 25.0))
    assert pools[1].size >= 25
    run((60.0, 60.0))
    assert abs(pools[0].size - pools[1].size) <= 1


# ---- with other processes ------------------------------------------------------------------------


def test_what_others_leave_is_what_the_members_may_hold():
    allowance = Allowance(20)
    budget, pools = Budget(allowance), [Pool(4), Pool(4)]
    first = [budget.share(pool) for pool in pools][0]  # noqa: RUF015 - both are to join
    assert first.max_size == 20
    first.apply_control(14)
    assert [pool.size for pool in pools] == [14, 4]
    assert allowance.claims[-1] == (18, 2, 8)
    allowance.left = 10
    first.measure_state()
    assert [pool.size for pool in pools] == [6, 4]
    assert allowance.claims[-1] == (18, 2, 18)


def test_who_does_not_fit_in_with_other_processes_does_not_take_part_and_the_last_gives_everything_back():
    allowance = Allowance(8)
    budget, pool = Budget(allowance), Pool(4)
    share = budget.share(pool)
    with pytest.raises(ConfigError, match="does not fit in"):
        budget.share(Pool(9, min_size=9))
    assert budget.held == 4
    assert not allowance.closed
    budget.leave(share)
    assert allowance.closed


def test_an_allowance_has_a_reserve_of_its_own():
    with pytest.raises(ConfigError, match="give it there"):
        Budget(Allowance(8), reserve=2)


def test_what_a_member_would_hold_for_a_while_without_use_is_left_to_the_others():
    pool = Pool()
    pool.spare_seconds = 10.0
    Budget(50).share(pool)
    assert pool.spare_seconds == 0.0


# ---- a size that several pools have each ---------------------------------------------------------


def test_a_size_that_three_pools_have_each_counts_three_times():
    budget = Budget(30)
    three, one = Pool(2), Pool(4)
    three.pools = 3
    shares = [budget.share(three), budget.share(one)]
    assert budget.held == 10
    shares[0].apply_control(50)
    shares[1].apply_control(50)
    assert three.size * 3 + one.size <= 30
    assert (three.size, one.size) == (5, 15)


def test_a_pool_that_appears_is_counted_and_the_size_cut():
    budget = Budget(20)
    several, other = Pool(10), Pool(10)
    shares = [budget.share(several), budget.share(other)]
    several.pools = 2
    shares[0].measure_state()
    assert several.size == 5
    assert budget.held <= 20


def test_more_pools_than_fit_in_are_kept_at_their_least_and_told(caplog):
    budget = Budget(6)
    several = Pool(6, min_size=2)
    share = budget.share(several)
    several.pools = 4
    share.measure_state()
    assert several.size == 2
    assert "cannot hold floors that add up to 8" in caplog.text
    with pytest.raises(ConfigError, match="cannot hold floors"):
        share.apply_control(3)
    assert several.size == 2
