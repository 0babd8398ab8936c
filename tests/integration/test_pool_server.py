"""A pool that is steered by what the sessions of a real PostgreSQL are doing as well."""

from __future__ import annotations

from math import inf

import psycopg
import pytest

pytest.importorskip("psycopg_pool", reason="pip install 'quantum-control[postgres]'")

from integration.pool_load import Clients, eventually, postgres, steer
from psycopg_pool import ConnectionPool

from quantum_control.core.controller import QuantumController
from quantum_control.resources.connections import ConnectionPoolResource
from quantum_control.resources.server_postgres import PostgresServer

pytestmark = pytest.mark.integration

MOST = 40


@pytest.fixture(scope="module")
def server():
    with postgres(max_connections=MOST + 10) as running:
        with psycopg.connect(running.dsn, autocommit=True) as connection:
            connection.execute(
                "CREATE TABLE hot (id int PRIMARY KEY, amount int); INSERT INTO hot VALUES (1, 0)"
            )
        yield running


@pytest.fixture
def pool(server):
    with ConnectionPool(server.dsn, min_size=2, max_size=20, timeout=30, open=True) as pool:
        yield pool


@pytest.fixture
def resource(server, pool):
    with ConnectionPoolResource(pool, server=server.dsn, server_cores=2, max_connections=MOST) as resource:
        yield resource


def doing(pool, *statements):
    def work():
        with pool.connection() as connection:
            for statement in statements:
                connection.execute(statement)

    return work


def useful(resource):
    return resource.get_metrics().get("useful_size", inf)


def test_connections_that_only_wait_for_each_other_are_taken_away_though_clients_wait(pool, resource):
    controller = QuantumController(resource, interval=0.1)
    work = doing(pool, "UPDATE hot SET amount = amount + 1", "SELECT pg_sleep(0.005)")
    with Clients(work, 30) as load:
        steer(controller, lambda: useful(resource) < 6 and controller.size < 8, "few connections")
        assert resource.get_metrics()["queue_depth"] > 10
        assert resource.get_metrics()["server_competing"] > 0
    assert not load.errors
    controller.stop()
    assert pool.max_size == 20


def test_connections_that_wait_for_something_else_are_given(pool, resource):
    controller = QuantumController(resource, interval=0.1)
    with Clients(doing(pool, "SELECT pg_sleep(0.03)"), 38) as load:
        steer(controller, lambda: pool.max_size > 30 and useful(resource) > 30, "many connections")
    assert not load.errors
    controller.stop()


def test_without_the_servers_processors_nothing_is_held_back(server, pool):
    elsewhere = server.dsn.replace("127.0.0.1", "127.0.0.2")
    with ConnectionPoolResource(pool, server=elsewhere) as resource:
        resource.measure_state()
        assert "useful_size" not in resource.get_metrics()


def test_a_session_whose_role_is_not_its_login_is_told_what_gets_done(server):
    """As of credentials that are made for the day: they log in, and act as the owner of the tables."""
    with psycopg.connect(server.dsn, autocommit=True) as admin:
        admin.execute("CREATE ROLE owner; CREATE ROLE daily LOGIN IN ROLE owner")
        admin.execute("ALTER ROLE daily SET role = owner")
        own = PostgresServer(server.dsn.replace("user=postgres", "user=daily"))

        def told():
            admin.execute("SELECT 1")
            return own.metrics().get("server_throughput", 0.0) > 0.0

        try:
            eventually(told, "transactions of this database")
        finally:
            own.close()
            admin.execute("DROP ROLE daily; DROP ROLE owner")
