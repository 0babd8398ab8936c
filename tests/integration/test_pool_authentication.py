"""Servers that refuse the password: a clear message, without it, and a size that stays."""

from __future__ import annotations

import psycopg
import pytest

pytest.importorskip("psycopg_pool", reason="pip install 'quantum-control[postgres]'")
pytest.importorskip("sqlalchemy", reason="pip install 'quantum-control[sqlalchemy]'")
pytest.importorskip("redis", reason="pip install 'quantum-control[redis]'")

import redis
from integration.pool_load import Clients, eventually, postgres, redis_server
from psycopg_pool import ConnectionPool
from sqlalchemy import create_engine

from quantum_control.core.errors import SafetyError, SensorError
from quantum_control.resources.connections import ConnectionPoolResource
from quantum_control.resources.server_postgres import PostgresServer

pytestmark = pytest.mark.integration

SECRET = "not-to-be-seen"  # noqa: S105 - the point of a test
REFUSED = 'password authentication failed for user "locked"'


@pytest.fixture(scope="module")
def locked():
    """A PostgreSQL with a user whose password is another; the connection string has ours."""
    with postgres() as server:
        with psycopg.connect(server.dsn, autocommit=True) as admin:
            admin.execute("CREATE ROLE locked LOGIN PASSWORD 'another'")
            rules = admin.execute("SHOW hba_file").fetchone()[0]
            text = "host all locked 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n"
            with open(rules, "w", encoding="ascii") as file:  # noqa: PTH123 - as the server names it
                file.write(text)
            admin.execute("SELECT pg_reload_conf()")
        dsn = f"{server.dsn.replace('user=postgres', 'user=locked')} password={SECRET}"

        def in_force():
            with pytest.raises(psycopg.OperationalError) as caught:
                psycopg.connect(dsn)
            return REFUSED in str(caught.value)

        eventually(in_force, "the new rules")
        yield server, dsn


def refuses_to_grow(resource, clients):
    """One measurement of what has failed so far; what is said of it."""
    eventually(lambda: len(clients.errors) >= 8, "errors")
    found = resource.measure_state().size
    with pytest.raises(SafetyError) as caught:
        resource.apply_control(90)
    assert resource.measure_state().size == found
    told = str(caught.value)
    assert "check-outs failed" in told or "wait while the server gives" in told
    return told


def test_a_server_that_refuses_us_is_told_and_the_pool_steered_without_it(locked, caplog):
    server, dsn = locked
    with pytest.raises(SensorError, match=REFUSED) as caught:
        PostgresServer(dsn).connection_limit()
    assert SECRET not in str(caught.value)
    with (
        ConnectionPool(server.dsn, min_size=1, max_size=4, open=True) as pool,
        ConnectionPoolResource(pool, server=dsn) as resource,
    ):
        assert resource.measure_state().size == 4
        resource.apply_control(7)
        assert resource.measure_state().size == 7
    assert REFUSED in caplog.text
    assert SECRET not in caplog.text


def test_a_psycopg_pool_that_is_refused_does_not_grow(locked, caplog):
    _, dsn = locked
    with ConnectionPool(dsn, min_size=1, max_size=4, timeout=0.2, open=True) as pool:

        def work():
            with pool.connection():
                pass

        with ConnectionPoolResource(pool) as resource, Clients(work, 8) as clients:
            told = refuses_to_grow(resource, clients)
    assert REFUSED in caplog.text
    assert SECRET not in caplog.text + told + "".join(clients.errors)


def test_an_engine_that_is_refused_does_not_grow(locked, caplog):
    server, _ = locked
    url = f"postgresql+psycopg://locked:{SECRET}@127.0.0.1:{server.port}/postgres"
    engine = create_engine(url, pool_size=4, max_overflow=0)

    def work():
        with engine.connect():
            pass

    with ConnectionPoolResource(engine) as resource, Clients(work, 8) as clients:
        told = refuses_to_grow(resource, clients)
        shown = repr(resource)
    engine.dispose()
    assert all(REFUSED in error for error in clients.errors)
    assert SECRET not in caplog.text + told + shown + "".join(clients.errors)


@pytest.mark.parametrize("password", [None, SECRET])
def test_a_redis_that_refuses_us_does_not_make_the_pool_grow(password, caplog):
    with redis_server() as server:
        with redis.Redis(port=server.port) as admin:
            admin.config_set("requirepass", "another")
        pool = redis.BlockingConnectionPool(port=server.port, max_connections=4, timeout=5, password=password)
        client = redis.Redis(connection_pool=pool)
        with ConnectionPoolResource(pool) as resource, Clients(client.ping, 8) as clients:
            told = refuses_to_grow(resource, clients)
            shown = repr(resource)
        pool.disconnect()
    assert all("uthentication" in error or "password" in error for error in clients.errors)
    assert SECRET not in caplog.text + told + shown + "".join(clients.errors)
