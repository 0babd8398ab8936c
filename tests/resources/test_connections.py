"""What a connection pool's figures mean, whatever the pool."""

from __future__ import annotations

import builtins
from dataclasses import replace
from math import inf

import pytest

from quantum_control.core.errors import ActuatorError, ConfigError, SafetyError
from quantum_control.resources.connections import ConnectionPoolResource
from quantum_control.resources.reading import PoolReading

START = PoolReading(
    time=0.0,
    size=10,
    alive=10,
    busy=0,
    waiting=0,
    submitted=0,
    started=0,
    completed=0,
    failed=0,
    busy_seconds=0.0,
    wait_seconds=0.0,
    service_seconds=0.0,
)


class Pool:
    """A pool of the user's own, which says what it is told to say."""

    def __init__(self, **found):
        self.now = replace(START, **found)
        self.broken = False

    def reading(self):
        return self.now

    def resize(self, size, /):
        if self.broken:
            raise ActuatorError("no")
        self.now = replace(self.now, size=size)

    def passes(self, seconds=1.0, **counted):
        at_once = ("size", "alive", "busy", "waiting")
        changes = {
            name: value if name in at_once else getattr(self.now, name) + value
            for name, value in counted.items()
        }
        self.now = replace(self.now, time=self.now.time + seconds, **changes)


def steered(**found):
    pool = Pool(**found)
    now = [0.0]
    resource = ConnectionPoolResource(pool, clock=lambda: now[0])
    return pool, resource, now


def test_demand_is_what_is_in_use_and_the_work_of_those_who_wait():
    pool, resource, _ = steered()
    # 200 check-outs of 25 ms are 5 connections; 40 in line want 40 x 25 ms = 1 more.
    pool.passes(busy=5, waiting=40, submitted=245, started=205, completed=200, busy_seconds=5.0)
    state = resource.measure_state()
    assert state.demand == pytest.approx(6.0)
    assert state.size == 10


def test_metrics_have_the_names_that_the_controller_knows():
    pool, resource, _ = steered()
    assert resource.get_metrics() == {"set_by_hand": 0.0}
    pool.passes(
        2.0,
        submitted=130,
        started=110,
        completed=104,
        failed=4,
        waiting=10,
        busy_seconds=5.0,
        wait_seconds=11.0,
        service_seconds=5.0,
    )
    resource.measure_state()
    metrics = resource.get_metrics()
    assert metrics["throughput"] == 50.0
    assert metrics["errors"] == 2.0
    assert metrics["drops"] == 5.0  # 130 came, 110 were served, 10 wait
    assert metrics["wait_seconds"] == pytest.approx(0.1)
    assert metrics["service_seconds"] == pytest.approx(0.05)
    assert metrics["busy"] == 2.5
    assert metrics["queue_depth"] == 10


def test_who_was_turned_away_has_asked_for_a_connection_too():
    pool, resource, _ = steered()
    pool.passes(submitted=110, started=100, completed=100, busy_seconds=10.0)
    assert resource.measure_state().demand == pytest.approx(11.0)


def test_two_measurements_at_the_same_instant_do_not_divide_by_zero():
    pool, resource, _ = steered()
    pool.now = replace(pool.now, busy=3)
    assert resource.measure_state().demand == pytest.approx(3.0)


def test_failures_are_no_demand_and_forbid_growing():
    pool, resource, _ = steered()
    pool.passes(busy=2, waiting=90, submitted=200, started=110, completed=110, failed=60, busy_seconds=9.0)
    resource.measure_state()
    pool.passes(busy=4, waiting=90, submitted=110, started=110, completed=110, failed=60, busy_seconds=9.0)
    state = resource.measure_state()
    assert state.demand == pytest.approx(2.0 * 50 / 110)
    with pytest.raises(SafetyError, match="60 of 110 check-outs failed"):
        resource.apply_control(11)
    assert pool.now.size == 10
    resource.apply_control(8)
    assert pool.now.size == 8


def test_the_size_found_may_be_restored_in_the_midst_of_failures():
    pool, resource, _ = steered()
    resource.apply_control(4)
    pool.passes(started=10, submitted=10, completed=10, failed=10)
    resource.measure_state()
    with pytest.raises(SafetyError):
        resource.apply_control(9)
    resource.apply_control(10)
    assert pool.now.size == 10


def loaded(failed):
    """A second of a pool that could use more connections, in which `failed` of 1000 check-outs fail."""
    return {
        "waiting": 10,
        "submitted": 1000,
        "started": 1000,
        "completed": 1000,
        "failed": failed,
        "busy_seconds": 10.0,
    }


