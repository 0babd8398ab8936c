"""PgBouncer's admin console, with a real PostgreSQL behind it."""

from __future__ import annotations

import time

import psycopg
import pytest
from integration.pool_load import Clients, eventually, pgbouncer, postgres, settle, stalled, steer

from quantum_control.core.controller import QuantumController
from quantum_control.core.errors import ActuatorError, ConfigError, SafetyError, SensorError
from quantum_control.core.resource import ResourceState
from quantum_control.resources.connections import ConnectionPoolResource
from quantum_control.resources.libpq import Session

pytestmark = pytest.mark.integration

CLIENTS = 12
SECRET = "not-to-be-seen"  # noqa: S105 - the point of a test


@pytest.fixture
def bouncer(server):
    with pgbouncer(server, default_pool_size=4) as running:
        yield running


@pytest.fixture
def resource(bouncer):
    with ConnectionPoolResource(dsn=bouncer.admin_dsn, database="postgres", max_connections=30) as resource:
        yield resource


def clients(bouncer, number=CLIENTS, seconds=0.02):
    """Each with a connection to PgBouncer of its own; opened anew after an error."""

    def work():
        with psycopg.connect(bouncer.dsn, autocommit=True, prepare_threshold=None) as connection:
            for _ in range(10):
                connection.execute(f"SELECT pg_sleep({seconds})")

    return Clients(work, number)


def backends(server):
    with psycopg.connect(server.dsn, autocommit=True, application_name="watcher") as admin:
        row = admin.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
            " AND application_name <> 'watcher'"
        ).fetchone()
    return row[0]


def by_hand(bouncer, statement):
    session = Session(bouncer.admin_dsn)
    session.query(statement)
    session.close()


def test_the_size_is_set_read_back_and_enforced_under_load(server, bouncer, resource):
    with clients(bouncer):
        for size in (9, 2):
            resource.apply_control(size)

            def settled(size=size):
                assert resource.measure_state().size == size
                return backends(server) == size

            eventually(settled, f"{size} connections at the server")
        assert resource.get_metrics()["queue_depth"] > 0


def test_measurements_follow_littles_law(bouncer, resource):
    with clients(bouncer, 3, 0.05) as load:
        eventually(lambda: load.done >= 3, "work")
        resource.measure_state()
        done = load.done
        eventually(lambda: load.done >= done + 6, "more work")
        state = resource.measure_state()
        metrics = resource.get_metrics()
    assert state.demand == pytest.approx(metrics["throughput"] * metrics["service_seconds"], rel=0.15)
    assert 1.5 < state.demand < 3.5
    assert metrics["service_seconds"] > 0.04


def test_a_controller_grows_a_pool_that_is_too_small_and_shrinks_it_again(bouncer, resource):
    controller = QuantumController(resource, interval=0.2)
    with clients(bouncer, seconds=0.05):
        steer(controller, lambda: resource.get_metrics().get("busy", 0) > 8, "a pool that keeps up", 0.2)
    steer(controller, lambda: controller.size <= 2, "a small pool without load", 0.2)
    controller.stop()
    assert resource.measure_state().size == 4


def test_release_restores_the_size_found_unless_somebody_else_has_set_another(bouncer, resource):
    def configured():
        session = Session(bouncer.admin_dsn)
        rows = session.query("SHOW CONFIG")
        session.close()
        return next(row["value"] for row in rows if row["key"] == "default_pool_size")

    resource.apply_control(9)
    resource.release()
    assert configured() == "4"
    resource.apply_control(9)
    by_hand(bouncer, "SET default_pool_size = 7")
    resource.release()
    assert configured() == "7"


def test_a_reload_brings_the_configured_size_back_and_steering_goes_on(bouncer, resource, caplog):
    resource.apply_control(9)
    by_hand(bouncer, "RELOAD")
    assert resource.measure_state().size == 4
    assert "fell back from 9 to its original size 4" in caplog.text
    resource.apply_control(6)
    assert resource.measure_state().size == 6


def test_a_size_set_by_hand_is_noticed_respected_and_reported(bouncer, resource, caplog):
    resource.apply_control(9)
    by_hand(bouncer, "SET default_pool_size = 7")
    with pytest.raises(SafetyError, match="set to 7 by somebody else"):
        resource.apply_control(12)
    assert resource.measure_state().size == 7
    assert "changed from 9 to 7 by somebody else" in caplog.text
    assert resource.get_metrics()["set_by_hand"] == 1.0


def test_a_console_that_is_gone_leaves_the_size_alone_and_is_found_again(bouncer, resource):
    controller = QuantumController(resource, interval=0.1)
    assert controller.optimize().state is not None
    bouncer.stop()
    with pytest.raises(SensorError, match=r"admin console: .*127\.0\.0\.1"):
        resource.measure_state()
    with pytest.raises(ActuatorError, match="setting the size to 9"):
        resource.apply_control(9)
    assert controller.optimize().outcome.name == "FAILED"
    bouncer.start()
    assert isinstance(resource.measure_state(), ResourceState)
    assert resource.measure_state().size == 4


