"""The contract of KEDA as it is on the wire, and the modules made from it."""

import pytest

pytest.importorskip("grpc")

from quantum_control.fleet import keda_externalscaler_pb2 as contract

WIRE = {
    "ScaledObjectRef": {"name": (1, 9), "namespace": (2, 9), "scalerMetadata": (3, 11)},
    "IsActiveResponse": {"result": (1, 8)},
    "GetMetricSpecResponse": {"metricSpecs": (1, 11)},
    "MetricSpec": {"metricName": (1, 9), "targetSize": (2, 3), "targetSizeFloat": (3, 1)},
    "GetMetricsRequest": {"scaledObjectRef": (1, 11), "metricName": (2, 9)},
    "GetMetricsResponse": {"metricValues": (1, 11)},
    "MetricValue": {"metricName": (1, 9), "metricValue": (2, 3), "metricValueFloat": (3, 1)},
}
"""Number and type of each field; 1 double, 3 int64, 8 bool, 9 string, 11 message."""


def test_messages_have_the_published_fields():
    messages = contract.DESCRIPTOR.message_types_by_name
    found = {
        name: {field.name: (field.number, field.type) for field in message.fields}
        for name, message in messages.items()
    }
    assert found == WIRE


def test_the_service_has_the_published_calls():
    service = contract.DESCRIPTOR.services_by_name["ExternalScaler"]
    assert service.full_name == "externalscaler.ExternalScaler"
    assert {method.name: method.server_streaming for method in service.methods} == {
        "IsActive": False,
        "StreamIsActive": True,
        "GetMetricSpec": False,
        "GetMetrics": False,
    }


def test_the_modules_are_those_that_the_contract_makes():
    pytest.importorskip("grpc_tools")
    from quantum_control.fleet.keda_stubs import CONTRACT, ROOT, stubs

    made = stubs()
    assert len(made) == 3
    for name, text in made.items():
        assert (ROOT / CONTRACT.parent / name).read_text(encoding="utf-8") == text
