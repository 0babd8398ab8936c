"""The pool size of one database in a real PgBouncer's configuration file."""

from __future__ import annotations

import stat

import psycopg
import pytest

pytest.importorskip("psycopg", reason="pip install 'quantum-control[postgres]'")

from integration.pool_load import Clients, eventually, pgbouncer

from quantum_control.core.errors import ActuatorError, ConfigError
from quantum_control.resources.connections import ConnectionPoolResource
from quantum_control.resources.libpq import Session

pytestmark = pytest.mark.integration

SECRET = "not-to-be-seen"  # noqa: S105 - the point of a test


@pytest.fixture
def bouncer(server):
    with pgbouncer(server, default_pool_size=4) as running:
        path = running.folder / "pgbouncer.ini"
        text = path.read_text()
        line = next(line for line in text.splitlines() if line.startswith("postgres ="))
        target = line.partition("=")[2]
        own = f"min_pool_size=0 pool_size='3' password='{SECRET} pool_size=9'"
        rows = f"; sizes\n{line} {own}\nother ={target}\n"
        path.write_text(text.replace(line + "\n", rows))
        by_hand(running, "RELOAD")
        yield running


def by_hand(bouncer, statement):
    session = Session(bouncer.admin_dsn)
    rows = session.query(statement)
    session.close()
    return rows


def in_force(bouncer):
    rows = by_hand(bouncer, "SHOW DATABASES")
    return {row["name"]: int(row["pool_size"]) for row in rows if row["name"] != "pgbouncer"}


def steered(bouncer, database="postgres", config=None):
    path = str(bouncer.folder / "pgbouncer.ini") if config is None else str(config)
    return ConnectionPoolResource(dsn=bouncer.admin_dsn, database=database, config=path, max_connections=30)


def test_the_size_of_one_database_is_set_and_the_file_comes_back_to_the_byte(server, bouncer):
    path = bouncer.folder / "pgbouncer.ini"
    found, mode = path.read_bytes(), stat.S_IMODE(path.stat().st_mode)
    with steered(bouncer) as resource:
        assert resource.measure_state().size == 3
        resource.apply_control(7)
        assert in_force(bouncer) == {"postgres": 7, "other": 4}
        assert resource.measure_state().size == 7
        assert stat.S_IMODE(path.stat().st_mode) == mode
        assert f"pool_size=7 password='{SECRET} pool_size=9'" in path.read_text()

        def work():
            with psycopg.connect(bouncer.dsn, autocommit=True, prepare_threshold=None) as connection:
                connection.execute("SELECT pg_sleep(0.02)")

        with Clients(work, 12):
            eventually(lambda: resource.measure_state() and resource.get_metrics()["held"] == 7, "7 servers")
    assert path.read_bytes() == found
    assert in_force(bouncer) == {"postgres": 3, "other": 4}
    assert sorted(each.name for each in bouncer.folder.iterdir() if "quantum" in each.name) == []


def test_a_database_without_a_size_of_its_own_gets_one_and_loses_it_again(bouncer):
    path = bouncer.folder / "pgbouncer.ini"
    found = path.read_bytes()
    with steered(bouncer, "other") as resource:
        resource.apply_control(9)
        assert in_force(bouncer) == {"postgres": 3, "other": 9}
    assert path.read_bytes() == found
    assert in_force(bouncer) == {"postgres": 3, "other": 4}


@pytest.mark.parametrize("database", ["postgres", "other"])
def test_what_a_process_that_is_gone_has_set_is_put_back_by_a_fresh_one(bouncer, database):
    path = bouncer.folder / "pgbouncer.ini"
    found, sizes = path.read_bytes(), in_force(bouncer)
    gone = steered(bouncer, database)
    snapshot = gone.snapshot()
    assert SECRET not in repr(snapshot)
    gone.apply_control(11)
    gone._pool._session.close()  # no release
    with steered(bouncer, database) as fresh:
        assert fresh.outlives_boot
        fresh.restore(snapshot)
        assert fresh.measure_state().size == sizes[database]
    assert path.read_bytes() == found
    assert in_force(bouncer) == sizes


def test_a_default_that_a_process_that_is_gone_has_set_is_put_back_by_a_fresh_one(bouncer):
    gone = ConnectionPoolResource(dsn=bouncer.admin_dsn, database="other")
    snapshot = gone.snapshot()
    gone.apply_control(11)
    gone._pool._session.close()
    with ConnectionPoolResource(dsn=bouncer.admin_dsn, database="other") as fresh:
        assert fresh.measure_state().size == 11
        fresh.restore(snapshot)
    assert in_force(bouncer)["other"] == 4


def test_a_size_equal_to_the_default_is_found_out_when_it_is_set(bouncer):
    by_hand(bouncer, "SET default_pool_size = 3")
    with ConnectionPoolResource(dsn=bouncer.admin_dsn, database="postgres") as resource:
        with pytest.raises(ActuatorError, match=r"pool_size=3 of its own.*give config="):
            resource.apply_control(8)
        assert in_force(bouncer) == {"postgres": 3, "other": 3}


def test_another_file_than_the_one_in_use_is_told_and_left_as_it_was(bouncer, tmp_path):
    other = tmp_path / "pgbouncer.ini"
    other.write_bytes((bouncer.folder / "pgbouncer.ini").read_bytes())
    found = other.read_bytes()
    told = r"is .* the file that it was started with.*as it was"
    with steered(bouncer, config=other) as resource, pytest.raises(ActuatorError, match=told):
        resource.apply_control(8)
    assert other.read_bytes() == found
    assert in_force(bouncer)["postgres"] == 3


def test_a_file_that_may_not_be_replaced_or_lacks_the_entry_is_told(bouncer, tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        steered(bouncer, config=tmp_path / "none.ini")
    empty = tmp_path / "pgbouncer.ini"
    empty.write_text("[pgbouncer]\npostgres = no entry\n")
    with pytest.raises(ConfigError, match=r"no entry of database 'postgres' in \[databases\]"):
        steered(bouncer, config=empty)
    with pytest.raises(ConfigError, match="config= needs database="):
        steered(bouncer, database=None)


def test_a_console_that_may_only_be_read_leaves_the_file_as_it_was(bouncer):
    path = bouncer.folder / "pgbouncer.ini"
    found = path.read_bytes()
    dsn = bouncer.admin_dsn.replace("user=admin", "user=viewer")
    with (
        ConnectionPoolResource(dsn=dsn, database="postgres", config=str(path)) as resource,
        pytest.raises(ActuatorError, match="among PgBouncer's admin_users"),
    ):
        resource.apply_control(8)
    assert path.read_bytes() == found
