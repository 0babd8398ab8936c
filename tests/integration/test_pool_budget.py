"""Two pools that share the connections of one real PostgreSQL."""

from __future__ import annotations

from contextlib import ExitStack

import psycopg
import pytest

pytest.importorskip("psycopg_pool", reason="pip install 'quantum-control[postgres]'")

from integration.pool_load import Clients, eventually, pgbouncer, postgres, steer
from psycopg_pool import ConnectionPool

from quantum_control.core.budget import Budget
from quantum_control.core.controller import QuantumController
from quantum_control.resources.connections import ConnectionPoolResource
from quantum_control.resources.server_postgres import PostgresServer

pytestmark = pytest.mark.integration

SPARE = 2  # connections of the test itself


def sleeper(pool):
    def work():
        with pool.connection() as connection:
            connection.execute("SELECT pg_sleep(0.02)")

    return work


def test_two_pools_follow_need_and_together_never_pass_what_the_server_has():
    with postgres(max_connections=18, superuser_reserved_connections=3) as server:
        own = PostgresServer(server.dsn)
        budget = Budget(own.connection_limit(), reserve=SPARE)
        assert budget.capacity == 13
        with (
            ConnectionPool(server.dsn, min_size=1, max_size=4, timeout=5, open=True) as first,
            ConnectionPool(server.dsn, min_size=1, max_size=4, timeout=5, open=True) as second,
            ConnectionPoolResource(first) as one,
            ConnectionPoolResource(second) as two,
            psycopg.connect(server.dsn, autocommit=True) as watcher,
        ):
            shares = [budget.share(one), budget.share(two)]
            controllers = [QuantumController(share, interval=0.1) for share in shares]

            def step(until):
                def both():
                    controllers[1].optimize()
                    held = watcher.execute(
                        "SELECT count(*) FROM pg_stat_activity"
                        " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
                    ).fetchone()[0]
                    # The console of `own` is the other of the spare ones.
                    assert held - 1 <= budget.capacity
                    assert budget.held <= budget.capacity
                    return until()

                return both

            with Clients(sleeper(first), 9) as load:
                steer(controllers[0], step(lambda: first.max_size >= 9), "the first pool has what it needs")
            with Clients(sleeper(second), 9) as other:
                steer(controllers[0], step(lambda: second.max_size >= 9), "the second pool has what it needs")
                with Clients(sleeper(first), 9) as again:
                    steer(
                        controllers[0],
                        step(lambda: abs(first.max_size - second.max_size) <= 1 and again.done > 50),
                        "a shortage is shared",
                    )
            assert not load.errors + other.errors + again.errors
        own.close()


def test_every_pool_of_a_pgbouncer_counts_against_the_budget():
    # Four users of one database: four pools, each of which may have the size.
    users = [f"user{number}" for number in range(4)]
    with postgres(max_connections=30, superuser_reserved_connections=3) as server:
        with psycopg.connect(server.dsn, autocommit=True) as admin:
            for user in users:
                admin.execute(f"CREATE ROLE {user} LOGIN")
        with (
            pgbouncer(server, dict.fromkeys(users, ""), default_pool_size=1, auth_type="trust") as bouncer,
            ConnectionPoolResource(dsn=bouncer.admin_dsn, database="postgres") as resource,
            psycopg.connect(server.dsn, autocommit=True) as watcher,
        ):
            budget = Budget(12)

            def client(user):
                def work():
                    dsn = bouncer.dsn.replace("user=postgres", f"user={user}")
                    with psycopg.connect(dsn, autocommit=True, prepare_threshold=None) as connection:
                        for _ in range(10):
                            connection.execute("SELECT pg_sleep(0.02)")

                return work

            def held():
                return watcher.execute(
                    "SELECT count(*) FROM pg_stat_activity WHERE usename LIKE 'user%'"
                ).fetchone()[0]

            def step():
                assert held() <= budget.capacity
                return controller.steps > 25 and held() == 12

            with ExitStack() as clients:
                load = [clients.enter_context(Clients(client(user), 8)) for user in users]
                eventually(lambda: all(each.done for each in load), "work of every user")
                controller = QuantumController(budget.share(resource), interval=0.1)
                steer(controller, step, "three connections for each of the four pools")
                assert resource.get_metrics()["pools"] == 4
                assert resource.measure_state().size == 3
                assert not [error for each in load for error in each.errors]
