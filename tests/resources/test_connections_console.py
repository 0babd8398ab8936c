"""What a session with an admin console does with answers that no sound server gives."""

from __future__ import annotations

import functools
import os
import resource as limits
import selectors
import threading

import pytest

pytest.importorskip("psycopg_pool", reason="pip install 'quantum-control[postgres]'")

from psycopg_pool import ConnectionPool
from resources.fake_console import FakeConsole, table

from quantum_control.core.errors import ActuatorError, ConfigError, SensorError
from quantum_control.resources import pool_pgbouncer, pool_psycopg
from quantum_control.resources.connections import ConnectionPoolResource
from quantum_control.resources.libpq import Session, SessionError
from quantum_control.resources.server_postgres import PostgresServer

POOLS = ["database", "user", "cl_active", "cl_waiting", "sv_active", "sv_idle", "sv_used", "sv_tested"]
STATS = ["database", "total_xact_count", "total_xact_time", "total_wait_time"]
SECRET = "not-to-be-seen"  # noqa: S105 - the point of a test


class Answers:
    """A PgBouncer of 20 connections that takes every size, unless told otherwise."""

    def __init__(self, **instead: bytes) -> None:
        self.size = 20
        self.instead = {name.replace("_", " "): answer for name, answer in instead.items()}

    def __call__(self, statement: str) -> bytes:
        if statement in self.instead:
            return self.instead[statement]
        if statement.startswith("SET default_pool_size = "):
            self.size = int(statement.rpartition(" ")[2])
        return {
            "SHOW CONFIG": table(["key", "value"], [["default_pool_size", str(self.size)]]),
            "SHOW DATABASES": table(["name", "pool_size"], [["db", str(self.size)]]),
            "SHOW POOLS": table(POOLS, [["db", "app", "5", "0", "5", "1", "0", "0"]]),
            "SHOW STATS": table(STATS, [["db", "100", "1000000", "0"]]),
            "SHOW VERSION": table(["version"], [["PgBouncer 9.9.9"]]),
        }.get(statement, table(["done"], []))


@pytest.fixture
def console(monkeypatch):
    monkeypatch.setattr(pool_pgbouncer, "Session", functools.partial(Session, timeout=1.0))
    consoles = []

    def start(answer):
        consoles.append(FakeConsole(answer))
        return consoles[-1]

    yield start
    for each in consoles:
        each.close()


def test_the_fake_is_steered_like_a_real_one(console):
    answers = Answers()
    with ConnectionPoolResource(dsn=console(answers).dsn) as resource:
        resource.apply_control(7)
        assert answers.size == 7
        assert resource.measure_state().size == 7


@pytest.mark.parametrize("cut", [1, 40, -10])
def test_a_half_written_answer_is_an_error_in_bounded_time_and_the_next_is_whole_again(console, cut):
    answers = Answers()
    with ConnectionPoolResource(dsn=console(answers).dsn) as resource:
        answers.instead["SHOW POOLS"] = answers("SHOW POOLS")[:cut]
        with pytest.raises(SensorError, match=r"no whole answer within 1 s"):
            resource.measure_state()
        answers.instead.clear()
        assert resource.measure_state().size == 20


def test_an_answer_without_the_known_columns_names_them_and_the_version(console):
    answers = Answers(SHOW_STATS=table(["database", "requests"], [["db", "1"]]))
    with pytest.raises(SensorError, match=r"no total_xact_count, .* PgBouncer 9\.9\.9; 1\.8 to"):
        ConnectionPoolResource(dsn=console(answers).dsn)


def test_an_answer_that_is_no_number_is_an_error(console):
    answers = Answers(SHOW_STATS=table(STATS, [["db", "many", "1", "1"]]))
    with pytest.raises(SensorError, match="total_xact_count is 'many', not a number"):
        ConnectionPoolResource(dsn=console(answers).dsn)


def test_a_size_that_was_accepted_but_not_taken_is_an_error(console):
    answers = Answers()
    with ConnectionPoolResource(dsn=console(answers).dsn) as resource:
        answers.instead["SET default_pool_size = 9"] = table(["done"], [])
        with pytest.raises(ActuatorError, match="answered SET default_pool_size = 9 but has 20"):
            resource.apply_control(9)
        assert resource.measure_state().size == 20


def test_a_pool_of_an_unknown_version_is_refused_untouched(monkeypatch):
    monkeypatch.setattr(pool_psycopg, "PRIVATE", ("_max_size", "_renamed"))
    pool = ConnectionPool(open=False)
    with pytest.raises(ConfigError, match=r"has no _renamed: its version is not known.*psycopg_pool 3\.1"):
        ConnectionPoolResource(pool)
    assert "getconn" not in vars(pool)


