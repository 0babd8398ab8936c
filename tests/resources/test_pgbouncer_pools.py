"""What is read from a PgBouncer's pools, and what is done to them; on a console of our own making."""

from __future__ import annotations

import functools
import gc
import subprocess
import sys

import pytest
from forked import held, in_child

pytest.importorskip("psycopg", reason="pip install 'quantum-control[postgres]'")

from resources.fake_console import FakeConsole, table

from quantum_control.core.errors import ActuatorError
from quantum_control.resources import pool_pgbouncer
from quantum_control.resources.connections import ConnectionPoolResource
from quantum_control.resources.libpq import Session

POOLS = ["database", "user", "cl_active", "cl_waiting", "sv_active", "sv_idle", "sv_used", "sv_tested"]
STATS = ["database", "total_xact_count", "total_xact_time", "total_wait_time"]


class Bouncer:
    """A PgBouncer with a default size of 20, whose pools say what they are told to say."""

    def __init__(self):
        self.size = 20
        self.own = {}  # sizes of databases that have one
        self.reserve = 0
        self.pools = {("db", "app"): (0, 0, 0)}  # active, waiting, idle
        self.counted = {}  # transactions, microseconds in them
        self.waited = 0  # microseconds, in each database
        self.asked = []
        self.silent = False
        self.loses_answers = False

    def passes(self, **seconds):
        """So many seconds are worked for each database, in transactions of 10 ms."""
        for database, worked in seconds.items():
            count, time = self.counted.get(database, (0, 0))
            self.counted[database] = (count + round(worked * 100), time + round(worked * 1e6))

    def __call__(self, statement):
        self.asked.append(statement)
        if self.silent:
            return b""
        if statement.startswith("SET default_pool_size = "):
            self.size = int(statement.rpartition(" ")[2])
            if self.loses_answers:
                return b""
        databases = sorted({database for database, _ in self.pools})
        return {
            "SHOW CONFIG": table(["key", "value"], [["default_pool_size", str(self.size)]]),
            "SHOW DATABASES": table(
                ["name", "pool_size", "reserve_pool"],
                [[name, str(self.own.get(name, self.size)), str(self.reserve)] for name in databases],
            ),
            "SHOW POOLS": table(
                POOLS,
                [
                    [database, user, str(active), str(waiting), str(active), str(idle), "0", "0"]
                    for (database, user), (active, waiting, idle) in self.pools.items()
                ],
            ),
            "SHOW STATS": table(
                STATS,
                [[name, *map(str, self.counted.get(name, (0, 0))), str(self.waited)] for name in databases],
            ),
        }.get(statement, table(["done"], []))

    @property
    def reconnects(self):
        return [statement for statement in self.asked if statement.startswith("RECONNECT")]


@pytest.fixture
def bouncer():
    return Bouncer()


@pytest.fixture
def dsn(bouncer, monkeypatch):
    monkeypatch.setattr(pool_pgbouncer, "Session", functools.partial(Session, timeout=0.5))
    console = FakeConsole(bouncer)
    yield console.dsn
    console.close()


@pytest.fixture
def steered(dsn):
    """Makes a resource, and measures it second by second."""
    now = [0.0]

    def make(**options):
        return ConnectionPoolResource(dsn=dsn, clock=lambda: now[0], **options)

    def measure(resource, times=1):
        for _ in range(times):
            now[0] += 1.0
            state = resource.measure_state()
        return state

    make.measure = measure
    return make


def test_a_measurement_asks_each_question_once(bouncer, steered):
    with steered() as resource:
        bouncer.asked.clear()
        steered.measure(resource)
        assert sorted(bouncer.asked) == ["SHOW CONFIG", "SHOW DATABASES", "SHOW POOLS", "SHOW STATS"]


def test_surplus_is_taken_away_once_for_each_size_that_is_set_and_only_where_it_is(bouncer, steered):
    bouncer.pools = {("db", "app"): (15, 0, 0), ("other", "app"): (3, 0, 0)}
    with steered() as resource:
        resource.apply_control(7)
        steered.measure(resource, 12)  # transactions without end hold them all
        assert bouncer.reconnects == ['RECONNECT "db"']
        resource.apply_control(6)
        steered.measure(resource, 12)
        assert bouncer.reconnects == ['RECONNECT "db"'] * 2


def test_a_database_with_a_larger_size_of_its_own_is_no_surplus_and_no_demand(bouncer, steered):
    bouncer.own = {"big": 50}
    bouncer.pools = {("db", "app"): (2, 0, 0), ("big", "app"): (30, 9, 0)}
    with steered() as resource:
        resource.apply_control(7)
        for _ in range(12):
            bouncer.passes(db=2.0, big=30.0)
            state = steered.measure(resource)
        assert bouncer.reconnects == []
        assert state.demand == pytest.approx(2.0)
        assert resource.get_metrics()["pools"] == 1


def test_what_a_reserve_adds_to_the_size_is_no_surplus(bouncer, steered):
    bouncer.reserve = 5
    bouncer.pools = {("db", "app"): (12, 1, 0)}
    with steered() as resource:
        resource.apply_control(7)
        steered.measure(resource, 12)
        assert bouncer.reconnects == []
        bouncer.pools = {("db", "app"): (13, 1, 0)}
        steered.measure(resource, 3)
        assert bouncer.reconnects == ['RECONNECT "db"']


