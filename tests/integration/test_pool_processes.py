"""Processes that share the connections of one real PostgreSQL, and die."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack

import psycopg
import pytest

pytest.importorskip("psycopg_pool", reason="pip install 'quantum-control[postgres]'")

from integration.pool_load import LIMIT, eventually, postgres

pytestmark = pytest.mark.integration

RESERVE = 3  # connections of the test itself
CAPACITY = 17

PROCESS = """
import sys, threading
from psycopg_pool import ConnectionPool
from quantum_control import ConnectionPoolResource, QuantumController
from quantum_control.core.budget import Budget
from quantum_control.fleet import ledger

ledger.LONGEST = 2.0  # nobody has a longer lease here
from quantum_control.fleet.shares import SharedBudget
from quantum_control.fleet.stores import PostgresStore

dsn, total = sys.argv[1], int(sys.argv[2])
budget = Budget(SharedBudget(PostgresStore(dsn), total, overhead=1, lease=2.0))
clients = 0

def work(number):
    while True:
        if number < clients:
            with pool.connection() as connection:
                connection.execute("SELECT pg_sleep(0.02)")
        else:
            pause.wait(0.02)

pause = threading.Event()
with ConnectionPool(dsn, min_size=1, max_size=1, timeout=60, open=True) as pool:
    with ConnectionPoolResource(pool) as resource:
        controller = QuantumController(budget.share(resource), interval=0.1)
        controller.start()
        for number in range(30):
            threading.Thread(target=work, args=(number,), daemon=True).start()
        for line in sys.stdin:
            if line.strip():
                clients = int(line)
            print(pool.max_size, budget.held, controller.failures, flush=True)
        controller.stop()
"""


class Process:
    """An application with a pool and 30 threads, of which so many work."""

    def __init__(self, dsn):
        command = [sys.executable, "-c", PROCESS, dsn, str(CAPACITY)]
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.stdin.close()
        try:
            self.child.wait(LIMIT)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        self.child.stdout.close()

    def ask(self, clients=""):
        """Have so many clients work; the size of the pool, and what the budget holds."""
        self.child.stdin.write(f"{clients}\n")
        self.child.stdin.flush()
        size, held, failures = map(int, self.child.stdout.readline().split())
        assert failures == 0
        return size, held


@pytest.fixture(scope="module")
def server():
    with postgres(max_connections=CAPACITY + RESERVE + 3, superuser_reserved_connections=3) as running:
        yield running


@pytest.fixture
def watcher(server):
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        yield connection


def others(watcher):
    row = watcher.execute(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    ).fetchone()
    return row[0]


def until(watcher, condition, what):
    """Wait for a condition, and see all the while that the sum keeps to the capacity."""

    def look():
        assert others(watcher) <= CAPACITY
        return condition()

    eventually(look, what)


def test_shares_follow_need_the_sum_holds_and_who_is_killed_gives_his_back(server, watcher):
    with ExitStack() as stack:
        first, second, third = (stack.enter_context(Process(server.dsn)) for _ in range(3))
        for process in (first, second, third):
            process.ask(0)
        # One connection of each goes to the budget itself.
        first.ask(30)
        until(watcher, lambda: first.ask()[0] >= 11, "the first has what the others do not need")
        second.ask(30)
        until(watcher, lambda: abs(first.ask()[0] - second.ask()[0]) <= 2, "a shortage is shared")
        assert first.ask()[1] + second.ask()[1] + third.ask()[1] + 3 <= CAPACITY
        first.child.kill()
        first.child.wait()
        until(
            watcher,
            lambda: second.ask()[0] >= 11,
            "what the killed process had goes to the second, but for its floor",
        )
        third.ask(30)
        until(watcher, lambda: third.ask()[0] >= 5, "and to the third as it needs it")
