"""JvmHeap over the attach socket of a real JVM, with nothing but what every JVM has."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from integration.local_jvm import MIB, allocating, flag_by_jcmd, jcmd, steps_until
from integration.requirements import require

from quantum_control.core.controller import QuantumController
from quantum_control.core.errors import ActuatorError, ConfigError, GoneError, SafetyError, SensorError
from quantum_control.resources import find_memory
from quantum_control.resources.jvm_heap import JvmHeap
from quantum_control.resources.jvm_local import LocalJvm
from quantum_control.resources.memory import MemoryResource
from quantum_control.sources import hsperfdata
from quantum_control.sources.jvm_attach import JvmAttach

pytestmark = pytest.mark.integration


def test_a_flag_is_set_and_read_as_the_jdks_own_tool_does(jvm):
    attach = JvmAttach(jvm.pid)
    found = attach.flag("SoftMaxHeapSize")
    assert found == 400 * MIB == flag_by_jcmd(jvm.pid)
    attach.set_flag("SoftMaxHeapSize", 300 * MIB + 1)
    assert flag_by_jcmd(jvm.pid) == 300 * MIB + 1
    attach.set_flag("SoftMaxHeapSize", found)
    assert not list(Path(f"/proc/{jvm.pid}/cwd").glob(".attach_pid*"))


@pytest.mark.parametrize(
    ("name", "value"), [("MaxHeapSize", 300 * MIB), ("SoftMaxHeapSize", 2**60), ("NoSuch", 1)]
)
def test_a_flag_that_is_refused_ends_in_the_jvms_own_words_and_stays(jvm, name, value):
    with pytest.raises(ActuatorError, match=name):
        JvmAttach(jvm.pid).set_flag(name, value)
    assert flag_by_jcmd(jvm.pid) == 400 * MIB


def test_the_controller_steers_the_heap_and_stopping_restores_it(jvm):
    with MemoryResource(process_id=jvm.pid) as memory:
        assert memory.control == "jvm"
        controller = QuantumController(memory, physics_model="coherent")
        steps_until(lambda: memory.get_metrics().get("collection_seconds", 0.0) > 0.0, controller.optimize)
        steps_until(lambda: flag_by_jcmd(jvm.pid) != 400 * MIB, controller.optimize)
        # On a busy machine one estimate may come long after a collection; it is not the last.
        steps_until(lambda: 50 * MIB < memory.get_metrics()["live_bytes"] < 300 * MIB, controller.optimize)
        assert controller.failures == 0
        figures = memory.get_metrics()
        controller.stop()
    assert flag_by_jcmd(jvm.pid) == 400 * MIB
    assert figures["committed_bytes"] <= 512 * MIB


def test_what_is_allocated_is_measured(jvm):
    steered = LocalJvm(jvm.pid)
    first = steered.read()
    readings = []
    steps_until(lambda: len(readings) >= 25, lambda: readings.append(steered.read()))
    last = readings[-1]
    rate = (last.allocated - first.allocated) / (last.time - first.time)
    # What was asked for, and the headers of the arrays; sampled, so that it is not exact.
    assert 75 * MIB < rate < 300 * MIB


def test_discovery_lists_it_with_what_steers_it(jvm):
    (one,) = [found for found in find_memory.find() if found.options.get("process_id") == jvm.pid]
    assert one.note.startswith("Allocator, ")
    assert one.note.endswith(" MiB of heap, ZGC")
    with MemoryResource(**one.options) as memory:
        assert memory.measure_state().size == 400 * MIB


def test_collecting_on_request_leaves_little_more_than_the_live_set(jvm):
    steered = LocalJvm(jvm.pid)
    steered.read()
    before = steered.read().collections
    steered.collect()
    assert steered.read().collections > before


def test_an_operators_setting_is_noticed_and_left_alone(jvm):
    heap = JvmHeap(jvm.pid)
    jcmd(jvm.pid, "VM.set_flag", "SoftMaxHeapSize", str(350 * MIB))
    with pytest.raises(SafetyError, match="by somebody else"):
        heap.apply_control(200 * MIB)
    assert flag_by_jcmd(jvm.pid) == 350 * MIB
    jcmd(jvm.pid, "VM.set_flag", "SoftMaxHeapSize", str(400 * MIB))


def test_a_snapshot_is_put_back_by_a_fresh_object(jvm):
    heap = JvmHeap(jvm.pid)
    kept = heap.snapshot()
    heap.apply_control(256 * MIB)
    MemoryResource(process_id=jvm.pid).restore(kept)
    assert flag_by_jcmd(jvm.pid) == 400 * MIB


def stopped(pid):
    """Whether each thread of a process has come to its stop."""
    tasks = Path(f"/proc/{pid}/task").glob("*/stat")
    return all(task.read_text().rpartition(")")[2].split()[0] in "tT" for task in tasks)


def test_a_stopped_jvm_ends_in_a_message_and_goes_on_as_it_was(jvm):
    heap = JvmHeap(jvm=LocalJvm(jvm.pid, timeout=0.3))
    os.kill(jvm.pid, signal.SIGSTOP)
    try:
        while not stopped(jvm.pid):
            time.sleep(0.01)
        with pytest.raises(SensorError, match="did not answer within"):
            heap.measure_state()
        with pytest.raises(ActuatorError, match="did not answer within"):
            heap.apply_control(200 * MIB)
    finally:
        os.kill(jvm.pid, signal.SIGCONT)
    assert flag_by_jcmd(jvm.pid) == 400 * MIB


def test_a_jvm_that_is_gone_hands_the_size_back_in_a_message():
    with allocating((60.0, 10.0, 10.0), maximum="64m") as program:
        heap = JvmHeap(program.pid)
        kept = heap.snapshot()
    with pytest.raises(GoneError, match="there is no process"):
        heap.measure_state()
    with pytest.raises(ActuatorError, match="there is no process"):
        heap.apply_control(32 * MIB)
    # What was set is gone with it: nothing is left to be put back.
    with pytest.raises(GoneError, match="there is no process"):
        heap.restore(kept)
    with pytest.raises(GoneError, match="there is no process"):
        MemoryResource.again({"process_id": program.pid}, kept)


def test_a_collector_that_cannot_be_steered_is_refused_and_left_as_it_was():
    with allocating((60.0, 10.0, 10.0), options=("-XX:+UseParallelGC",), maximum="64m") as program:
        with pytest.raises(ConfigError, match="runs Parallel, which does not heed"):
            JvmHeap(program.pid)
        assert flag_by_jcmd(program.pid) == 64 * MIB


def test_a_jvm_that_keeps_no_counters_is_refused_in_words_and_not_taken_for_a_group():
    options = ("-XX:+UseZGC", "-XX:+PerfDisableSharedMem")
    with allocating((60.0, 10.0, 10.0), options=options, maximum="64m") as program:
        with pytest.raises(ConfigError, match=r'is a JVM, .*PerfDisableSharedMem.*control="cgroup"'):
            MemoryResource(process_id=program.pid)
        assert program.running


def test_a_jvm_that_does_not_catch_the_signal_is_not_sent_it():
    options = ("-XX:+UseZGC", "-Xrs", "-XX:+DisableAttachMechanism")
    with allocating((60.0, 10.0, 10.0), options=options, maximum="64m") as program:
        with pytest.raises(SensorError, match="does not catch SIGQUIT"):
            JvmHeap(program.pid)
        assert program.running


def test_a_jvm_that_may_not_be_attached_to_says_so_and_goes_on():
    options = ("-XX:+UseZGC", "-XX:+DisableAttachMechanism")
    with allocating((60.0, 10.0, 10.0), options=options, maximum="64m") as program:
        with pytest.raises(SensorError, match="DisableAttachMechanism"):
            JvmHeap(jvm=LocalJvm(program.pid, timeout=0.3))
        assert program.running
        assert not list(Path(f"/proc/{program.pid}/cwd").glob(".attach_pid*"))


def test_shenandoah_is_steered_too():
    with allocating((60.0, 20.0, 50.0), options=("-XX:+UseShenandoahGC",), maximum="256m") as program:
        assert "sun.rt.createVmBeginTime" in hsperfdata.read(program.pid)
        heap = JvmHeap(program.pid)
        found = flag_by_jcmd(program.pid)
        heap.apply_control(128 * MIB)
        assert flag_by_jcmd(program.pid) == 128 * MIB
        assert heap.measure_state().size == 128 * MIB
        heap.apply_control(found)
        assert flag_by_jcmd(program.pid) == found


def test_what_is_resident_is_told_beside_the_heap_in_use(jvm):
    """Mapped three times by this ZGC, and counted once."""
    with JvmHeap(jvm.pid) as heap:
        heap.measure_state()
        steps_until(lambda: "resident_bytes" in heap.get_metrics(), heap.measure_state)
        told = heap.get_metrics()
    rollup = Path(f"/proc/{jvm.pid}/smaps_rollup").read_text().splitlines()
    pss = next(1024 * int(line.split()[1]) for line in rollup if line.startswith("Pss:"))
    assert told["resident_bytes"] == pytest.approx(pss, rel=0.35)
    assert told["resident_over_used"] == pytest.approx(told["resident_bytes"] / told["used_bytes"])


AS_ANOTHER_USER = """
import os, sys
from quantum_control.core.errors import SensorError
from quantum_control.resources.jvm_heap import JvmHeap
from quantum_control.sources.jvm_attach import JvmAttach
from quantum_control.sources import hsperfdata
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
for attempt in (
    lambda pid: JvmHeap(pid),
    lambda pid: JvmAttach(pid).flag("SoftMaxHeapSize"),
    lambda pid: hsperfdata.Counters(pid, ("sun.",)).read(),
):
    try:
        attempt(int(sys.argv[1]))
    except SensorError as error:
        print(error)
"""


def test_another_user_is_told_whose_the_jvm_is_and_nothing_is_changed(jvm):
    require(os.geteuid() == 0, "becoming another user needs root")
    done = subprocess.run(  # noqa: S603 - a test's own words
        [sys.executable, "-c", AS_ANOTHER_USER, str(jvm.pid)], capture_output=True, text=True, timeout=60
    )
    assert done.stderr == ""
    told = done.stdout.splitlines()
    assert len(told) == 3
    for line in told:
        assert "run as its user, or as root" in line
    assert flag_by_jcmd(jvm.pid) == 400 * MIB
    assert not list(Path(f"/proc/{jvm.pid}/cwd").glob(".attach_pid*"))