def test_nothing_is_taken_away_below_a_size_that_somebody_else_has_set(bouncer, steered):
    bouncer.pools = {("db", "app"): (15, 0, 0)}
    with steered() as resource:
        resource.apply_control(17)
        bouncer.size = 5
        steered.measure(resource, 12)
        assert bouncer.reconnects == []


def test_of_several_databases_the_fullest_counts(bouncer, steered):
    bouncer.pools = {(name, "app"): (2, 0, 1) for name in "abcd"}
    with steered() as resource:
        bouncer.passes(a=2.0, b=2.0, c=2.0, d=2.0)
        assert steered.measure(resource).demand == pytest.approx(2.0)
        assert resource.get_metrics()["throughput"] == pytest.approx(200.0)
        assert resource.get_metrics()["service_seconds"] == pytest.approx(0.01)
        assert resource.get_metrics()["held"] == 12
        # None is in use at the very moment of the next look.
        bouncer.pools = {(name, "app"): (0, 0, 3) for name in "abcd"}
        bouncer.passes(a=1.0, b=1.0, c=5.0, d=1.0)
        assert steered.measure(resource).demand == pytest.approx(5.0)


def test_a_mean_wait_is_that_of_the_transactions_done_whichever_pool_is_the_fullest(bouncer, steered):
    bouncer.pools = {("a", "app"): (10, 0, 0), ("b", "app"): (0, 0, 1)}
    with steered() as resource:
        bouncer.passes(a=10.0)
        steered.measure(resource)
        bouncer.pools = {("a", "app"): (0, 0, 10), ("b", "app"): (2, 3, 0)}
        bouncer.passes(b=0.05)
        bouncer.waited += 20_000
        steered.measure(resource)
        assert resource.get_metrics()["wait_seconds"] == pytest.approx(0.004)  # 20 ms for 5 of them
        assert resource.get_metrics()["drops"] == 0.0
        assert resource.get_metrics()["queue_depth"] == 3


def test_of_several_users_of_a_database_the_fullest_counts(bouncer, steered):
    bouncer.pools = {("db", name): (2, 0, 1) for name in "abcd"}
    with steered() as resource, steered(user="a") as only:
        bouncer.passes(db=8.0)
        steered.measure(resource)
        bouncer.pools = {
            ("db", name): (active, 0, 0) for name, active in zip("abcd", (1, 1, 5, 1), strict=True)
        }
        steered.measure(resource)
        bouncer.passes(db=8.0)
        assert steered.measure(resource).demand == pytest.approx(5.0)
        assert only.measure_state().demand == pytest.approx(1.0)


def test_a_size_whose_answer_was_lost_is_ours(bouncer, steered, caplog):
    with steered() as resource:
        bouncer.loses_answers = True
        with pytest.raises(ActuatorError, match="no whole answer"):
            resource.apply_control(12)
        bouncer.loses_answers = False
        assert steered.measure(resource).size == 12
        assert resource.get_metrics()["set_by_hand"] == 0.0
        assert "somebody else" not in caplog.text
        resource.apply_control(9)
        assert bouncer.size == 9
    assert bouncer.size == 20


def test_a_release_that_fails_says_so_and_may_be_tried_again(bouncer, steered):
    resource = steered()
    resource.apply_control(7)
    bouncer.silent = True
    with pytest.raises(ActuatorError, match=r"not restored to 20: .*no whole answer"):
        resource.release()
    bouncer.silent = False
    resource.release()
    assert bouncer.size == 20


def test_a_forgotten_resource_gives_the_size_back(bouncer, steered):
    resource = steered()
    resource.apply_control(7)
    del resource
    gc.collect()
    assert bouncer.size == 20


FORGETFUL = """
import atexit, sys, threading
steering = threading.Thread(target=lambda: steer(), daemon=True)
atexit.register(lambda: steering.join(0.5))  # the last to be called, being the first here

from quantum_control import ConnectionPoolResource
resource = ConnectionPoolResource(dsn=sys.argv[1])

def steer():
    while True:
        resource.apply_control(7)
        ordered.set()

ordered = threading.Event()
steering.start()
assert ordered.wait(10)
"""


def test_a_process_that_ends_while_it_steers_gives_the_size_back(bouncer, dsn):
    ended = subprocess.run([sys.executable, "-c", FORGETFUL, dsn], capture_output=True)  # noqa: S603 - our own
    assert ended.returncode == 0
    assert "SET default_pool_size = 7" in bouncer.asked
    assert bouncer.size == 20


def test_a_forked_child_gives_back_what_it_has_ordered_itself_alone(bouncer, steered):
    with steered() as resource:
        resource.apply_control(7)

        def child():
            asked = list(bouncer.asked)
            resource.release()
            assert bouncer.asked == asked

        def taking_over():
            resource.apply_control(8)
            resource.release()

        assert in_child(child) == 0
        assert bouncer.size == 7
        assert in_child(taking_over) == 0
        assert bouncer.size == 20


def test_a_session_of_the_parent_outlives_a_forked_child_that_has_closed_it(dsn):
    session = Session(dsn)
    assert session.query("SHOW CONFIG")
    with held(session._turn):
        assert in_child(session.close) == 0
    opened = session._connection
    assert session.query("SHOW CONFIG")
    assert session._connection is opened
    session.close()
