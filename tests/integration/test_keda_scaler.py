"""The scaler as a process, called by a client made from the contract, over a real Prometheus."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

import pytest
from integration.prometheus_server import LocalPrometheus, Target, make_certificate, require_prometheus

from quantum_control.bench.server_process import wait_until
from quantum_control.sources.prometheus import PrometheusSource

grpc = pytest.importorskip("grpc")
from grpc_health.v1 import health_pb2, health_pb2_grpc  # noqa: E402
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (  # noqa: E402
    ProtoReflectionDescriptorDatabase,
)

from quantum_control.fleet.keda_externalscaler_pb2 import GetMetricsRequest, ScaledObjectRef  # noqa: E402
from quantum_control.fleet.keda_externalscaler_pb2_grpc import ExternalScalerStub  # noqa: E402

pytestmark = pytest.mark.integration

SECONDS = 30.0


class Scaler:
    """`quantum-control keda` as a process of its own."""

    def __init__(self, url, folder, name, *options):
        self._log = folder / f"{name}.log"
        with self._log.open("wb") as out:
            self.process = subprocess.Popen(  # noqa: S603 - our own
                [
                    *(sys.executable, "-m", "quantum_control", "keda", "--prometheus", url, "--port", "0"),
                    *("--metrics-port", "0", "--settle", "0.5", *options),
                ],
                stderr=out,
            )
        assert wait_until(lambda: "metrics at" in self.log or self.process.poll() is not None)
        self.port = int(re.search(r"at port (\d+)", self.log)[1])
        self.metrics = re.search(r"metrics at (\S+)", self.log)[1]
        self.channel = None

    @property
    def log(self):
        return self._log.read_text()

    def stub(self):
        self.channel = self.channel or grpc.insecure_channel(f"127.0.0.1:{self.port}")
        return ExternalScalerStub(self.channel)

    def stop(self, how=signal.SIGTERM):
        if self.channel is not None:
            self.channel.close()
            self.channel = None
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.process.wait(SECONDS)


def history(seconds, now, port):
    """A metric that went up and down every second until now, for promtool."""
    lines = ["# TYPE demand gauge"]
    for ago in range(seconds, 0, -1):
        value = 40 + 30 * ((int(now) - ago) // 40 % 2) + (int(now) - ago) * 7 % 5
        lines.append(f'demand{{instance="127.0.0.1:{port}",job="test"}} {value} {int(now) - ago}')
    return "\n".join([*lines, "# EOF", ""])


@pytest.fixture(scope="module")
def exposed():
    target = Target('demand 40\nwaits 0\nnegative -3\nbroken NaN\ntwo{a="1"} 1\ntwo{a="2"} 2\n')
    yield target
    target.close()


@pytest.fixture(scope="module")
def prometheus(exposed):
    require_prometheus()
    require_prometheus("promtool")
    server = LocalPrometheus([exposed.port])
    server.write("history.txt", history(1200, time.time(), exposed.port))
    server.run(
        *("promtool", "tsdb", "create-blocks-from", "openmetrics"),
        *(str(server.folder / "history.txt"), str(server.folder / "data")),
    )
    with server:
        source = PrometheusSource(server.url)
        assert wait_until(lambda: source.query("count(waits) or vector(0)") == 1.0)
        source.close()
        yield server


@pytest.fixture(scope="module")
def scaler(prometheus, tmp_path_factory):
    scaler = Scaler(prometheus.url, tmp_path_factory.mktemp("scaler"), "first")
    yield scaler
    scaler.stop()


def ref(name, **metadata):
    said = {"scalerAddress": "scaler:9465", "query": "sum(demand)", "perPod": "10", "interval": "1"}
    return ScaledObjectRef(
        name=name, namespace="shop", scalerMetadata={**said, "startup": "4", "model": "coherent", **metadata}
    )


def ask(stub, reference, name=None):
    """The answer; a new target is warmed up first, for as long as the machine takes."""
    metric = name or stub.GetMetricSpec(reference, timeout=SECONDS).metricSpecs[0].metricName
    request = GetMetricsRequest(scaledObjectRef=reference, metricName=metric)
    end = time.monotonic() + SECONDS
    while True:
        try:
            return stub.GetMetrics(request, timeout=SECONDS).metricValues[0]
        except grpc.RpcError as error:
            if "being warmed up" not in error.details() or time.monotonic() > end:
                raise
            time.sleep(0.05)


def refusal(stub, reference, name=None):
    with pytest.raises(grpc.RpcError) as caught:
        ask(stub, reference, name)
    return caught.value.code(), caught.value.details()


def test_replicas_cover_the_demand_and_the_spec_makes_one_pod_of_one(scaler):
    stub = scaler.stub()
    spec = stub.GetMetricSpec(ref("web"), timeout=SECONDS).metricSpecs[0]
    value = ask(stub, ref("web"))
    assert (spec.targetSize, spec.targetSizeFloat) == (1, 1.0)
    assert value.metricName == spec.metricName
    assert 4 <= value.metricValue <= 20
    assert value.metricValueFloat == value.metricValue


def test_two_replicas_agree_whenever_each_was_started(scaler, prometheus, exposed, tmp_path):
    stub = scaler.stub()
    names = [ref(f"agree{i}", perPod=str(3 + i)) for i in range(5)]
    before = [ask(stub, each).metricValue for each in names]
    other = Scaler(prometheus.url, tmp_path, "second")
    try:
        again = other.stub()

        def agree():
            first = [ask(stub, each).metricValue for each in names]
            theirs = [ask(again, each).metricValue for each in names]
            # Neither may have taken a point meanwhile.
            return first == theirs and first == [ask(stub, each).metricValue for each in names]

        assert all(wait_until(agree) for _ in range(3))
    finally:
        other.stop()
    assert all(before)


def test_a_restart_loses_nothing(scaler, prometheus, tmp_path):
    """Killed, not stopped; the new one has the history from Prometheus."""
    stub = scaler.stub()
    killed = Scaler(prometheus.url, tmp_path, "killed")
    ask(killed.stub(), ref("restarted", perPod="2"))
    killed.stop(signal.SIGKILL)
    fresh = Scaler(prometheus.url, tmp_path, "fresh")
    try:
        again = fresh.stub()
        reference = ref("restarted", perPod="2")
        assert wait_until(lambda: ask(again, reference).metricValue == ask(stub, reference).metricValue)
    finally:
        fresh.stop()


def _stepper(scaler):
    """Process that steps the targets."""
    children = Path(f"/proc/{scaler.process.pid}/task/{scaler.process.pid}/children").read_text().split()
    [stepper] = [pid for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    return int(stepper)


def test_the_background_gives_way_to_the_calls(scaler):
    ask(scaler.stub(), ref("kept"))
    assert os.sched_getscheduler(_stepper(scaler)) == os.SCHED_IDLE


def test_a_background_that_is_killed_is_replaced(prometheus, tmp_path):
    scaler = Scaler(prometheus.url, tmp_path, "orphaned")
    try:
        stub = scaler.stub()
        before = ask(stub, ref("kept")).metricValue
        os.kill(_stepper(scaler), signal.SIGKILL)
        assert ask(stub, ref("kept")).metricValue == before  # the last answer stands meanwhile
        assert wait_until(lambda: "starting another" in scaler.log)
        assert wait_until(lambda: _known(stub, ref("taken-up-later")))

        def seen():
            return _counter(scaler, "steps")

        first = wait_until(lambda: seen() > 0) and seen()
        assert wait_until(lambda: seen() > first)
    finally:
        assert scaler.stop() == 0


def _counter(scaler, name):
    page = urlopen(scaler.metrics, timeout=SECONDS).read().decode()  # noqa: S310 - our own
    return float(re.search(rf"^quantum_control_scaler_{name}_total (\S+)", page, re.MULTILINE)[1])


def test_activity_follows_the_demand_and_is_told_at_once(scaler, exposed):
    stub = scaler.stub()
    reference = ref("sleepy", query="waits", minReplicas="0")
    assert stub.IsActive(reference, timeout=SECONDS).result is False
    stream = stub.StreamIsActive(reference, timeout=60.0)
    assert next(stream).result is False
    text = exposed.text
    exposed.text = text.replace("waits 0", "waits 3")
    try:
        assert next(stream).result is True
    finally:
        exposed.text = text
    assert next(stream).result is False
    stream.cancel()  # as KEDA does when a ScaledObject is deleted


def test_a_stream_that_is_left_keeps_nobody_and_nothing(scaler):
    stub = scaler.stub()
    for _ in range(20):
        stream = stub.StreamIsActive(ref("left"), timeout=SECONDS)
        next(stream)
        stream.cancel()
    assert ask(stub, ref("left")).metricValue > 0


@pytest.mark.parametrize(
    ("metadata", "code", "said"),
    [
        ({"model": "optomechanics"}, "INVALID_ARGUMENT", "did you mean 'optomechanical'"),
        ({"perPod": "0"}, "INVALID_ARGUMENT", "perPod='0' is out of its range"),
        ({"perPod": "nan"}, "INVALID_ARGUMENT", "out of its range"),
        ({"perPod": "ten"}, "INVALID_ARGUMENT", "is no number"),
        ({"query": ""}, "INVALID_ARGUMENT", "query is missing"),
        ({"perpod": "3"}, "INVALID_ARGUMENT", "did you mean 'perPod'"),
        ({"serverAddress": "http://10.0.0.1:9090"}, "INVALID_ARGUMENT", "--prometheus"),
        ({"minReplicas": "5", "maxReplicas": "2"}, "INVALID_ARGUMENT", "maxReplicas='2'"),
        ({"query": "sum(demand"}, "INVALID_ARGUMENT", "refuses the expression"),
        ({"query": "two"}, "INVALID_ARGUMENT", "2 series, one is needed"),
        ({"query": "nowhere"}, "UNAVAILABLE", "no recent value"),
        ({"query": "negative"}, "UNAVAILABLE", "of 0 or more"),
        ({"query": "broken"}, "UNAVAILABLE", "no recent value"),
    ],
)
def test_bad_input_is_refused_with_the_status_and_the_reason(scaler, metadata, code, said):
    found, why = refusal(scaler.stub(), ref("bad", **metadata))
    assert (found.name, said in why) == (code, True), why


def test_a_metric_that_is_not_the_triggers_own_is_not_found(scaler):
    code, why = refusal(scaler.stub(), ref("web"), "somebody-elses")
    assert code is grpc.StatusCode.NOT_FOUND
    assert "somebody-elses" in why


def test_nothing_measured_but_a_fallback(scaler):
    assert ask(scaler.stub(), ref("fallen", query="nowhere", fallback="7")).metricValue == 7


def test_two_triggers_of_one_object_have_metrics_of_their_own(scaler):
    stub = scaler.stub()
    small, large = ref("twice", perPod="20"), ref("twice", perPod="4")
    specs = [stub.GetMetricSpec(each, timeout=SECONDS).metricSpecs[0].metricName for each in (small, large)]
    assert specs[0] != specs[1]
    assert ask(stub, small).metricValue < ask(stub, large).metricValue


def test_prometheus_down_holds_the_last_value_and_then_falls_back(prometheus, scaler, exposed, tmp_path):
    own = LocalPrometheus([exposed.port])
    with own:
        other = Scaler(own.url, tmp_path, "cut")
        try:
            stub = other.stub()
            holding, brief = ref("hold", hold="600"), ref("hold", hold="3", fallback="9")
            wait_until(lambda: _known(stub, holding))
            held = ask(stub, holding).metricValue
            ask(stub, brief)
            own.stop()
            assert wait_until(lambda: ask(stub, brief).metricValue == 9)
            assert ask(stub, holding).metricValue == held
        finally:
            other.stop()


def _known(stub, reference):
    try:
        return ask(stub, reference)
    except grpc.RpcError:
        return None


def test_health_reflection_and_metrics(scaler):
    ask(scaler.stub(), ref("web"))
    channel = scaler.channel
    health = health_pb2_grpc.HealthStub(channel)
    for service in ("", "externalscaler.ExternalScaler"):
        answer = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=SECONDS)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    assert "externalscaler.ExternalScaler" in ProtoReflectionDescriptorDatabase(channel).get_services()
    page = urlopen(scaler.metrics, timeout=SECONDS).read().decode()  # noqa: S310 - our own
    assert 'quantum_control_scaler_calls_total{method="GetMetrics",status="OK"}' in page


def test_tls_asks_callers_for_a_certificate(prometheus, tmp_path):
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    make_certificate(cert, key)
    options = ("--certificate", str(cert), "--key", str(key), "--client-ca", str(cert))
    scaler = Scaler(prometheus.url, tmp_path, "tls", *options)
    try:
        pair = (key.read_bytes(), cert.read_bytes())
        for identity, allowed in ((pair, True), ((None, None), False)):
            credentials = grpc.ssl_channel_credentials(cert.read_bytes(), *identity)
            with grpc.secure_channel(f"127.0.0.1:{scaler.port}", credentials) as channel:
                stub = ExternalScalerStub(channel)
                if allowed:
                    assert ask(stub, ref("safe")).metricValue > 0
                else:
                    assert refusal(stub, ref("safe"))[0] is grpc.StatusCode.UNAVAILABLE
    finally:
        scaler.stop()


def test_a_stop_ends_streams_in_order(prometheus, tmp_path):
    scaler = Scaler(prometheus.url, tmp_path, "stopped")
    stream = scaler.stub().StreamIsActive(ref("web"), timeout=60.0)
    next(stream)
    scaler.process.send_signal(signal.SIGTERM)
    assert list(stream) == []  # to its end, without an error: KEDA opens it again elsewhere
    assert scaler.stop() == 0
    assert "Traceback" not in scaler.log


def test_what_is_missing_at_the_start_is_told_in_a_line():
    done = subprocess.run(
        [sys.executable, "-m", "quantum_control", "keda", "--prometheus", "http://x"],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "NO_COLOR": "1"},
        check=False,
    )
    assert done.returncode == 2
    assert "prometheus://HOST:PORT" in done.stderr
