"""The account of a shared budget: the sum holds whatever dies, is late or gets lost."""

from __future__ import annotations

import copy

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from quantum_control.core.errors import ConfigError
from quantum_control.fleet.ledger import FORGOTTEN, LONGEST, Ledger, Member, Standing

LEASE = 10.0
TOTAL = 20


def asks(wanted=1, floor=1, weight=1.0, total=TOTAL):
    return Member(total=total, floor=floor, wanted=wanted, weight=weight, lease=LEASE)


def opened():
    """A ledger that is no longer new."""
    ledger = Ledger()
    ledger.opens = 0.0
    return ledger


class Client:
    """A process as the protocol obliges it to be: it holds what it may, and shrinks when told to."""

    def __init__(self, name, floor, clock):
        self.name, self.floor, self.clock = name, floor, clock
        self.standing = Standing(LEASE)
        self.holds = 0
        self.alive = True
        self.question = None  # sent, and not carried out yet
        self.answer = None  # carried out, and not received yet


class SharedBudget(RuleBasedStateMachine):
    """Clients that ask, die, and hear late or never of what the store did; clocks of their own rates."""

    def __init__(self):
        super().__init__()
        self.ledger = opened()
        self.now = 1000.0
        self.wall = 5.0  # what the store's clock is off by
        self.jumps = -1000.0
        self.clients = []

    def each(self, number):
        alive = [client for client in self.clients if client.alive]
        return alive[number % len(alive)] if alive else None

    def time_of(self, client):
        return self.now * client.clock

    @rule(floor=st.integers(0, 4), clock=st.sampled_from([0.8, 1.0, 1.3]))
    @precondition(lambda self: sum(client.alive for client in self.clients) < 5)
    def join(self, floor, clock):
        self.clients.append(Client(f"c{len(self.clients)}", floor, clock))

    @rule(number=st.integers(0, 4), wanted=st.integers(0, 25), weight=st.sampled_from([0.5, 1.0, 3.0]))
    def ask(self, number, wanted, weight):
        client = self.each(number)
        if client is None:
            return
        client.answer = None  # gave up waiting for it
        now = self.time_of(client)
        client.standing.promise(client.holds, client.floor, now)
        client.question = (asks(wanted, client.floor, weight), client.holds, now)

    @rule(number=st.integers(0, 30))
    @precondition(lambda self: any(client.question for client in self.clients))
    def carry_out(self, number):
        """The store carries out a question, however late, and of the dead too."""
        waiting = [client for client in self.clients if client.question]
        client = waiting[number % len(waiting)]
        (member, held, sent), client.question = client.question, None
        try:
            grant = self.ledger.exchange(client.name, copy.copy(member), held, self.now + self.wall)
        except ConfigError:
            return
        client.answer = (grant, member.floor, sent)

    @rule(number=st.integers(0, 30), lost=st.booleans())
    def receive(self, number, lost):
        waiting = [client for client in self.clients if client.answer and client.alive]
        if not waiting:
            return
        client = waiting[number % len(waiting)]
        answer, client.answer = client.answer, None
        if not lost:
            client.standing.granted(*answer)

    @rule(number=st.integers(0, 4), share=st.floats(0.0, 1.0))
    def use(self, number, share):
        """Grow into what it may hold, or let go of some."""
        client = self.each(number)
        if client is not None:
            client.holds = round(share * client.standing.limit(self.time_of(client)))

    @rule(number=st.integers(0, 4))
    def exchange_at_once(self, number):
        client = self.each(number)
        if client is None:
            return
        self.ask(number, 25, 1.0)
        (member, held, sent), client.question = client.question, None
        try:
            grant = self.ledger.exchange(client.name, member, held, self.now + self.wall)
        except ConfigError:
            return
        client.standing.granted(grant, member.floor, sent)
        client.holds = grant

    @rule(number=st.integers(0, 4))
    def die(self, number):
        client = self.each(number)
        if client is not None:
            client.alive, client.holds = False, 0

    @rule(seconds=st.sampled_from([0.1, 1.0, 2.0, 4.0, 8.0, 30.0, 900.0]))
    def time_passes(self, seconds):
        self.now += seconds
        for client in self.clients:  # who is alive shrinks in time
            if client.alive:
                client.holds = min(client.holds, client.standing.limit(self.time_of(client)))

    @rule(seconds=st.sampled_from([-1e6, -5.0, 3.0, 1e6]))
    def the_stores_clock_is_set(self, seconds):
        if self.now - self.jumps > 2.0 * LEASE:  # one jump a lease, of the two that are allowed for
            self.jumps = self.now
            self.wall += seconds

    @rule()
    def the_store_restarts(self):
        self.ledger = copy.deepcopy(self.ledger)  # nothing that was written is lost
        for client in self.clients:
            client.question = None

    @invariant()
    def the_sum_never_exceeds_the_budget(self):
        assert sum(client.holds for client in self.clients) <= TOTAL
        assert sum(c.standing.limit(self.time_of(c)) for c in self.clients if c.alive) <= TOTAL
        assert sum(member.account for member in self.ledger.members.values()) <= TOTAL


