"""Whose a JVM's heap is: orders that are not answered, runs of the JVM, and what somebody else has set."""

from __future__ import annotations

from dataclasses import replace

import pytest
from core.doubles import Clock
from resources.test_jvm_heap import MIB, FakeJvm

from quantum_control.core.controller import QuantumController
from quantum_control.core.errors import ActuatorError, SafetyError
from quantum_control.core.hands import Hands
from quantum_control.core.journal import Journal
from quantum_control.core.journalled import Journalled
from quantum_control.core.recovery import Fate, recover
from quantum_control.core.writer import Writer
from quantum_control.resources import jvm_heap
from quantum_control.resources.jvm_heap import JvmHeap
from quantum_control.resources.memory import MemoryResource


class SlowJvm(FakeJvm):
    """Does as it is told, and says so too late as long as it is `late`."""

    late = False

    def set_flag(self, name, value):
        super().set_flag(name, value)
        if self.late:
            raise ActuatorError(f"setting {name}: no answer in time")

    @property
    def soft(self):
        return self.flags["SoftMaxHeapSize"]


@pytest.fixture
def jvm():
    return SlowJvm()


@pytest.fixture
def journal(tmp_path):
    kept = Journal(tmp_path / "journal.sqlite")
    yield kept
    kept.close()


def test_an_order_that_was_not_answered_and_got_there_is_ours(jvm):
    heap = JvmHeap(jvm=jvm)
    jvm.late = True
    for size in (300 * MIB, 310 * MIB):
        with pytest.raises(ActuatorError, match="no answer"):
            heap.apply_control(size)
    jvm.late = False
    assert heap.measure_state().size == 310 * MIB
    assert heap.get_metrics()["set_by_hand"] == 0.0
    jvm.flags["SoftMaxHeapSize"] = 300 * MIB  # the first of the two came after the second
    heap.apply_control(320 * MIB)
    assert jvm.soft == 320 * MIB


def test_stopping_after_an_order_that_was_not_answered_puts_the_setting_back(jvm):
    clock = Clock()
    controller = QuantumController(JvmHeap(jvm=jvm, clock=clock), clock=clock)

    def steps(count):
        for _ in range(count):
            jvm.wait()
            clock.tick()
            controller.optimize()

    steps(2)
    jvm.late = True
    steps(2)
    assert controller.failures
    assert jvm.soft != 1000 * MIB
    jvm.late = False
    controller.stop()
    assert jvm.soft == 1000 * MIB


def test_an_order_that_was_answered_is_no_excuse_for_a_later_one(jvm):
    heap = JvmHeap(jvm=jvm)
    jvm.late = True
    with pytest.raises(ActuatorError):
        heap.apply_control(300 * MIB)
    jvm.late = False
    heap.apply_control(400 * MIB)
    jvm.flags["SoftMaxHeapSize"] = 300 * MIB
    with pytest.raises(SafetyError, match="somebody else"):
        heap.apply_control(500 * MIB)


@pytest.mark.parametrize("waited", [1.0, 101.0])
def test_what_somebody_has_set_stays_at_the_end(jvm, waited):
    clock = Clock()
    heap = JvmHeap(jvm=jvm, clock=clock, hands_off=100.0)
    heap.apply_control(300 * MIB)
    jvm.flags["SoftMaxHeapSize"] = 1500 * MIB
    heap.measure_state()
    clock.tick(waited)
    if waited > 100.0:
        heap.apply_control(350 * MIB)
        assert jvm.soft == 350 * MIB
    # As `stop()` orders it: what was found first while theirs is left alone, and theirs later.
    heap.apply_control(1500 * MIB if waited > 100.0 else 1000 * MIB)
    assert jvm.soft == 1500 * MIB


def test_the_size_found_first_is_one_like_others_once_somebody_has_set_another(jvm):
    clock = Clock()
    heap = JvmHeap(jvm=jvm, clock=clock, hands_off=100.0)
    jvm.flags["SoftMaxHeapSize"] = 1500 * MIB
    heap.measure_state()
    clock.tick(101.0)
    heap.apply_control(1000 * MIB)
    assert jvm.soft == 1000 * MIB


