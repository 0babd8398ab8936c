"""The same metrics through OpenTelemetry's SDK: what is told, where to, and what is told no more."""

from __future__ import annotations

import gc
import threading

import pytest
from core.doubles import Clock, Pool
from forked import in_child

pytest.importorskip("opentelemetry.sdk.metrics", reason="pip install 'quantum-control[opentelemetry]'")

from monitoring.otlp_receiver import Receiver
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from quantum_control import QuantumController
from quantum_control.core.chain import Pause
from quantum_control.core.errors import ConfigError
from quantum_control.monitoring.families import FAMILIES
from quantum_control.monitoring.opentelemetry import export, instrument_name
from quantum_control.monitoring.prometheus import ControllerCollector

PATIENCE = 60.0


def stepped(resource=None, steps=3, **options):
    clock = Clock()
    controller = QuantumController(resource or Pool(10, 8.0, most=50), clock=clock, **options)
    for _ in range(steps):
        clock.tick()
        controller.optimize()
    return controller


@pytest.fixture
def reader():
    return InMemoryMetricReader()


@pytest.fixture
def provider(reader):
    provider = MeterProvider([reader], shutdown_on_exit=False)
    yield provider
    provider.shutdown()


def told(reader):
    """Values by instrument and attributes."""
    data = reader.get_metrics_data()
    return {
        (metric.name, tuple(sorted(point.attributes.items()))): point.value
        for each in (data.resource_metrics if data else ())
        for scope in each.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
    }


def test_it_tells_what_the_prometheus_exporter_tells(reader, provider):
    pause = Pause()
    pause.why = "paused by hand"
    controller = stepped(Pool(10, 30.0, most=50), links=[pause])
    export(named={"workers": controller}, provider=provider)
    collector = ControllerCollector()
    collector.add(controller, "workers")
    expected = {
        (instrument_name(family), tuple(sorted(sample.labels.items()))): float(sample.value)
        for family, metric in zip(FAMILIES, collector.collect(), strict=True)
        for sample in metric.samples
    }
    assert len(expected) > 30
    assert told(reader) == pytest.approx(expected)


def test_counters_only_grow_and_have_units(reader, provider):
    controller = stepped()
    export(controller, provider=provider)
    scope = reader.get_metrics_data().resource_metrics[0].scope_metrics[0]
    metrics = {metric.name: metric for metric in scope.metrics}
    assert metrics["quantum_control.step_seconds"].unit == "s"
    assert metrics["quantum_control.steps"].data.is_monotonic
    assert not hasattr(metrics["quantum_control.size"].data, "is_monotonic")
    assert scope.scope.name == "quantum_control"


def test_series_vanish_with_their_controller(reader, provider):
    kept, gone, removed = (stepped() for _ in range(3))
    exporter = export(named={"kept": kept, "gone": gone, "removed": removed}, provider=provider)

    def names():
        return {dict(attributes)["resource"] for _, attributes in told(reader)}

    assert names() == {"kept", "gone", "removed"}
    exporter.remove("removed")
    del gone
    gc.collect()
    assert names() == {"kept"}


def test_what_is_not_known_is_left_out(reader, provider):
    controller = stepped()
    export(controller, provider=provider)
    assert told(reader)
    assert not [name for name, _ in told(reader) if name == "quantum_control.wait_seconds"]


def test_what_is_no_number_keeps_nobody_else_from_being_told(reader, provider):
    sound, faulty = stepped(), stepped()
    sound.metrics, faulty.metrics = {"lag": 2.0}, {"lag": "long"}
    export(named={"sound": sound, "faulty": faulty}, provider=provider)
    found = told(reader)
    figures = {attributes: value for (name, attributes), value in found.items() if name.endswith("figure")}
    assert figures == {(("figure", "lag"), ("resource", "sound")): 2.0}
    assert ("quantum_control.size", (("resource", "faulty"),)) in found


