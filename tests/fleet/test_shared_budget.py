"""One process's part of a shared budget, with a store in memory that can be taken away."""

from __future__ import annotations

import pytest

from quantum_control.core.budget import Budget
from quantum_control.core.errors import ActuatorError, ConfigError, SafetyError
from quantum_control.fleet.ledger import FORGOTTEN, LONGEST, Ledger
from quantum_control.fleet.shares import SharedBudget
from quantum_control.fleet.stores import StoreError, read, store_of, written

LEASE = 8.0


class Memory:
    """A store; `gone` takes it away."""

    def __init__(self):
        self.now = 0.0
        self.text = written(Ledger(opens=0.0))
        self.gone = False
        self.updates = 0

    def update(self, change):
        if self.gone:
            raise StoreError("no answer")
        ledger = read(self.text)
        answer = change(ledger, self.now)
        self.text = written(ledger)
        self.updates += 1
        return answer

    def close(self):
        pass

    def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def store():
    return Memory()


def member(store, total=20, lease=LEASE, **options):
    return SharedBudget(store, total, lease=lease, clock=lambda: store.now, sleep=store.sleep, **options)


def test_two_members_share_by_weight(store):
    one, two = member(store), member(store, weight=3.0)
    assert one.claim(2, 1, 0) == 2
    assert two.claim(30, 1, 0) == 18
    assert one.claim(30, 1, 2) == 2
    store.now += 1.5
    assert two.claim(30, 1, 18) == 15
    assert two.claim(29, 1, 15) == 15
    assert one.claim(29, 1, 2) == 5


def test_nothing_is_asked_while_nothing_changes(store):
    one = member(store)
    one.claim(10, 1, 0)
    before = store.updates
    for _ in range(5):
        assert one.claim(10, 1, 10) == 10
    assert store.updates == before
    store.now += 1.5
    one.claim(10, 1, 10)
    assert store.updates == before + 1


def test_without_the_store_the_share_is_kept_then_the_floor_and_nothing_grows(store, caplog):
    one = member(store)
    assert one.claim(10, 2, 0) == 10
    store.gone = True
    store.now += 1.5
    assert one.claim(15, 2, 8) == 8  # what it holds: it has promised not to grow when it asked
    assert len(caplog.records) == 1
    store.now += LEASE
    assert one.claim(15, 2, 8) == 2
    store.now += FORGOTTEN * LEASE
    with pytest.raises(SafetyError, match="take this process for dead"):
        one.claim(15, 2, 2)
    store.gone = False
    assert one.claim(15, 2, 2) == 15


def test_who_holds_nothing_for_the_moment_keeps_its_floor_without_the_store(store):
    one = member(store)
    assert one.claim(10, 2, 0) == 10
    store.gone = True
    store.now += 1.5
    assert one.claim(12, 2, 0) == 2


def test_a_newcomer_waits_until_others_have_given_up_its_floor(store):
    one = member(store)
    one.claim(20, 1, 0)
    held = [20]

    def others_go_on(seconds):
        store.now += seconds
        held[0] = one.claim(20, 1, held[0])

    two = SharedBudget(store, 20, lease=LEASE, clock=lambda: store.now, sleep=others_go_on)
    assert two.claim(10, 5, 0) == 10
    assert held == [10]


def test_a_newcomer_whose_floor_is_not_given_up_leaves_again(store):
    one = member(store)
    one.claim(20, 1, 0)

    def others_hold_on(seconds):
        store.now += seconds
        one.claim(20, 1, 20)

    two = SharedBudget(store, 20, lease=LEASE, clock=lambda: store.now, sleep=others_hold_on)
    with pytest.raises(ActuatorError, match="no share within 23 s"):
        two.claim(10, 5, 0)
    assert list(read(store.text).members) == [one.name]


def test_a_newcomer_that_loses_the_store_while_it_waits_leaves_nothing_behind(store):
    one = member(store)
    one.claim(20, 1, 0)

    def the_store_goes(_):
        store.gone = True

    two = SharedBudget(store, 20, lease=LEASE, clock=lambda: store.now, sleep=the_store_goes)
    with pytest.raises(ActuatorError, match="no answer"):
        two.claim(10, 10, 0)
    store.gone = False
    two.close()
    assert list(read(store.text).members) == [one.name]


def test_the_first_of_a_new_budget_waits_for_the_longest_lease_whatever_its_own_is(store):
    store.text = written(Ledger())
    assert member(store, lease=1.0).claim(10, 1, 0) == 10
    assert store.now == pytest.approx(LONGEST, abs=0.2)


def test_who_leaves_gives_back_at_once(store):
    one, two = member(store), member(store)
    one.claim(15, 1, 0)
    one.close()
    assert two.claim(20, 1, 0) == 20


def test_the_overhead_of_each_member_is_counted(store):
    one = member(store, overhead=1)
    assert one.capacity == 19
    assert one.claim(30, 1, 0) == 19


def test_a_budget_of_several_resources_takes_its_total_from_it(store):
    assert Budget(member(store)).most == 20


def test_a_store_that_was_never_reached_is_an_error(store):
    store.gone = True
    with pytest.raises(ActuatorError, match="no answer"):
        member(store).claim(5, 1, 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"total": 0}, "total"),
        ({"weight": 0.0}, "weight"),
        ({"overhead": 20}, "overhead"),
        ({"lease": 2.0 * LONGEST}, "lease=30.0: seconds, above 0 and at most 15"),
    ],
)
def test_a_budget_that_cannot_be_is_refused(store, options, message):
    with pytest.raises(ConfigError, match=message):
        member(store, **options)


def test_a_ledger_survives_being_written_and_something_else_is_refused(store):
    member(store).claim(5, 1, 0)
    assert written(read(store.text)) == store.text
    with pytest.raises(ConfigError, match="not a budget of this version"):
        read('{"members": 3}')


def test_an_address_says_which_store_it_is():
    assert "Postgres" in repr(store_of("host=127.0.0.1 dbname=shop"))
    assert "Redis" in repr(store_of("redis://127.0.0.1:6379/0"))
