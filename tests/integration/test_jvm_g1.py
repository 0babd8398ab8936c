"""JvmHeap of a real JVM with G1, by its free ratios, over the attach socket and over JMX."""

from __future__ import annotations

import pytest
from integration.local_jvm import MIB, allocating, flag_by_jcmd, jcmd, jmx_options, steps_until

from quantum_control.bench.server_process import free_port
from quantum_control.core.controller import QuantumController
from quantum_control.core.errors import SafetyError
from quantum_control.resources.jvm_heap import JvmHeap
from quantum_control.resources.jvm_local import LocalJvm
from quantum_control.resources.jvm_remote import RemoteJvm
from quantum_control.resources.memory import MemoryResource

pytestmark = pytest.mark.integration

FOUND = (35, 65)


@pytest.fixture(scope="module")
def g1():
    """A JVM whose heap has all of 512 MiB, of which some 60 MiB live."""
    options = ["-XX:+UseG1GC", "-XX:InitialHeapSize=512m", "-XX:MinHeapSize=8m"]
    options += [f"-XX:MinHeapFreeRatio={FOUND[0]}", f"-XX:MaxHeapFreeRatio={FOUND[1]}"]
    port = free_port()
    options += [each for each in jmx_options(port) if each.startswith("-D")]
    with allocating((120.0, 60.0, 20.0), options=options) as program:
        program.url = f"jmx://127.0.0.1:{port}"
        yield program


@pytest.fixture
def by_itself(g1):
    """Another way to the same JVM, to measure and to collect by."""
    jvm = LocalJvm(g1.pid)
    steps_until(lambda: jvm.read().collections > 0, lambda: None)
    yield jvm
    left = ratios(g1)
    for name, value in zip(("MaxHeapFreeRatio", "MinHeapFreeRatio"), reversed(FOUND), strict=True):
        jcmd(g1.pid, "VM.set_flag", name, str(value))  # for the tests that follow
    assert left == FOUND


def ratios(g1):
    return tuple(flag_by_jcmd(g1.pid, name) for name in ("MinHeapFreeRatio", "MaxHeapFreeRatio"))


@pytest.mark.parametrize("size", [300 * MIB, 120 * MIB, 400 * MIB])
def test_the_committed_heap_follows_the_size_after_a_collection(g1, by_itself, size):
    with JvmHeap(g1.pid) as heap:
        heap.measure_state()
        heap.apply_control(size)

        def collect():
            by_itself.collect()
            heap.measure_state()  # the live set is known now

        steps_until(lambda: by_itself.read().committed == pytest.approx(size, rel=0.15), collect, most=10)
        assert heap.measure_state().size == size
        heap.apply_control(round(heap.max_size))


def test_a_controller_makes_it_smaller_and_puts_the_ratios_back(g1, by_itself):
    memory = MemoryResource(process_id=g1.pid, price=0.5, max_heap=200 * MIB)
    controller = QuantumController(memory, physics_model="coherent")
    steps_until(lambda: ratios(g1) != FOUND, controller.optimize)
    by_itself.collect()
    assert by_itself.read().committed < 260 * MIB
    assert controller.failures == 0
    controller.stop()
    memory.release()


def test_what_is_allocated_is_measured(by_itself):
    first = by_itself.read()
    steps_until(lambda: by_itself.read().collections >= first.collections + 4, lambda: None, most=400)
    last = by_itself.read()
    assert 10 * MIB < (last.allocated - first.allocated) / (last.time - first.time) < 60 * MIB


def test_a_snapshot_is_put_back_by_a_fresh_object(g1, by_itself):
    killed = JvmHeap(g1.pid)
    kept = killed.snapshot()
    killed.apply_control(150 * MIB)
    assert ratios(g1) != FOUND
    JvmHeap(g1.pid).restore(kept)


def test_an_operators_ratio_is_noticed_and_left_alone(g1, by_itself):
    heap = JvmHeap(g1.pid)
    jcmd(g1.pid, "VM.set_flag", "MaxHeapFreeRatio", "50")
    with pytest.raises(SafetyError, match="by somebody else"):
        heap.apply_control(200 * MIB)
    assert ratios(g1) == (FOUND[0], 50)
    jcmd(g1.pid, "VM.set_flag", "MaxHeapFreeRatio", str(FOUND[1]))


@pytest.fixture
def over_jmx(g1):
    pytest.importorskip("jpype", reason="JPype1 is not installed; pip install 'quantum-control[jvm]'")
    return g1.url


def test_the_interface_that_was_asked_for_works_word_for_word_over_jmx(g1, by_itself, over_jmx):
    memory = MemoryResource(process_id=g1.pid, metric_source=over_jmx)
    controller = QuantumController(resource=memory, physics_model="coherent")

    def step():
        by_itself.collect()
        controller.optimize()

    steps_until(lambda: ratios(g1) != FOUND, step)
    assert 30 * MIB < memory.get_metrics()["live_bytes"] < 300 * MIB
    assert controller.failures == 0
    controller.stop()
    memory.release()
    assert ratios(g1) == FOUND


def test_over_jmx_without_the_process_id_it_is_measured_too(g1, by_itself, over_jmx):
    steered = RemoteJvm(over_jmx)
    assert steered.collector() == "G1"
    first = steered.read()
    steps_until(lambda: steered.read().collections >= first.collections + 4, lambda: None, most=400)
    last = steered.read()
    steered.close()
    elapsed = last.time - first.time
    assert 5 * MIB < (last.allocated - first.allocated) / elapsed < 80 * MIB
    assert last.pause_seconds > first.pause_seconds
    assert 0.0 < (last.collector_seconds - first.collector_seconds) / elapsed < 2.0
    assert 30 * MIB < last.live < 300 * MIB
