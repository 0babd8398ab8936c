"""A real PgBouncer's pools of several users of one database."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from statistics import median

import psycopg
import pytest
from integration.pool_load import Clients, eventually, pgbouncer

from quantum_control.resources.connections import ConnectionPoolResource

pytestmark = pytest.mark.integration

USERS = [f"user{number}" for number in range(4)]


@pytest.fixture
def bouncer(server):
    with psycopg.connect(server.dsn, autocommit=True) as admin:
        for user in USERS:
            admin.execute(f"DROP ROLE IF EXISTS {user}")
            admin.execute(f"CREATE ROLE {user} LOGIN")
    with pgbouncer(server, dict.fromkeys(USERS, ""), auth_type="trust") as running:
        yield running


def test_the_fullest_counts(bouncer):
    def work(user):
        dsn = bouncer.dsn.replace("user=postgres", f"user={user}")
        with psycopg.connect(dsn, autocommit=True, prepare_threshold=None) as connection:
            for _ in range(20):
                connection.execute("SELECT pg_sleep(0.02)")

    demands = []

    def measured():
        demands.append(resource.measure_state().demand)
        return len(demands) == 20

    with ExitStack() as clients:
        load = [clients.enter_context(Clients(partial(work, user), 3)) for user in USERS]
        eventually(lambda: all(each.done for each in load), "work of every user")
        with ConnectionPoolResource(dsn=bouncer.admin_dsn) as resource:
            eventually(measured, "20 measurements")
            assert resource.get_metrics()["pools"] == 4
    # Three at the most for each; all together, near twelve, is what none of them needs.
    assert 1.5 < median(demands) < 4.5
