"""Processes that share a budget through a real PostgreSQL or Redis, while they and it are killed.

What they hold are advisory locks of numbers that are nobody else's, so that
nothing but the ledger keeps their sum, and one look at the server counts them.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from contextlib import ExitStack, suppress

import psycopg
import pytest
from integration.pool_load import eventually, postgres
from integration.requirements import require

from quantum_control import Resource, ResourceState
from quantum_control.bench.database_servers import Redis
from quantum_control.config import BudgetSection
from quantum_control.core.errors import ActuatorError, ConfigError
from quantum_control.fleet import ledger
from quantum_control.fleet.shares import SharedBudget
from quantum_control.fleet.stores import PostgresStore, StoreError, store_of

pytestmark = pytest.mark.integration

TOTAL = 20
LEASE = 3.0

PROCESS = """
import os, sys, threading, time
import psycopg
from quantum_control.core.errors import QuantumControlError
from quantum_control.fleet import ledger

address, dsn, total, lease = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
ledger.LONGEST = lease  # nobody has a longer one here
from quantum_control.fleet.shares import SharedBudget
from quantum_control.fleet.stores import store_of

shared = SharedBudget(store_of(address), total, lease=lease)
wanted, locks, connection = 1, [], None

def hear():
    global wanted
    for line in sys.stdin:
        wanted = int(line)
    os._exit(0)

threading.Thread(target=hear, daemon=True).start()
while True:
    time.sleep(0.05)
    try:
        if connection is None or connection.closed:
            locks = []  # gone with the session
            connection = psycopg.connect(dsn, autocommit=True, connect_timeout=3)
        try:
            limit = shared.claim(wanted, 1, len(locks))
        except QuantumControlError:
            continue
        while len(locks) > limit:
            connection.execute("SELECT pg_advisory_unlock(999, %s)", [locks[-1]])
            locks.pop()
        while len(locks) < min(limit, wanted):
            number = (os.getpid() % 1_000_000) * 1000 + len(locks)
            connection.execute("SELECT pg_advisory_lock(999, %s)", [number])
            locks.append(number)
    except psycopg.Error:
        connection and connection.close()