def test_a_few_failures_among_many_are_no_storm():
    pool, resource, _ = steered()
    pool.passes(**loaded(10) | {"submitted": 1010})
    assert resource.measure_state().position > 0.0
    resource.apply_control(20)
    assert pool.now.size == 20


@pytest.mark.parametrize("failed", [30, 50, 99])
def test_a_storm_of_less_than_a_tenth_does_not_make_it_grow_either(failed):
    pool, resource, _ = steered()
    for _ in range(60):
        pool.passes(**loaded(0))
        resource.measure_state()
    for _ in range(300):
        pool.passes(**loaded(failed))
        assert resource.measure_state().position <= 0.0
        with pytest.raises(SafetyError, match=rf"{failed} of 1000 check-outs failed, where \d\.\d% is usual"):
            resource.apply_control(11)
    assert pool.now.size == 10


def test_what_fails_as_usual_does_not_keep_a_pool_from_growing_but_more_does():
    pool, resource, _ = steered()
    for _ in range(7200):  # two hours
        pool.passes(**loaded(20))
        resource.measure_state()
    resource.apply_control(11)
    assert pool.now.size == 11
    pool.passes(**loaded(80))
    resource.measure_state()
    with pytest.raises(SafetyError, match=r"80 of 1000 check-outs failed, where 1\.\d% is usual"):
        resource.apply_control(12)


def test_a_tenth_that_fails_is_never_usual():
    pool, resource, _ = steered()
    for _ in range(7200):
        pool.passes(**loaded(100))
        resource.measure_state()
    with pytest.raises(SafetyError, match="100 of 1000"):
        resource.apply_control(11)


def test_a_server_that_stalls_does_not_make_it_grow_until_something_comes_back():
    pool, resource, _ = steered()
    for _ in range(5):
        pool.passes(0.1, busy=5, submitted=20, started=20, completed=20, busy_seconds=0.5)
        resource.measure_state()
    pool.passes(0.1, busy=10, waiting=40, submitted=45, started=5, busy_seconds=1.0)
    assert resource.measure_state().demand <= 10.0
    with pytest.raises(SafetyError, match=r"no connection came back for 0\.1 s, where [0-9.]+ a second"):
        resource.apply_control(20)
    pool.passes(0.1, busy=10, waiting=40, submitted=20, started=20, completed=20, busy_seconds=1.0)
    assert resource.measure_state().demand > 10.0
    resource.apply_control(20)
    assert pool.now.size == 20


def test_transactions_that_have_become_long_are_no_stall_once_their_pace_is_known():
    pool, resource, _ = steered()
    for _ in range(5):
        pool.passes(0.1, busy=5, submitted=20, started=20, completed=20, busy_seconds=0.5)
        resource.measure_state()
    for _ in range(4):  # ten of a minute each
        for _ in range(599):
            pool.passes(0.1, busy=10, waiting=40, busy_seconds=1.0)
            resource.measure_state()
        pool.passes(0.1, busy=10, waiting=40, submitted=10, started=10, completed=10, busy_seconds=1.0)
        resource.measure_state()
    pool.passes(0.1, busy=10, waiting=40, busy_seconds=1.0)
    resource.measure_state()
    resource.apply_control(20)
    assert pool.now.size == 20


def test_a_single_failure_in_a_busy_interval_is_no_storm():
    pool, resource, _ = steered()
    pool.passes(waiting=10, submitted=40, started=30, completed=30, failed=1, busy_seconds=10.0)
    resource.measure_state()
    resource.apply_control(11)
    assert pool.now.size == 11


def test_waiting_for_connections_that_the_server_does_not_give_is_no_demand():
    pool, resource, _ = steered()
    served = {"submitted": 100, "started": 100, "completed": 100, "busy_seconds": 6.0}
    pool.passes(waiting=100, alive=6, **served | {"submitted": 200})
    assert resource.measure_state().position > 0.0  # new ones may be on their way
    pool.passes(0.4, busy=6, waiting=100, alive=6, **served)
    assert resource.measure_state().position > 0.0
    pool.passes(0.7, busy=6, waiting=100, alive=6, **served)
    assert resource.measure_state().demand == pytest.approx(6.0)
    with pytest.raises(SafetyError, match="100 wait while the server gives 6 connections of 10"):
        resource.apply_control(12)


def test_a_pool_whose_connections_are_being_opened_is_not_short_of_them():
    pool, resource, _ = steered()
    pool.passes(waiting=50, submitted=50, alive=2)
    resource.measure_state()
    pool.passes(waiting=50, started=10, submitted=10, completed=10, busy_seconds=4.0, alive=5)
    assert resource.measure_state().position > 0.0
    resource.apply_control(12)


