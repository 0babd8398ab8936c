"""What MemoryResource chooses by itself, and what it hands on."""

from __future__ import annotations

import os

import pytest
from resources.test_jvm_heap import MIB, FakeJvm

from quantum_control.core.errors import ConfigError, GoneError, SensorError
from quantum_control.resources import memory
from quantum_control.resources.memory import MemoryResource
from quantum_control.sources import hsperfdata


def test_the_front_chooses_by_what_is_given():
    with pytest.raises(ConfigError, match="needs process_id="):
        MemoryResource()
    with pytest.raises(ConfigError, match="did you mean 'jvm'"):
        MemoryResource(control="jwm")
    with pytest.raises(SensorError, match="there is no process"):
        MemoryResource(process_id=2**22 + 1, control="jvm")
    with pytest.raises(ConfigError, match="price"):
        MemoryResource(jvm=FakeJvm(), control="jvm", price=-1.0)
    with pytest.raises(ConfigError, match="nonsense"):
        MemoryResource(control="jvm", nonsense=1)


def test_the_front_passes_everything_on():
    jvm = FakeJvm()
    with MemoryResource(control="jvm", jvm=jvm) as memory:
        jvm.wait()
        assert memory.measure_state().size == 1000 * MIB
        memory.apply_control(500 * MIB)
        assert memory.get_metrics()["live_bytes"] == 200 * MIB
        assert (memory.unit, memory.max_size) == ("bytes", 2000 * MIB)
        memory.restore(memory.snapshot())
        assert jvm.flags["SoftMaxHeapSize"] == 1000 * MIB
    assert jvm.closed


def no_counters(pid):
    raise SensorError(f"process {pid} has no hsperfdata file")


def test_a_jvm_without_counters_is_not_taken_for_any_other_process(monkeypatch):
    monkeypatch.setattr(memory, "is_jvm", lambda pid: True)
    monkeypatch.setattr(hsperfdata, "read", no_counters)
    with pytest.raises(ConfigError, match=r'has no hsperfdata file.*metric_source=.*control="cgroup"'):
        MemoryResource(process_id=os.getpid())


def test_a_process_that_may_not_be_looked_at_needs_a_word(monkeypatch):
    def refuse(pid):
        raise SensorError(f"process {pid} may not be looked at")

    monkeypatch.setattr(memory, "is_jvm", refuse)
    with pytest.raises(SensorError, match=r'may not be looked at; or give control="cgroup"'):
        MemoryResource(process_id=os.getpid())


def test_a_process_that_has_ended_is_gone_whatever_it_was(monkeypatch):
    with pytest.raises(GoneError, match="there is no process"):
        MemoryResource(process_id=2**22 + 1)
    monkeypatch.setattr(memory, "is_jvm", lambda pid: True)
    with pytest.raises(GoneError, match="there is no process"):
        MemoryResource(process_id=2**22 + 1)