def test_a_connection_string_that_cannot_be_read_is_not_repeated():
    with pytest.raises(ConfigError, match="cannot be read by libpq") as caught:
        ConnectionPoolResource(dsn=f"postgresql://admin:{SECRET}@[::1/x?port")
    assert SECRET not in str(caught.value)
    assert caught.value.__suppress_context__


def test_a_password_in_a_servers_answer_is_hidden():
    session = Session(f"host=127.0.0.1 port=1 user=a password={SECRET} dbname=pgbouncer")
    assert session.scrub(f"refused {SECRET}") == "refused ***"
    assert SECRET not in repr(session)
    with pytest.raises(SessionError) as caught:
        session.query("SHOW VERSION")
    assert SECRET not in str(caught.value)


def test_a_process_with_more_than_a_thousand_files_open_gets_its_answers(console):
    session = Session(console(lambda statement: table(["said"], [[statement]])).dsn)
    before = limits.getrlimit(limits.RLIMIT_NOFILE)
    if before[1] != limits.RLIM_INFINITY and before[1] < 1500:
        pytest.skip(f"{before[1]} open files are allowed here")
    limits.setrlimit(limits.RLIMIT_NOFILE, (max(before[0], 1500), before[1]))
    held = [os.open(os.devnull, os.O_RDONLY)]
    try:
        while held[-1] < 1100:
            held.append(os.dup(held[0]))
        assert session.query("this") == [{"said": "this"}]
        session.close()
    finally:
        for each in held:
            os.close(each)
        limits.setrlimit(limits.RLIMIT_NOFILE, before)


def test_a_budget_is_not_handed_what_postgresql_16_reserves(console):
    def answer(statement):
        if "server_version_num" in statement:
            return table(["version"], [["160004"]])
        reserved = 3 + 10 * ("current_setting('reserved_connections', true)" in statement)
        columns = ["connections", "competing", "limit", "transactions", "active_ms"]
        return table(columns, [["1", "0", str(100 - reserved), "0", "0"]])

    server = PostgresServer(console(answer).dsn)
    assert server.connection_limit() == 87
    server.close()


def test_a_statement_that_was_interrupted_does_not_disturb_the_next(console, monkeypatch):
    answers = Answers()
    with ConnectionPoolResource(dsn=console(answers).dsn) as resource:
        resource.apply_control(7)

        def interrupted(*_):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(selectors.DefaultSelector, "select", interrupted)
            with pytest.raises(KeyboardInterrupt):
                resource.measure_state()
    assert answers.size == 20  # it could be put back


@pytest.mark.parametrize(
    ("dsn", "environment", "local"),
    [
        ("dbname=shop", {}, True),
        ("host=/run/postgresql", {}, True),
        ("host=localhost", {}, True),
        ("host=127.0.1.1", {}, True),
        ("host=db", {}, False),
        ("host=localhost,db", {}, False),
        ("dbname=shop", {"PGHOST": "db"}, False),
        ("host=localhost", {"PGHOSTADDR": "192.0.2.7"}, False),
        ("service=shop", {}, False),
        ("dbname=shop", {"PGSERVICE": "shop"}, False),
        ("dbname=shop", {"PGSERVICE": "shop", "PGHOST": "localhost"}, False),
        ("service=shop host=localhost", {}, True),
    ],
)
def test_a_server_is_on_this_machine_only_if_its_address_tells(monkeypatch, dsn, environment, local):
    for name in ("PGHOST", "PGHOSTADDR", "PGSERVICE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert Session(dsn).local is local
    assert PostgresServer(dsn).cores == (os.cpu_count() if local else None)


def test_threads_that_ask_at_once_take_turns(console):
    begun, go = threading.Event(), threading.Event()

    def answer(statement):
        if statement == "slow":
            begun.set()
            go.wait(10)
        return table(["said"], [[statement]])

    session, said = Session(console(answer).dsn), []

    def ask(statement):
        said.extend(session.query(statement))

    slow = threading.Thread(target=ask, args=("slow",))
    quick = threading.Thread(target=ask, args=("quick",))
    slow.start()
    assert begun.wait(10)
    quick.start()
    quick.join(0.2)  # on the same connection it would fail here
    go.set()
    slow.join(10)
    quick.join(10)
    assert said == [{"said": "slow"}, {"said": "quick"}]
    session.close()
