"""PrometheusSource before a real Prometheus that scrapes a real target."""

from __future__ import annotations

import time

import pytest
from integration.prometheus_server import PASSWORD, USER, LocalPrometheus, Target, require_prometheus

from quantum_control.bench.server_process import wait_until
from quantum_control.core.errors import SensorError
from quantum_control.sources.prometheus import PrometheusSource

pytestmark = pytest.mark.integration


def exposed() -> str:
    two_minutes_ago = int((time.time() - 120.0) * 1000.0)
    return f"pool_busy 7\npool_nan NaN\npool_old 3 {two_minutes_ago}\n" + "".join(
        f'queue_bytes{{device="eth{i}"}} {i + 1}\n' for i in range(4)
    )


@pytest.fixture(scope="module")
def mortal():
    """Make a target that a test may take away."""
    target = Target("pool_mortal 7\n")
    yield target
    target.close()


@pytest.fixture(scope="module")
def servers(mortal):
    """Start one server for all, and one with TLS and a password; each takes 5 s to its first scrape."""
    require_prometheus()
    target = Target(exposed())
    ports = [target.port, mortal.port]
    with LocalPrometheus(ports) as server, LocalPrometheus(ports, locked=True) as locked:
        source = PrometheusSource(server.url)
        assert wait_until(lambda: answers(source, "pool_busy + on() pool_mortal"))
        source.close()
        yield server, locked
    target.close()


@pytest.fixture
def prometheus(servers):
    return servers[0]


@pytest.fixture
def source(prometheus):
    source = PrometheusSource(prometheus.url)
    yield source
    source.close()


def answers(source, expression):
    try:
        source.query(expression)
    except SensorError:
        return False
    return True


def test_any_expression_is_evaluated(source):
    assert source.query("pool_busy") == 7.0
    assert source.query("sum(queue_bytes) * 2") == 20.0
    assert source.query('queue_bytes{device=~"eth[3]"}') == 4.0
    assert source.query("absent(nothing_at_all)") == 1.0
    assert source.query("pool_busy # a comment") == 7.0


def test_many_expressions_come_in_one_round_trip(source):
    found = source.read({"busy": "pool_busy", "bytes": "sum(queue_bytes)", "again": "pool_busy"})
    assert found == {"busy": 7.0, "bytes": 10.0, "again": 7.0}


def test_a_metric_that_is_not_there_is_missing(source):
    with pytest.raises(SensorError, match="no series for 'pool_idle'"):
        source.query("pool_idle")


def test_one_of_several_expressions_that_is_missing_is_named(source):
    with pytest.raises(SensorError, match="no series for 'pool_idle'"):
        source.read({"busy": "pool_busy", "idle": "pool_idle"})


def test_several_series_are_ambiguous(source):
    with pytest.raises(SensorError, match=r"4 series for 'queue_bytes'.*device=\"eth0\""):
        source.query("queue_bytes")


def test_a_sample_with_an_old_time_of_its_own_is_stale(source, prometheus):
    with pytest.raises(SensorError, match=r"sampled 1[2-9]\d s ago"):
        source.query("pool_old")
    patient = PrometheusSource(prometheus.url, max_age=200.0)
    assert patient.query("pool_old") == 3.0
    patient.close()


def test_a_number_that_is_none_is_refused(source):
    with pytest.raises(SensorError, match="no measurement"):
        source.query("pool_nan")


@pytest.mark.parametrize(
    ("expression", "words"), [("sum(", "parse error"), ("1 + 1", "vector"), ("pool_busy[1m]", "range")]
)
def test_what_is_no_instant_vector_is_refused_in_its_words(source, expression, words):
    with pytest.raises(SensorError, match=words):
        source.query(expression)


def test_with_tls_and_a_password(servers, tmp_path):
    locked = servers[1]
    password = tmp_path / "password"
    password.write_text(PASSWORD + "\n")
    wrong = tmp_path / "wrong"
    wrong.write_text("guess")
    told = {"user": USER, "ca_file": locked.ca_file}
    source = PrometheusSource(locked.url, password=f"file:{password}", **told)
    assert wait_until(lambda: answers(source, "pool_busy"))
    source.close()
    source = PrometheusSource(locked.url, password=f"file:{wrong}", **told)
    with pytest.raises(SensorError, match="answered 401"):
        source.query("pool_busy")
    source.close()


def test_a_certificate_that_is_not_trusted_is_refused(servers):
    source = PrometheusSource(servers[1].url, retries=0)
    with pytest.raises(SensorError, match="CERTIFICATE_VERIFY_FAILED"):
        source.query("pool_busy")
    source.close()


def test_without_tls_before_a_server_that_wants_it(servers):
    source = PrometheusSource(servers[1].url.replace("+https", ""), retries=0)
    with pytest.raises(SensorError, match="no answer"):  # or a connection that is cut
        source.query("pool_busy")
    source.close()


def test_a_target_that_has_gone_is_missing_soon(source, mortal):
    assert wait_until(lambda: answers(source, "pool_mortal"))
    mortal.text = ""
    assert wait_until(lambda: not answers(source, "pool_mortal"))


def test_a_restart_is_survived(prometheus, source):
    assert source.query("pool_busy") == 7.0
    prometheus.stop()
    with pytest.raises(SensorError, match="gave no answer in 3 tries"):
        source.query("pool_busy")
    prometheus.start()
    assert wait_until(lambda: answers(source, "pool_busy"))