SharedBudget.TestCase.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
test_shared_budget = SharedBudget.TestCase


def test_a_shortage_is_shared_once_the_one_who_has_more_has_let_go():
    ledger = opened()
    assert ledger.exchange("one", asks(30), 0, 0.0) == 20
    assert ledger.exchange("two", asks(30), 0, 0.1) == 0
    assert ledger.exchange("one", asks(30), 20, 0.2) == 10
    assert ledger.exchange("two", asks(30), 0, 0.3) == 0  # the first has not said yet that it let go
    assert ledger.exchange("one", asks(30), 10, 0.4) == 10
    assert ledger.exchange("two", asks(30), 0, 0.5) == 10


def test_the_share_of_who_dies_returns_after_its_lease_and_its_floor_much_later():
    ledger = opened()
    ledger.exchange("dead", asks(12, floor=4), 0, 0.0)
    now = 0.0
    while now < LEASE:
        assert ledger.exchange("alive", asks(30), 8, now) == 8
        now += 1.0
    assert ledger.exchange("alive", asks(30), 8, now + 1.0) == 16
    for _ in range(4 * FORGOTTEN + 4):
        now += LEASE / 4.0
        last = ledger.exchange("alive", asks(30), 16, now)
    assert last == 20


def test_a_clock_that_jumps_costs_nobody_his_lease():
    ledger = opened()
    ledger.exchange("one", asks(10), 0, 0.0)
    assert ledger.exchange("two", asks(30), 0, 1e9) == 10
    assert ledger.exchange("two", asks(30), 10, -1e9) == 10


def test_a_floor_that_does_not_fit_is_refused_and_changes_nothing():
    ledger = opened()
    ledger.exchange("one", asks(15, floor=15), 0, 0.0)
    with pytest.raises(ConfigError, match="a floor of 6 does not fit into a budget of 20, of which 15"):
        ledger.exchange("two", asks(6, floor=6), 0, 0.1)
    assert list(ledger.members) == ["one"]


def test_the_least_total_of_all_counts_until_its_owner_is_gone():
    ledger = opened()
    ledger.exchange("careful", asks(1, total=10), 0, 0.0)
    assert ledger.exchange("one", asks(30), 0, 0.1) == 9
    ledger.leave("careful")
    assert ledger.exchange("one", asks(30), 9, 0.2) == 20


def test_a_new_ledger_gives_newcomers_nothing_at_first_but_leaves_others_what_they_hold():
    ledger = Ledger()
    assert ledger.exchange("old", asks(30), 12, 0.0) == 12
    assert ledger.exchange("new", asks(30), 0, 0.1) == 0
    now = 0.1
    while ledger.time < LONGEST:
        assert ledger.exchange("new", asks(30), 0, now) == 0
        now += 1.0
        ledger.exchange("old", asks(12), 12, now)
    assert ledger.exchange("new", asks(30), 0, now + 0.1) == 8


def test_a_ledger_that_was_lost_gives_nothing_away_that_a_longer_lease_still_covers():
    cut_off = Standing(LONGEST)
    cut_off.granted(15, 0, 0.0)
    ledger, granted = Ledger(), 0
    asked = Member(total=TOTAL, floor=1, wanted=TOTAL, weight=1.0, lease=4.0)
    for now in range(round(LONGEST) + 1):
        granted = ledger.exchange("new", copy.copy(asked), granted, float(now))
        assert granted + cut_off.limit(float(now)) <= TOTAL
    assert granted == TOTAL


def test_a_member_cut_off_keeps_its_share_then_its_floor_then_nothing_and_never_grows():
    standing = Standing(LEASE)
    assert standing.limit(0.0) == 0
    standing.granted(10, 2, 0.0)
    limits = [standing.limit(now) for now in (0.0, 4.9, 5.1, 199.0, 201.0)]
    assert limits == [10, 10, 2, 2, 0]
    standing.promise(10, 2, 6.0)
    assert standing.limit(6.0) == 2


def test_what_is_asked_for_is_given_away_before_the_answer_comes():
    standing = Standing(LEASE)
    standing.granted(10, 2, 0.0)
    standing.promise(4, 2, 1.0)
    assert standing.limit(1.0) == 4
