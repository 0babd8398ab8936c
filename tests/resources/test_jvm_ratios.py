"""The free ratios that stand in for SoftMaxHeapSize where the collector is G1."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from resources.test_jvm_heap import MIB, FakeJvm

from quantum_control.core.controller import QuantumController
from quantum_control.core.errors import ActuatorError, ConfigError, SafetyError, SensorError
from quantum_control.resources import jvm_heap
from quantum_control.resources.jvm_heap import JvmHeap
from quantum_control.resources.jvm_ratios import MAX_RATIO, MIN_RATIO, MOST, FreeRatios, free_ratio

FOUND = (40, 70)


class FakeG1(FakeJvm):
    """Refuses a least ratio above the most, and a name that is in `refused`."""

    def __init__(self):
        super().__init__(collector="G1")
        self.flags |= dict(zip((MIN_RATIO, MAX_RATIO), FOUND, strict=True))
        self.refused = set()
        self.sets = 0
        self.silent_after = None  # answers of sets, after which one more is done and none answered

    @property
    def ratios(self):
        return self.flags[MIN_RATIO], self.flags[MAX_RATIO]

    def set_flag(self, name, value):
        wanted = self.flags | {name: value}
        self.sets += 1
        if name in self.refused or not 0 <= wanted[MIN_RATIO] <= wanted[MAX_RATIO] <= 100:
            raise ActuatorError(f"{name}={value} is refused")
        if self.silent_after is not None and self.sets > self.silent_after + 1:
            raise ActuatorError("no answer in time")
        self.flags = wanted
        if self.silent_after is not None and self.sets > self.silent_after:
            raise ActuatorError("no answer in time, though it is done")


@pytest.fixture
def jvm():
    return FakeG1()


@given(live=st.floats(0.0, 1e12), size=st.floats(0.0, 1e12))
def test_the_ratio_is_what_is_free_within_bounds(live, size):
    ratio = free_ratio(live, size)
    assert 0 <= ratio <= MOST
    if 0 < ratio < MOST:
        assert ratio == pytest.approx(100.0 * (1.0 - live / size), abs=0.51)


@pytest.mark.parametrize("size", [210 * MIB, 300 * MIB, 400 * MIB, 2000 * MIB - 1, 100 * MIB])
def test_a_size_is_set_by_the_ratios_whichever_they_were(jvm, size):
    heap = JvmHeap(jvm=jvm)
    assert heap.measure_state().size == 2000 * MIB
    for each in (size, 400 * MIB, size):
        heap.apply_control(each)
        assert jvm.ratios == (free_ratio(200 * MIB, each),) * 2
        assert heap.measure_state().size == each
    assert jvm.flags["SoftMaxHeapSize"] == 1000 * MIB
    heap.apply_control(2000 * MIB)
    assert jvm.ratios == FOUND


def test_a_live_set_that_changes_renews_them(jvm):
    heap = JvmHeap(jvm=jvm)
    heap.apply_control(400 * MIB)
    jvm.reading = replace(jvm.reading, live=300.0 * MIB)
    assert heap.measure_state().size == 400 * MIB
    assert jvm.ratios == (25, 25)
    jvm.refused = {MIN_RATIO, MAX_RATIO}
    jvm.reading = replace(jvm.reading, live=100.0 * MIB)
    with pytest.raises(SensorError, match="renewing the free ratios"):
        heap.measure_state()


def test_before_a_collection_what_is_used_stands_in_for_what_lives(jvm):
    jvm.reading = replace(jvm.reading, live=float("nan"), used=100 * MIB)
    JvmHeap(jvm=jvm).apply_control(400 * MIB)
    assert jvm.ratios == (75, 75)


@pytest.mark.parametrize("refused", [MIN_RATIO, MAX_RATIO])
@pytest.mark.parametrize("size", [210 * MIB, 1000 * MIB])
def test_of_the_two_both_are_set_or_neither(jvm, refused, size):
    heap = JvmHeap(jvm=jvm)
    jvm.refused = {refused}
    with pytest.raises(ActuatorError, match=refused):
        heap.apply_control(size)
    assert jvm.ratios == FOUND


def test_stopping_puts_the_very_ratios_back(jvm):
    now = [0.0]
    controller = QuantumController(JvmHeap(jvm=jvm, clock=lambda: now[0]), clock=lambda: now[0])
    for _ in range(20):
        jvm.wait()
        now[0] += 1.0
        controller.optimize()
    assert controller.failures == 0
    assert jvm.ratios[0] == jvm.ratios[1]
    controller.stop()
    assert jvm.ratios == FOUND


def test_a_snapshot_is_put_back_from_another_process(jvm):
    killed = JvmHeap(jvm=jvm)
    kept = killed.snapshot()
    killed.apply_control(300 * MIB)
    fresh = JvmHeap(jvm=jvm)
    for wrong in ({}, {"ratios": [70, 40]}, {"ratios": "40"}):
        with pytest.raises(ConfigError, match="free ratios"):
            fresh.restore({name: kept[name] for name in ("flag", "value", "started")} | wrong)
    fresh.restore(kept)
    assert jvm.ratios == FOUND


def test_ratios_set_by_somebody_else_are_left_alone(jvm, caplog):
    heap = JvmHeap(jvm=jvm)
    heap.apply_control(400 * MIB)
    jvm.flags |= {MIN_RATIO: 10, MAX_RATIO: 20}
    assert heap.measure_state().size == 250 * MIB
    jvm.reading = replace(jvm.reading, live=100.0 * MIB)
    for _ in range(2):
        heap.measure_state()
        with pytest.raises(SafetyError, match="somebody else"):
            heap.apply_control(300 * MIB)
    assert jvm.ratios == (10, 20)
    assert len(caplog.records) == 1


@pytest.mark.parametrize("size", [250 * MIB, 2000 * MIB])
@pytest.mark.parametrize("answered", [0, 1])
def test_ratios_that_were_set_halfway_or_without_an_answer_are_ours(jvm, caplog, answered, size):
    heap = JvmHeap(jvm=jvm)
    heap.apply_control(430 * MIB)
    jvm.sets, jvm.silent_after = 0, answered
    with pytest.raises(ActuatorError, match="no answer"):
        heap.apply_control(size)
    assert jvm.ratios != (53, 53)
    jvm.silent_after = None
    heap.measure_state()
    assert heap.get_metrics()["set_by_hand"] == 0.0
    assert caplog.records == []
    heap.apply_control(2000 * MIB)
    assert jvm.ratios == FOUND


def test_a_put_back_that_is_refused_leaves_the_ratios_ours(jvm, caplog):
    heap = JvmHeap(jvm=jvm)
    heap.apply_control(430 * MIB)
    jvm.refused = {MIN_RATIO, MAX_RATIO}
    with pytest.raises(ActuatorError):
        heap.apply_control(2000 * MIB)
    jvm.refused = set()
    assert heap.measure_state().size == 430 * MIB
    assert caplog.records == []
    heap.apply_control(2000 * MIB)
    assert jvm.ratios == FOUND


def test_ratios_that_somebody_else_has_set_are_what_is_put_back(jvm):
    now = [0.0]
    heap = JvmHeap(jvm=jvm, clock=lambda: now[0], hands_off=100.0)
    heap.apply_control(400 * MIB)
    jvm.flags |= {MIN_RATIO: 10, MAX_RATIO: 20}
    theirs = round(heap.measure_state().size)
    now[0] = 101.0
    heap.apply_control(400 * MIB)
    assert jvm.ratios == (50, 50)
    kept = heap.snapshot()
    heap.apply_control(theirs)
    assert jvm.ratios == (10, 20)
    heap.apply_control(400 * MIB)
    JvmHeap(jvm=jvm).restore(kept)
    assert jvm.ratios == (10, 20)


def test_a_jvm_that_came_back_and_cannot_be_asked_at_once_has_its_own_ratios_later(jvm):
    ratios = FreeRatios(jvm)
    ratios.read()
    ratios.set_flag("SoftMaxHeapSize", 400 * MIB)
    jvm.flags |= {MIN_RATIO: 30, MAX_RATIO: 60}
    jvm.restart(1000 * MIB)

    def gone(name):
        raise SensorError(f"gone before {name} was asked for")

    jvm.flag = gone
    with pytest.raises(SensorError, match="gone"):
        ratios.read()
    del jvm.flag
    ratios.read()
    assert ratios.original == (30, 60)


def test_a_jvm_that_came_back_has_its_own_ratios(jvm):
    heap = JvmHeap(jvm=jvm)
    heap.apply_control(400 * MIB)
    jvm.flags |= {MIN_RATIO: 30, MAX_RATIO: 60}
    jvm.restart(1000 * MIB)
    assert heap.measure_state().size == 2000 * MIB
    heap.apply_control(400 * MIB)
    heap.apply_control(2000 * MIB)
    assert jvm.ratios == (30, 60)


def test_a_jvm_that_cannot_be_asked_is_not_set(jvm):
    ratios = FreeRatios(jvm)
    jvm.error = SensorError("gone")
    for value in (0, 400 * MIB):
        with pytest.raises(ActuatorError, match="gone"):
            ratios.set_flag("SoftMaxHeapSize", value)


def test_other_flags_and_the_rest_are_the_jvms_own(jvm):
    ratios = FreeRatios(jvm)
    ratios.set_flag(MAX_RATIO, 80)
    assert ratios.flag(MAX_RATIO) == 80
    assert ratios.collector() == "G1"
    assert repr(ratios) == repr(jvm)
    ratios.collect()
    ratios.close()
    assert jvm.collected
    assert jvm.closed


def test_over_jmx_it_is_the_same(jvm, monkeypatch):
    monkeypatch.setattr(jvm_heap, "open_jvm", lambda process_id, metric_source: jvm)
    heap = JvmHeap(metric_source="jmx://127.0.0.1:1")
    heap.apply_control(400 * MIB)
    assert jvm.ratios == (50, 50)


def test_a_collector_that_heeds_neither_is_refused(jvm):
    jvm.kind = "Parallel"
    with pytest.raises(ConfigError, match="runs Parallel, which does not heed SoftMaxHeapSize"):
        JvmHeap(jvm=jvm)
    assert jvm.closed
