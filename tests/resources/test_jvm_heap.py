"""JvmHeap before a JVM of our own making: what it reports, sets, notices and puts back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from quantum_control.core.controller import QuantumController
from quantum_control.core.errors import ActuatorError, ConfigError, SafetyError, SensorError
from quantum_control.resources.jvm_heap import JvmHeap
from quantum_control.resources.jvm_reading import HeapReading

MIB = 2**20


class FakeJvm:
    """A collector that takes rate·cost/(heap - live) cores."""

    def __init__(self, soft=1000 * MIB, collector="ZGC", live=200.0 * MIB, rate=400.0 * MIB):
        self.flags = {"SoftMaxHeapSize": soft}
        self.live, self.rate, self.seconds = live, rate, 0.2
        self.kind = collector
        self.collected = 0
        self.closed = False
        self.error = None
        self.stuck = False
        self.reading = HeapReading(
            started=1.0,
            time=10.0,
            used=int(live),
            committed=1000 * MIB,
            maximum=2000 * MIB,
            live=live,
            allocated=0.0,
            collections=1,
            pause_seconds=0.0,
            collector_seconds=0.0,
        )

    def read(self):
        if self.error:
            raise self.error
        return self.reading

    def wait(self, seconds=1.0):
        heap = min(self.flags["SoftMaxHeapSize"] or self.reading.maximum, self.reading.maximum)
        cores = min(1.0, self.rate * self.seconds / max(heap - self.live, 0.01 * self.live))
        last = self.reading
        self.reading = replace(
            last,
            time=last.time + seconds,
            used=int(self.live),
            live=self.live,
            allocated=last.allocated + self.rate * seconds,
            collections=last.collections + 1,
            collector_seconds=last.collector_seconds + cores * seconds,
        )

    def restart(self, soft, maximum=2000 * MIB):
        self.flags["SoftMaxHeapSize"] = soft
        self.reading = replace(
            self.reading,
            started=2.0,
            time=0.5,
            maximum=maximum,
            allocated=0.0,
            collections=0,
            collector_seconds=0.0,
        )

    def flag(self, name):
        if self.error:
            raise self.error
        return self.flags[name]

    def set_flag(self, name, value):
        self.flags[name] = value

    def collector(self):
        return self.kind

    def collect(self):
        self.collected += 1
        if self.stuck:
            raise ActuatorError("asking for a collection: no answer in time")

    def close(self):
        self.closed = True


@pytest.fixture
def jvm():
    return FakeJvm()


@pytest.fixture
def clock():
    class Clock:
        now = 0.0

        def __call__(self):
            return self.now

    return Clock()


def steer(jvm, clock, steps, **options):
    heap = JvmHeap(jvm=jvm, clock=clock, **options)
    controller = QuantumController(heap, clock=clock)
    for _ in range(steps):
        jvm.wait()
        clock.now += 1.0
        controller.optimize()
    return heap, controller


def best(jvm, price):
    return jvm.live + (jvm.rate * jvm.seconds / (price / 2**30)) ** 0.5


@pytest.mark.parametrize("soft", [250 * MIB, 1900 * MIB])
def test_the_heap_settles_where_collecting_and_memory_are_in_balance(jvm, clock, soft):
    jvm.flags["SoftMaxHeapSize"] = soft
    heap, controller = steer(jvm, clock, 60, price=0.2)
    assert controller.failures == 0
    assert jvm.flags["SoftMaxHeapSize"] == pytest.approx(best(jvm, 0.2), rel=0.05)
    figures = heap.get_metrics()
    # Balance: the collector takes as much as its room is worth.
    assert figures["gc_cores"] == pytest.approx(
        0.2 * (heap.get_metrics()["worth_bytes"] - jvm.live) / 2**30, rel=0.1
    )


def test_giving_memory_back_is_counted_but_no_reason_to_keep_more(jvm, clock):
    heap = JvmHeap(jvm=jvm, clock=clock)
    for returned in (0.0, 0.5):
        jvm.wait()
        spent = jvm.reading.collector_seconds + returned
        jvm.reading = replace(jvm.reading, collector_seconds=spent, returning_seconds=returned)
        heap.measure_state()
        if not returned:
            before = heap.get_metrics()
    after = heap.get_metrics()
    assert after["gc_cores"] == pytest.approx(before["gc_cores"] + 0.5)
    assert after["collection_seconds"] == pytest.approx(before["collection_seconds"])


def test_it_follows_the_live_set_up_at_once_and_down_in_a_while(jvm, clock):
    _, controller = steer(jvm, clock, 40)
    jvm.live *= 2.5
    for _ in range(4):
        jvm.wait()
        clock.now += 1.0
        controller.optimize()
    grown = jvm.flags["SoftMaxHeapSize"]
    assert grown > 0.9 * best(jvm, 0.11)
    jvm.live /= 2.5
    jvm.wait()
    clock.now += 1.0
    controller.optimize()
    assert jvm.flags["SoftMaxHeapSize"] > 0.6 * grown
    for _ in range(30):
        jvm.wait()
        clock.now += 1.0
        controller.optimize()
    assert jvm.flags["SoftMaxHeapSize"] == pytest.approx(best(jvm, 0.11), rel=0.1)


def test_stopping_puts_the_very_setting_back(jvm, clock):
    jvm.flags["SoftMaxHeapSize"] = 0  # which stands for -Xmx
    _, controller = steer(jvm, clock, 20)
    assert jvm.flags["SoftMaxHeapSize"] not in (0, 2000 * MIB)
    controller.stop()
    assert jvm.flags["SoftMaxHeapSize"] == 0


def test_a_snapshot_is_put_back_from_another_process(jvm, clock):
    heap, _ = steer(jvm, clock, 20)
    kept = heap.snapshot()
    assert jvm.flags["SoftMaxHeapSize"] != 1000 * MIB
    JvmHeap(jvm=jvm).restore(kept)
    assert jvm.flags["SoftMaxHeapSize"] == 1000 * MIB


def test_a_snapshot_of_an_earlier_run_of_the_jvm_changes_nothing(jvm, clock):
    heap, _ = steer(jvm, clock, 5)
    kept = heap.snapshot()
    jvm.restart(700 * MIB)
    JvmHeap(jvm=jvm).restore(kept)
    assert jvm.flags["SoftMaxHeapSize"] == 700 * MIB
    with pytest.raises(ConfigError, match="no snapshot"):
        heap.restore({"flag": "other"})


def test_a_jvm_that_came_back_is_picked_up_with_its_own_setting(jvm, clock):
    heap, controller = steer(jvm, clock, 20)
    jvm.error = SensorError("gone")
    for _ in range(3):
        clock.now += 1.0
        controller.optimize()
    jvm.error = None
    jvm.restart(700 * MIB)
    for _ in range(20):
        jvm.wait()
        clock.now += 1.0
        controller.optimize()
    assert heap.get_metrics()["set_by_hand"] == 0.0
    assert jvm.flags["SoftMaxHeapSize"] == pytest.approx(best(jvm, 0.11), rel=0.1)
    controller.stop()
    assert jvm.flags["SoftMaxHeapSize"] == 700 * MIB


def test_a_size_set_by_somebody_else_is_left_alone_for_a_while(jvm, clock):
    heap, _ = steer(jvm, clock, 5, hands_off=100.0)
    jvm.flags["SoftMaxHeapSize"] = 1500 * MIB
    with pytest.raises(SafetyError, match="somebody else"):
        heap.apply_control(300 * MIB)
    assert heap.get_metrics()["set_by_hand"] == 1.0
    assert jvm.flags["SoftMaxHeapSize"] == 1500 * MIB
    clock.now += 101.0
    heap.apply_control(300 * MIB)
    assert jvm.flags["SoftMaxHeapSize"] == 300 * MIB


def test_a_jvm_that_cannot_be_asked_is_not_set_either(jvm):
    heap = JvmHeap(jvm=jvm)
    jvm.error = SensorError("JVM 7 did not answer")
    with pytest.raises(SensorError, match="did not answer"):
        heap.measure_state()
    with pytest.raises(ActuatorError, match="did not answer"):
        heap.apply_control(300 * MIB)
    assert jvm.flags["SoftMaxHeapSize"] == 1000 * MIB


def test_a_collector_that_does_not_heed_the_flag_is_refused():
    jvm = FakeJvm(collector="Serial")
    with pytest.raises(ConfigError, match="runs Serial, which does not heed SoftMaxHeapSize"):
        JvmHeap(jvm=jvm)
    assert jvm.closed


@pytest.mark.parametrize(
    "options",
    [
        {"price": 0.0},
        {"price": float("nan")},
        {"hands_off": -1.0},
        {"min_heap": 0},
        {"min_heap": 5 * MIB, "max_heap": 4 * MIB},
        {"max_heap": 4000 * MIB},
    ],
)
def test_wrong_parameters_are_refused(jvm, options):
    with pytest.raises(ConfigError):
        JvmHeap(jvm=jvm, **options)


def test_a_collection_is_asked_for_in_a_quiet_moment_only(jvm, clock):
    _, controller = steer(jvm, clock, 10, collect_when_quiet=True)
    assert jvm.collected == 0
    jvm.rate = 0.0
    jvm.reading = replace(jvm.reading, used=900 * MIB)
    before = jvm.reading

    def idle():
        jvm.reading = replace(jvm.reading, time=jvm.reading.time + 1.0)
        clock.now += 1.0
        controller.optimize()

    idle()
    idle()
    assert jvm.collected == 1
    assert before.collector_seconds == jvm.reading.collector_seconds


@pytest.mark.parametrize("steers", [True, False])
def test_a_collection_is_asked_for_by_what_steers_only_and_one_that_fails_costs_no_measurement(
    jvm, clock, caplog, steers
):
    heap, _ = steer(jvm, clock, 10, collect_when_quiet=True)
    heap.steers_while_measuring = steers
    jvm.rate, jvm.stuck = 0.0, True
    for _ in range(2):
        jvm.reading = replace(jvm.reading, used=900 * MIB, time=jvm.reading.time + 1.0)
        heap.measure_state()
    assert jvm.collected == int(steers)
    assert ("no answer in time" in caplog.text) == steers