def test_an_outage_of_the_server_behind_it_does_not_make_it_grow():
    # A server of its own: the others' is not to stay down if this fails.
    with (
        postgres() as server,
        pgbouncer(server, default_pool_size=4) as bouncer,
        ConnectionPoolResource(dsn=bouncer.admin_dsn, database="postgres", max_connections=30) as resource,
        clients(bouncer) as load,
    ):
        controller = QuantumController(resource, interval=0.1)
        steer(controller, lambda: resource.get_metrics().get("busy", 0) > 3, "work")
        server.stop()
        # The interval in which it stops has a load of its own, which may make the pool grow.
        steer(controller, lambda: resource.get_metrics()["held"] == 0, "no servers are left")
        before = controller.size
        end = controller.steps + 15
        sizes = steer(controller, lambda: controller.steps > end, "steps in the outage")
        assert max(sizes) <= before
        server.start()
        done = load.done
        steer(controller, lambda: load.done > done + 10, "work after the restart")


def rested(bouncer, statement):
    """What a client does between two rests, each in a transaction of its own."""

    def work():
        with psycopg.connect(bouncer.dsn, autocommit=True, prepare_threshold=None) as connection:
            for _ in range(10):
                connection.execute(statement)
                time.sleep(0.05)

    return work


def test_a_stalled_server_is_survived_and_does_not_make_it_grow(server, bouncer):
    with psycopg.connect(server.dsn, autocommit=True) as admin:
        admin.execute("CREATE TABLE IF NOT EXISTS stalled (x int)")
    insert = "WITH slept AS (SELECT pg_sleep(0.02)) INSERT INTO stalled SELECT 1 FROM slept"
    with (
        ConnectionPoolResource(dsn=bouncer.admin_dsn, database="postgres", max_connections=40) as resource,
        Clients(rested(bouncer, insert), 24) as clients,
    ):
        controller = QuantumController(resource, interval=0.1)
        before = settle(controller)
        with psycopg.connect(server.dsn) as locker:
            locker.execute("LOCK TABLE stalled IN ACCESS EXCLUSIVE MODE")
            stalled(resource)
            end = controller.steps + 10
            sizes = steer(controller, lambda: controller.steps >= end, "steps during the stall")
            assert max(sizes) <= before
            locker.rollback()
        done = clients.done
        steer(controller, lambda: clients.done > done + 24, "work after the stall")


def test_killed_connections_give_it_no_more_than_its_clients_can_use(server, bouncer):
    with (
        ConnectionPoolResource(dsn=bouncer.admin_dsn, database="postgres", max_connections=40) as resource,
        Clients(rested(bouncer, "SELECT pg_sleep(0.02)"), 2 * CLIENTS) as clients,
        psycopg.connect(server.dsn, autocommit=True) as admin,
    ):
        controller = QuantumController(resource, interval=0.1)
        most = max(settle(controller), 2 * CLIENTS)
        end = controller.steps + 15

        def kill():
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
            )
            return controller.steps >= end

        # The console tells of no errors: what is killed reads as a moment's wait for a new server.
        assert max(steer(controller, kill, "steps while connections are killed")) <= most
        assert clients.errors
        done = clients.done
        steer(controller, lambda: clients.done > done + 24, "work with new connections")


def test_a_console_that_may_only_be_read_is_measured_and_not_changed(bouncer):
    dsn = bouncer.admin_dsn.replace("user=admin", "user=viewer")
    with ConnectionPoolResource(dsn=dsn) as resource:
        assert resource.measure_state().size == 4
        with pytest.raises(ActuatorError, match="among PgBouncer's admin_users"):
            resource.apply_control(9)
        assert resource.measure_state().size == 4


def test_a_refused_password_is_told_without_the_password(server):
    with pgbouncer(server, {"admin": "another"}) as bouncer:
        by = bouncer.admin_dsn + f" password={SECRET}"
        with pytest.raises(SensorError, match="password authentication failed") as caught:
            ConnectionPoolResource(dsn=by)
        assert SECRET not in str(caught.value)
        assert caught.value.__cause__ is None


def test_passwords_come_from_libpqs_own_file_and_are_never_shown(server, tmp_path, monkeypatch, caplog):
    caplog.set_level("DEBUG")
    with pgbouncer(server, {"admin": SECRET}) as bouncer:
        passfile = tmp_path / "passwords"
        passfile.write_text(f"127.0.0.1:{bouncer.port}:pgbouncer:admin:{SECRET}\n")
        passfile.chmod(0o600)
        monkeypatch.setenv("PGPASSFILE", str(passfile))
        for dsn in (bouncer.admin_dsn, bouncer.admin_dsn + f" password={SECRET}"):
            with ConnectionPoolResource(dsn=dsn) as resource:
                resource.apply_control(3)
                resource.measure_state()
                told = [repr(resource), repr(resource._pool), repr(resource._pool._session)]
                told += [repr(resource.get_metrics()), caplog.text]
                assert SECRET not in "".join(told)


def test_a_database_with_a_size_of_its_own_is_refused(server, bouncer):
    configuration = bouncer.folder / "pgbouncer.ini"
    text = configuration.read_text().replace("dbname=postgres\n", "dbname=postgres pool_size=3\n")
    configuration.write_text(text)
    by_hand(bouncer, "RELOAD")
    with pytest.raises(ConfigError, match="pool_size=3 of its own"):
        ConnectionPoolResource(dsn=bouncer.admin_dsn, database="postgres")


def test_an_unknown_database_is_refused_with_those_there_are(bouncer):
    with pytest.raises(ConfigError, match="it has: postgres"):
        ConnectionPoolResource(dsn=bouncer.admin_dsn, database="postgers")


def test_a_postgresql_is_no_console(server):
    with pytest.raises(ConfigError, match="PgBouncer's admin console"):
        ConnectionPoolResource(dsn=server.dsn)