def test_a_controller_puts_back_what_somebody_has_set(jvm):
    clock = Clock()
    controller = QuantumController(JvmHeap(jvm=jvm, clock=clock, hands_off=100.0), clock=clock)
    for _ in range(3):
        clock.tick(1.0)
        controller.optimize()
    jvm.flags["SoftMaxHeapSize"] = 1500 * MIB
    for _ in range(300):
        clock.tick(1.0)
        controller.optimize()
    assert jvm.soft != 1500 * MIB
    controller.stop()
    assert jvm.soft == 1500 * MIB


def test_what_is_set_a_second_time_and_was_not_measured_yet_stays_at_the_end_too(jvm):
    clock = Clock()
    controller = QuantumController(JvmHeap(jvm=jvm, clock=clock, hands_off=100.0), clock=clock)
    for size in (1000, 1500):
        jvm.flags["SoftMaxHeapSize"] = size * MIB
        for _ in range(300):
            clock.tick(1.0)
            controller.optimize()
    assert jvm.soft not in (1000 * MIB, 1500 * MIB)
    jvm.flags["SoftMaxHeapSize"] = 1400 * MIB
    controller.stop()
    assert jvm.soft == 1400 * MIB


def test_a_snapshot_does_not_overrule_whoever_has_set_it_just_now(jvm):
    heap = JvmHeap(jvm=jvm)
    kept = heap.snapshot()
    heap.apply_control(300 * MIB)
    jvm.flags["SoftMaxHeapSize"] = 1500 * MIB
    heap.restore(kept)
    assert jvm.soft == 1500 * MIB


def test_what_was_set_just_now_stays_at_the_end_however_short_it_is_left_alone(jvm):
    heap = JvmHeap(jvm=jvm, hands_off=0.0)
    kept = heap.snapshot()
    heap.apply_control(300 * MIB)
    jvm.flags["SoftMaxHeapSize"] = 1500 * MIB
    heap.apply_control(1000 * MIB)  # as `stop()` orders it
    assert jvm.soft == 1500 * MIB
    heap.apply_control(300 * MIB)
    jvm.flags["SoftMaxHeapSize"] = 1400 * MIB
    heap.restore(kept)
    assert jvm.soft == 1400 * MIB


def journalled(jvm, journal, clock):
    heap = MemoryResource(control="jvm", jvm=jvm, clock=clock, hands_off=100.0)
    steered = Journalled(heap, journal, "heap", "memory", {"metric_source": "jmx://far:1"})

    def step(size):
        jvm.wait()
        clock.tick()
        steered.measure_state()
        steered.apply_control(size)

    return steered, step


def test_of_a_jvm_that_came_back_the_setting_that_it_had_then_is_put_back(jvm, journal):
    steered, step = journalled(jvm, journal, Clock())
    step(300 * MIB)
    jvm.restart(700 * MIB)
    steered.measure_state()
    assert journal.originals() == []  # nothing of ours is in force in this run
    step(320 * MIB)
    (kept,) = journal.originals()
    assert kept.size == 700 * MIB
    steered.put_back()
    assert jvm.soft == 700 * MIB
    assert journal.originals() == []


def test_a_fresh_process_puts_back_what_a_killed_one_found_in_the_second_run(jvm, journal):
    steered, step = journalled(jvm, journal, Clock())
    step(300 * MIB)
    jvm.restart(700 * MIB)
    steered.measure_state()
    step(320 * MIB)
    assert jvm.soft == 320 * MIB
    JvmHeap(jvm=jvm).restore(journal.originals()[0].snapshot)
    assert jvm.soft == 700 * MIB