def test_when_nothing_is_served_missing_connections_are_missed_at_once():
    pool, resource, _ = steered()
    pool.passes(0.1, waiting=50, submitted=50, alive=0)
    resource.measure_state()
    pool.passes(0.1, waiting=50, alive=0, busy_seconds=1.0)
    assert resource.measure_state().demand == 0.0
    with pytest.raises(SafetyError, match="50 wait while the server gives 0 connections of 10"):
        resource.apply_control(11)


def test_calm_lifts_the_ban_on_growing():
    pool, resource, _ = steered()
    pool.passes(started=10, submitted=10, completed=10, failed=10)
    resource.measure_state()
    pool.passes(started=10, submitted=10, completed=10)
    resource.measure_state()
    resource.apply_control(12)
    assert pool.now.size == 12


def test_a_size_set_by_somebody_else_is_left_alone_for_a_while(caplog):
    pool, resource, now = steered()
    resource.apply_control(12)
    pool.now = replace(pool.now, size=7)
    with pytest.raises(SafetyError, match="set to 7 by somebody else and is left alone for another 300 s"):
        resource.apply_control(13)
    assert "changed from 12 to 7 by somebody else" in caplog.text
    assert resource.get_metrics()["set_by_hand"] == 1.0
    resource.apply_control(7)  # what is there already may be ordered
    now[0] = 301.0
    assert resource.get_metrics()["set_by_hand"] == 0.0
    resource.apply_control(13)
    assert pool.now.size == 13


def test_falling_back_to_the_original_size_is_a_restart_and_not_a_hand(caplog):
    pool, resource, _ = steered()
    resource.apply_control(12)
    pool.now = replace(pool.now, size=10)
    resource.apply_control(13)
    assert "fell back from 12 to its original size 10" in caplog.text


def test_a_pool_of_one_s_own_is_given_back_by_its_size_whatever_it_calls_release():
    class Lender(Pool):
        def release(self, connection):
            """Take a connection back."""

    pool = Lender()
    with ConnectionPoolResource(pool) as resource:
        resource.apply_control(12)
    assert pool.now.size == 10
    with ConnectionPoolResource(pool) as resource:
        resource.apply_control(12)
        pool.now = replace(pool.now, size=7)  # somebody else's
    assert pool.now.size == 7
    resource.release()
    assert pool.now.size == 7


def test_a_size_that_could_not_be_set_is_not_taken_for_set():
    pool, resource, _ = steered()
    pool.broken = True
    with pytest.raises(ActuatorError):
        resource.apply_control(12)
    pool.broken = False
    resource.apply_control(11)
    assert resource.get_metrics()["set_by_hand"] == 0.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "give either pool= or dsn="),
        ({"pool": Pool(), "dsn": "dbname=pgbouncer"}, "give either pool= or dsn="),
        ({"pool": object()}, "a object cannot be steered"),
        ({"pool": Pool(), "min_connections": 0}, "min_connections=0"),
        ({"pool": Pool(), "max_connections": 2.5}, r"max_connections=2\.5"),
        ({"pool": Pool(), "min_connections": 9, "max_connections": 3}, "swap or widen"),
        ({"pool": Pool(), "hands_off": -1.0}, "hands_off"),
        ({"pool": Pool(), "spare_seconds": inf}, "spare_seconds"),
    ],
)
def test_wrong_parameters_are_refused(arguments, message):
    with pytest.raises(ConfigError, match=message):
        ConnectionPoolResource(**arguments)


@pytest.mark.parametrize("size", [0, -1, 2.0, True])
def test_a_size_that_is_no_positive_whole_number_is_refused(size):
    pool, resource, _ = steered()
    with pytest.raises(ConfigError, match="new_size"):
        resource.apply_control(size)
    assert pool.now.size == 10


def test_a_missing_client_library_is_named_with_the_command_that_installs_it(monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name.partition(".")[0] == "psycopg":
            raise ModuleNotFoundError("No module named 'psycopg'", name="psycopg")
        return real(name, *rest)

    import sys

    for name in [name for name in sys.modules if name.endswith(("pool_pgbouncer", ".libpq"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(
        ConfigError, match=r"psycopg is missing; .* pip install 'quantum-control\[postgres\]'"
    ):
        ConnectionPoolResource(dsn="dbname=pgbouncer")


def test_a_snapshot_of_a_pool_that_ends_with_its_process_is_its_size():
    pool, resource, _ = steered()
    kept = resource.snapshot()
    assert kept == {"size": 10}
    assert not resource.outlives_boot
    resource.apply_control(4)
    resource.restore(kept)
    assert pool.now.size == 10
    resource.apply_control(12)
    assert pool.now.size == 12
