"""What discovery says of the JVMs that it sees."""

from __future__ import annotations

import pytest

from quantum_control.resources import find_memory
from quantum_control.sources import hsperfdata

MIB = 2**20


def counters(**more):
    return {
        "sun.rt.javaCommand": "/opt/app/server.jar --password=hunter2",
        "java.rt.vmArgs": "-XX:+UseZGC -Xmx1g",
        "sun.gc.generation.1.capacity": 300 * MIB,
        "sun.gc.generation.1.maxCapacity": 1024 * MIB,
        "sun.gc.generation.1.space.0.capacity": 300 * MIB,
    } | more


def found(monkeypatch, *jvms):
    monkeypatch.setattr(hsperfdata, "running", lambda: iter(jvms))
    monkeypatch.setattr(find_memory, "GROUPS", "quantum_control.resources.no_such_module")
    return list(find_memory.find())


def test_a_jvm_is_found_with_what_steers_it_and_without_its_arguments(monkeypatch):
    (one,) = found(monkeypatch, (12, counters()))
    assert (one.kind, one.name) == ("memory", "jvm-12")
    assert one.options == {"process_id": 12, "control": "jvm"}
    assert one.note == "server.jar, 300 MiB of heap, ZGC"


@pytest.mark.parametrize(
    ("more", "collector"),
    [
        ({"java.rt.vmArgs": "-XX:+UseG1GC"}, "G1"),
        ({"java.rt.vmArgs": "", "sun.gc.collector.0.name": "G1 young collection pauses"}, "G1"),
        ({"java.rt.vmArgs": "-XX:+UseSerialGC"}, "Serial"),
    ],
)
def test_a_collector_that_does_not_heed_the_flag_is_named_with_what_to_do(monkeypatch, more, collector):
    (one,) = found(monkeypatch, (12, counters(**more)))
    assert f"{collector}; needs -XX:+UseZGC" in one.note


@pytest.mark.parametrize(
    ("name", "collector"), [("Z concurrent cycle pauses", "ZGC"), ("Shenandoah full", "Shenandoah")]
)
def test_the_counters_tell_a_collector_that_no_option_asked_for(monkeypatch, name, collector):
    (one,) = found(monkeypatch, (12, counters(**{"java.rt.vmArgs": "", "sun.gc.collector.2.name": name})))
    assert one.note.endswith(collector)


def test_none_are_none(monkeypatch):
    assert found(monkeypatch) == []
