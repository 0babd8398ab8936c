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
    assert one.possible


def test_a_collector_that_cannot_be_steered_is_named_with_what_to_do(monkeypatch):
    (one,) = found(monkeypatch, (12, counters(**{"java.rt.vmArgs": "-XX:+UseSerialGC"})))
    assert "Serial; needs -XX:+UseZGC" in one.note
    assert not one.possible


@pytest.mark.parametrize(
    "more",
    [
        {"java.rt.vmArgs": "-XX:+UseG1GC"},
        {"java.rt.vmArgs": "", "sun.gc.collector.0.name": "G1 young collection pauses"},
    ],
)
def test_of_g1_it_is_told_that_it_follows_slowly(monkeypatch, more):
    (one,) = found(monkeypatch, (12, counters(**more)))
    assert one.note.endswith("G1; follows by its free ratios, slower than ZGC or Shenandoah")
    assert one.possible


@pytest.mark.parametrize(
    ("name", "collector"), [("Z concurrent cycle pauses", "ZGC"), ("Shenandoah full", "Shenandoah")]
)
def test_the_counters_tell_a_collector_that_no_option_asked_for(monkeypatch, name, collector):
    (one,) = found(monkeypatch, (12, counters(**{"java.rt.vmArgs": "", "sun.gc.collector.2.name": name})))
    assert one.note.endswith(collector)
    assert one.possible


def test_a_collector_that_nothing_tells_is_not_promised(monkeypatch):
    (one,) = found(monkeypatch, (12, counters(**{"java.rt.vmArgs": ""})))
    assert "default collector; needs" in one.note
    assert not one.possible


def test_none_are_none(monkeypatch):
    assert found(monkeypatch) == []
