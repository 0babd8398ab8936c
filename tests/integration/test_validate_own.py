"""The experiment on a real PgBouncer that somebody else loads."""

import json
import os
import signal

import psycopg
import pytest

pytest.importorskip("psycopg", reason="pip install 'quantum-control[postgres]'")

from integration.pool_load import Clients, pgbouncer
from validation.own_place import OwnPlace, controller, wait_for

from quantum_control.resources.libpq import Session

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

CLIENTS = 12
POOL = 3


@pytest.fixture
def bouncer(server):
    with pgbouncer(server, default_pool_size=POOL) as running:
        yield running


@pytest.fixture
def place(tmp_path, bouncer):
    place = OwnPlace(tmp_path)
    place.resources["web"] = {
        "kind": "connections",
        "mode": "active",
        "interval": 0.05,
        "max_size": 30,
        "options": {"dsn": bouncer.admin_dsn, "database": "postgres"},
    }
    place.write()
    return place


def loaded(bouncer):
    def work():
        with psycopg.connect(bouncer.dsn, autocommit=True, prepare_threshold=None) as connection:
            for _ in range(10):
                connection.execute("SELECT pg_sleep(0.02)")

    return Clients(work, CLIENTS)


def pool_size(bouncer):
    session = Session(bouncer.admin_dsn)
    try:
        rows = session.query("SHOW DATABASES")
    finally:
        session.close()
    return next(int(row["pool_size"]) for row in rows if row["name"] == "postgres")


def test_a_few_pairs_on_a_loaded_pool_from_the_configuration_to_the_report(place, bouncer):
    with loaded(bouncer) as clients:
        done = place.validate("--block", 0.5, "--pairs", 3, "--json")
    assert done.returncode == 0, done.stderr
    assert clients.errors == []
    (found,) = json.loads(done.stdout)
    held, steered = found["means"]["held"], found["means"]["steered"]
    assert held["size"] == POOL
    assert steered["size"] > POOL
    assert {"throughput", "wait_seconds"} <= held.keys()
    assert held["throughput"] > 0.0
    assert held["backlog"] > steered["backlog"]
    assert found["control"]["steered"]["cpu_seconds_per_hour"] > 0.0
    assert pool_size(bouncer) == POOL
    assert "admin" not in (place.out / "web" / "plan.json").read_text()


def test_killed_amid_a_steered_block_the_pool_has_its_size_again(place, bouncer):
    with loaded(bouncer), place.validating("--block", 5, "--pairs", 3) as process:
        wait_for(lambda: process.poll() is not None or pool_size(bouncer) != POOL)
        os.kill(controller(process), signal.SIGKILL)
        assert process.wait(60) == 1
        assert pool_size(bouncer) == POOL