"""


class Process:
    def __init__(self, address, dsn):
        command = [sys.executable, "-c", PROCESS, address, dsn, str(TOTAL), str(LEASE)]
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, text=True)  # noqa: S603 - our own

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()
        with suppress(OSError):
            self.child.stdin.close()

    def want(self, wanted):
        self.child.stdin.write(f"{wanted}\n")
        self.child.stdin.flush()

    def kill(self):
        self.child.kill()
        self.child.wait()

    @property
    def number(self):
        return self.child.pid % 1_000_000


class Watch:
    """Counts, all the time, what is held, and keeps the largest sum that was ever seen."""

    def __init__(self, dsn):
        self.dsn = dsn
        self.held = {}
        self.largest = 0
        self.looks = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stopping.set()
        self._thread.join()

    def _run(self):
        while not self._stopping.wait(0.02):
            with suppress(psycopg.Error), psycopg.connect(self.dsn, autocommit=True) as connection:
                while not self._stopping.wait(0.02):
                    rows = connection.execute(
                        "SELECT objid::bigint / 1000, count(*) FROM pg_locks"
                        " WHERE locktype = 'advisory' AND classid = 999 GROUP BY 1"
                    ).fetchall()
                    self.held = dict(rows)
                    self.largest = max(self.largest, sum(self.held.values()))
                    self.looks += 1

    def of(self, process):
        return self.held.get(process.number, 0)


@pytest.fixture(scope="module")
def server():
    with postgres(max_connections=40) as running:
        yield running


@pytest.mark.parametrize("kind", ["postgres", "redis"])
def test_the_sum_holds_while_processes_and_the_store_are_killed(server, kind):
    with ExitStack() as stack:
        store, address = server, server.dsn
        if kind == "redis":
            require(
                shutil.which("redis-server"),
                "redis-server is not installed; scripts/install-servers installs it",
            )
            store = stack.enter_context(Redis())
            address = f"redis://127.0.0.1:{store.port}/0"
        watch = stack.enter_context(Watch(server.dsn))
        one, two, three = (stack.enter_context(Process(address, server.dsn)) for _ in range(3))
        for process in (one, two, three):
            process.want(30)
        eventually(lambda: sorted(map(watch.of, (one, two, three))) == [6, 7, 7], "a shortage is shared")
        one.kill()  # what is left of it for long is its floor of 1
        eventually(lambda: watch.of(two) + watch.of(three) >= TOTAL - 1, "the share of the killed returns")
        store.restart()
        eventually(lambda: watch.of(two) + watch.of(three) >= TOTAL - 1, "what was held is held again")
        two.want(4)
        eventually(lambda: watch.of(two) == 4 and watch.of(three) >= 15, "what one does not need others get")
        four = stack.enter_context(Process(address, server.dsn))
        four.want(30)
        eventually(lambda: min(watch.of(three), watch.of(four)) >= 7, "a newcomer gets its part")
        assert watch.looks > 50
        assert TOTAL - 1 <= watch.largest <= TOTAL


@pytest.fixture(params=["postgres", "redis"])
def address(request, server):
    if request.param == "postgres":
        yield server.dsn
        return
    require(
        shutil.which("redis-server"), "redis-server is not installed; scripts/install-servers installs it"
    )
    with Redis() as store:
        yield f"redis://127.0.0.1:{store.port}/0"


def test_every_update_counts_whoever_else_makes_one(address):
    def add(ledger, _):
        ledger.time += 1.0
        return round(ledger.time)

    def work():
        store = store_of(address, "counted")
        for _ in range(25):
            store.update(add)
        store.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store = store_of(address, "counted")
    assert store.update(add) == 101
    store.close()


def test_a_change_that_raises_changes_nothing(address):
    store = store_of(address, "refused")

    def spoil(ledger, _):
        ledger.time = 99.0
        raise ConfigError("no")

    with pytest.raises(ConfigError, match="no"):
        store.update(spoil)
    assert store.update(lambda ledger, _: round(ledger.time)) == 0
    store.close()


def test_budgets_of_different_names_do_not_meet(address, monkeypatch):
    monkeypatch.setattr(ledger, "LONGEST", 0.4)
    budgets = [SharedBudget(store_of(address, name), 10, lease=0.4) for name in ("this", "that")]
    assert [budget.claim(10, 1, 0) for budget in budgets] == [10, 10]
    for budget in budgets:
        budget.close()


class Pool(Resource):
    """Holds what it is given."""

    def __init__(self, size):
        self.size, self.min_size = size, 2

    def measure_state(self):
        return ResourceState(0.0, size=self.size)

    def apply_control(self, new_size):
        self.size = new_size

    def get_metrics(self):
        return {}


def test_daemons_that_are_told_of_the_same_store_share_what_it_is_for(address, monkeypatch):
    monkeypatch.setenv("STORE", address)
    monkeypatch.setattr(ledger, "LONGEST", LEASE)
    sections = [
        BudgetSection(total=TOTAL, reserve=4, store=store, lease=LEASE) for store in ("env:STORE", address)
    ]
    pools = [Pool(12), Pool(2)]
    budgets = [section.budget("database") for section in sections]
    shares = [budget.share(pool) for budget, pool in zip(budgets, pools, strict=True)]

    def both_want_all():
        for share in shares:
            with suppress(ActuatorError):
                share.apply_control(30)
            share.measure_state()
            assert sum(pool.size for pool in pools) <= TOTAL - 4
        return [pool.size for pool in pools] == [8, 8]

    eventually(both_want_all, "what is left of the reserve is shared fairly")
    for budget, share in zip(budgets, shares, strict=True):
        budget.leave(share)


def test_a_server_that_is_not_there_is_told_without_a_password():
    store = PostgresStore("host=127.0.0.1 port=1 user=app password=secret")
    with pytest.raises(StoreError) as caught:
        store.update(lambda _ledger, _now: 0)
    assert "secret" not in str(caught.value)