def test_the_journal_has_what_somebody_set_and_not_what_was_before(jvm, journal):
    clock = Clock()
    steered, step = journalled(jvm, journal, clock)
    step(300 * MIB)
    jvm.flags["SoftMaxHeapSize"] = 1500 * MIB
    steered.measure_state()
    assert journal.originals() == []
    clock.tick(101.0)
    step(320 * MIB)
    JvmHeap(jvm=jvm).restore(journal.originals()[0].snapshot)  # as after a crash
    assert jvm.soft == 1500 * MIB


def test_a_hand_between_the_last_measurement_and_the_end_is_left(jvm, journal):
    steered, step = journalled(jvm, journal, Clock())
    step(300 * MIB)
    jvm.flags["SoftMaxHeapSize"] = 1500 * MIB
    steered.put_back()
    assert jvm.soft == 1500 * MIB
    assert journal.originals() == []


@pytest.mark.parametrize(
    ("pid", "source", "outlives"),
    [(7, None, False), (7, "jmx://far:1", False), (None, "jmx://far:1", True)]
    + [(None, f"jmx://{here}:1", False) for here in ("localhost", "127.0.0.2", "[::1]")],
)
def test_what_may_be_on_another_machine_outlives_a_restart_of_this_one(
    jvm, journal, monkeypatch, pid, source, outlives
):
    monkeypatch.setattr(jvm_heap, "open_jvm", lambda process_id, metric_source: jvm)
    front = MemoryResource(pid, source, control="jvm")
    assert front.outlives_boot == outlives
    steered = Journalled(front, journal, "heap", "memory", {})
    steered.measure_state()
    steered.apply_control(300 * MIB)
    (kept,) = journal.originals()
    before = replace(kept, writer=Writer(1, 1, "another boot"))
    fate = recover(journal, before, lambda _: MemoryResource(control="jvm", jvm=jvm)).fate
    assert fate is (Fate.RESTORED if outlives else Fate.REBOOTED)
    assert jvm.soft == (1000 * MIB if outlives else 300 * MIB)


def test_another_run_is_told_apart_from_a_hand_by_the_front_too(jvm):
    front = MemoryResource(control="jvm", jvm=jvm)
    jvm.flags["SoftMaxHeapSize"] = 1500 * MIB
    front.measure_state()
    assert (front.found_anew, front.started_anew) == (1, (0, 0))
    for starts, soft, size in ((1, 700, 700), (2, 0, 2000)):
        jvm.restart(soft * MIB)
        jvm.reading = replace(jvm.reading, started=1.0 + starts)
        front.measure_state()
        assert front.started_anew == (starts, size * MIB)


def test_a_smaller_largest_heap_after_a_restart_bounds_demand_and_orders(jvm):
    heap = JvmHeap(jvm=jvm)
    jvm.restart(400 * MIB, maximum=400 * MIB)
    heap.measure_state()
    assert heap.max_size == 400 * MIB
    heap.apply_control(900 * MIB)
    assert jvm.soft == 400 * MIB
    jvm.rate = 1e12
    jvm.wait()
    assert heap.measure_state().demand <= 400 * MIB


def test_after_a_restart_with_a_smaller_largest_heap_nothing_above_it_is_ordered(jvm):
    clock = Clock()
    heap = MemoryResource(control="jvm", jvm=jvm, clock=clock)
    hands = Hands(3600.0, lambda: heap.started_anew)
    controller = QuantumController(heap, clock=clock, links=(hands,))
    ordered = []
    for step in range(100):
        if step == 50:
            jvm.restart(333 * MIB, maximum=400 * MIB)
        jvm.wait()
        clock.tick()
        ordered.append(controller.optimize().allowed)
    assert max(ordered[:50]) > 400 * MIB
    assert max(ordered[50:]) == 400 * MIB
    assert not hands.keeps  # what is less than ordered would be taken for a hand's


def test_bounds_that_were_asked_for_hold_in_a_larger_run_too(jvm):
    heap = JvmHeap(jvm=jvm, max_heap=600 * MIB)
    jvm.restart(400 * MIB, maximum=4000 * MIB)
    heap.measure_state()
    assert heap.max_size == 600 * MIB