def test_a_providers_own_is_left_open(reader, provider):
    controller = stepped()
    with export(controller, provider=provider) as exporter:
        assert told(reader)
    exporter.close()
    assert not told(reader)
    assert export(controller, provider=provider) is exporter
    assert told(reader)


def test_a_second_call_for_a_provider_adds_to_the_first(reader, provider):
    first, second = stepped(), stepped()
    export(named={"first": first}, provider=provider)
    export(named={"second": second}, provider=provider)
    assert {dict(attributes)["resource"] for _, attributes in told(reader)} == {"first", "second"}


def test_where_two_would_have_one_name_a_provider_has_what_it_had_before(reader, provider):
    first, second, third = stepped(), stepped(), stepped()
    export(named={"first": first}, provider=provider)
    with pytest.raises(ConfigError, match="'first' already"):
        export(second, named={"first": third}, provider=provider)
    assert {dict(attributes)["resource"] for _, attributes in told(reader)} == {"first"}


@pytest.fixture
def receiver():
    with Receiver() as receiver:
        yield receiver


def test_one_call_pushes_it_to_a_collector(receiver, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20sesame")
    monkeypatch.delenv("OTEL_SERVICE_NAME", raising=False)
    controller = stepped()
    with export(named={"mail": controller}, endpoint=receiver.endpoint, every=0.1):
        assert receiver.come.wait(PATIENCE)
        assert receiver.values("quantum_control.size") == {(("resource", "mail"),): controller.size}
        assert receiver.values("quantum_control.steps") == {(("resource", "mail"),): 3.0}
    path, headers = receiver.headers[0]
    assert path == "/v1/metrics"
    assert {name.lower(): value for name, value in headers.items()}["authorization"] == "Bearer sesame"
    origin = {
        each.key: each.value.string_value
        for each in receiver.requests[0].resource_metrics[0].resource.attributes
    }
    assert origin["service.name"] == "quantum_control"


def test_what_is_left_is_sent_at_the_end(receiver):
    controller = stepped()
    exporter = export(named={"mail": controller}, endpoint=receiver.endpoint, every=3600.0)
    assert not receiver.requests
    exporter.close()
    assert receiver.values("quantum_control.steps") == {(("resource", "mail"),): 3.0}
    exporter.close()


def test_where_two_would_have_one_name_nothing_goes_on_pushing(receiver):
    first, second = stepped(), stepped()
    with pytest.raises(ConfigError, match="'Pool' already"):
        export(first, named={"Pool": second}, endpoint=receiver.endpoint, every=3600.0)
    assert not [each for each in threading.enumerate() if each.name.startswith("Otel")]
    assert not receiver.requests


def test_the_environment_may_name_the_service(receiver, monkeypatch):
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")
    controller = stepped()
    export(controller, endpoint=receiver.endpoint, every=3600.0).close()
    origin = {
        each.key: each.value.string_value
        for each in receiver.requests[0].resource_metrics[0].resource.attributes
    }
    assert origin["service.name"] == "shop"


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"endpoint": "127.0.0.1:4318"}, "http://HOST:PORT"),
        ({"endpoint": "http://127.0.0.1:port"}, "http://HOST:PORT"),
        ({"endpoint": "http://ali:sesame@127.0.0.1:4318"}, "no user and password"),
        ({"every": 0.0}, "seconds between two pushes"),
        ({"every": float("nan")}, "seconds between two pushes"),
    ],
)
def test_what_is_wrong_is_told(wrong, why):
    with pytest.raises(ConfigError, match=why) as told:
        export(**wrong)
    assert "sesame" not in str(told.value)


def test_a_forked_child_tells_of_what_it_steers_itself_alone(reader, provider):
    parents, own = stepped(), stepped()
    export(named={"parents": parents, "own": own}, provider=provider)

    def child():
        own.optimize()
        assert {dict(attributes)["resource"] for _, attributes in told(reader)} == {"own"}

    assert in_child(child) == 0
    assert {dict(attributes)["resource"] for _, attributes in told(reader)} == {"own", "parents"}
