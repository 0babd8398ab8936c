"""JvmHeap over JMX of a real JVM: the same heap from a distance, and what goes wrong on the way."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest
from integration.local_jvm import MIB, WAY, allocating, flag_by_jcmd, jcmd, jmx_options, steps_until
from integration.requirements import require

from quantum_control.bench.server_process import free_port
from quantum_control.core.controller import QuantumController
from quantum_control.core.errors import ActuatorError, SafetyError, SensorError
from quantum_control.core.journal import Journal
from quantum_control.core.journalled import Journalled
from quantum_control.resources.jvm_heap import JvmHeap
from quantum_control.resources.jvm_remote import RemoteJvm
from quantum_control.resources.memory import MemoryResource
from quantum_control.sources.jmx import Jmx

pytestmark = pytest.mark.integration

pytest.importorskip("jpype", reason="JPype1 is not installed; pip install 'quantum-control[jvm]'")

OVER_JMX = True

GENEROUS = 60.0
"""Seconds: many deadlines of 3 s, and less than the two minutes for which the kernel goes on connecting."""


@pytest.fixture(scope="module", autouse=True)
def patience():
    """The first connection sets the time-out of the process; that of the faults below is spent in full."""
    Jmx("jmx://127.0.0.1:1", timeout=3.0)


def test_the_interface_that_was_asked_for_works_word_for_word(jvm):
    memory = MemoryResource(process_id=jvm.pid, metric_source=jvm.url)
    controller = QuantumController(memory, physics_model="coherent")
    steps_until(lambda: flag_by_jcmd(jvm.pid) != 400 * MIB, controller.optimize)

    def collected():
        """Whether there was a collection in the interval, not long before its end."""
        figures = memory.get_metrics()
        return 50 * MIB < figures["live_bytes"] < 300 * MIB and figures["gc_cores"] > 0.0

    steps_until(collected, controller.optimize)
    controller.stop()
    memory.release()
    assert controller.failures == 0
    assert flag_by_jcmd(jvm.pid) == 400 * MIB


def test_without_the_process_id_the_cycles_stand_in_for_processor_time(jvm):
    steered = RemoteJvm(jvm.url)
    first = steered.read()
    readings = []
    steps_until(lambda: len(readings) >= 25, lambda: readings.append(steered.read()))
    last = readings[-1]
    steered.close()
    elapsed = last.time - first.time
    assert 75 * MIB < (last.allocated - first.allocated) / elapsed < 300 * MIB
    assert last.collections > first.collections
    assert 0.0 < (last.collector_seconds - first.collector_seconds) / elapsed < 2.0
    assert last.maximum == 512 * MIB


def test_a_flag_that_is_refused_stays_and_an_operators_is_left_alone(jvm):
    heap = JvmHeap(metric_source=jvm.url)
    with pytest.raises(ActuatorError, match="MaxHeapSize"):
        RemoteJvm(jvm.url).set_flag("MaxHeapSize", 1)
    jcmd(jvm.pid, "VM.set_flag", "SoftMaxHeapSize", str(350 * MIB))
    with pytest.raises(SafetyError, match="by somebody else"):
        heap.apply_control(200 * MIB)
    assert flag_by_jcmd(jvm.pid) == 350 * MIB
    jcmd(jvm.pid, "VM.set_flag", "SoftMaxHeapSize", str(400 * MIB))


def test_a_collection_can_be_asked_for(jvm):
    steered = RemoteJvm(jvm.url)
    before = steered.read().collections
    steered.collect()
    assert steered.read().collections > before


def test_a_jvm_that_went_away_and_came_back_is_picked_up_with_its_own_setting(tmp_path):
    """And put back to that from the journal, as by the daemon."""
    port = free_port()
    quick = (60.0, 20.0, 100.0)
    journal = Journal(tmp_path / "journal.sqlite")
    with allocating(quick, options=jmx_options(port), maximum="512m") as first:
        heap = JvmHeap(metric_source=f"jmx://127.0.0.1:{port}")
        steered = Journalled(heap, journal, "heap", "memory", {})
        controller = QuantumController(steered)
        steps_until(lambda: flag_by_jcmd(first.pid) != 400 * MIB, controller.optimize)
        assert [kept.size for kept in journal.originals()] == [400 * MIB]
    for _ in range(2):
        controller.optimize()
    assert controller.failures == 2
    assert "nobody listens there" in str(controller.decisions[-1])
    with allocating(quick, options=jmx_options(port), maximum="512m") as again:
        jcmd(again.pid, "VM.set_flag", "SoftMaxHeapSize", str(300 * MIB))
        controller.optimize()
        assert controller.failures == 2
        steps_until(lambda: flag_by_jcmd(again.pid) != 300 * MIB, controller.optimize)
        assert [kept.size for kept in journal.originals()] == [300 * MIB]
        controller.stop(restore=False)
        steered.put_back()
        # What it was started with, as far as anybody can know.
        assert flag_by_jcmd(again.pid) == 300 * MIB
        assert journal.originals() == []
    heap.release()
    journal.close()


def test_nobody_there_is_told_at_once():
    with pytest.raises(SensorError, match="nobody listens there"):
        JvmHeap(metric_source=f"jmx://127.0.0.1:{free_port()}")


def test_a_port_that_says_nothing_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(SensorError, match="no answer in time"):
            JvmHeap(metric_source=f"jmx://127.0.0.1:{port}")


def test_a_host_that_drops_what_opens_connections_is_given_up():
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, contextlib.ExitStack() as waiting:
        for _ in range(3):  # the kernel drops what comes to a full queue, and the caller tries for minutes
            one = waiting.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        began = time.monotonic()
        with pytest.raises(SensorError, match="no answer in time"):
            JvmHeap(metric_source=f"jmx://127.0.0.1:{full.getsockname()[1]}")
        assert time.monotonic() < began + GENEROUS


def test_a_stopped_jvm_is_told_within_one_deadline_and_works_again_when_it_goes_on(jvm):
    steered = RemoteJvm(jvm.url)
    steered._jmx._timeout = 1.0
    steered.read()
    for _ in range(2):
        began = time.monotonic()
        os.kill(jvm.pid, signal.SIGSTOP)
        try:
            for _ in range(2):  # on the connection that is open, and on a new one
                with pytest.raises(SensorError, match="no answer in time"):
                    steered.read()
            with pytest.raises(ActuatorError, match="no answer in time"):
                steered.set_flag("SoftMaxHeapSize", 400 * MIB)
        finally:
            os.kill(jvm.pid, signal.SIGCONT)
        assert time.monotonic() < began + GENEROUS
        assert steered.read().used > 0
    steered.close()


def test_a_host_that_it_names_and_that_drops_everything_is_given_up_too():
    """Java connects to where the registry says by itself, without a time-out."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, contextlib.ExitStack() as waiting:
        for _ in range(3):
            one = waiting.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        calls = Jmx("jmx://127.0.0.1:1", timeout=2.0)
        calls._connection._knock = lambda: None  # as if it had answered
        calls.address.place = calls._connection._address.place = f"127.0.0.1:{full.getsockname()[1]}"
        began = time.monotonic()
        with pytest.raises(SensorError, match="no answer in time"):
            calls.names("java.lang:*")
        assert time.monotonic() < began + GENEROUS


def test_users_are_let_in_by_their_password_only_and_it_is_never_shown(tmp_path, monkeypatch):
    passwords, access = tmp_path / "password", tmp_path / "access"
    passwords.write_text("steering right-one\n")
    access.write_text("steering readwrite\n")
    passwords.chmod(0o600)
    port = free_port()
    secured = jmx_options(port, authenticate="true", **{"password.file": passwords, "access.file": access})
    url = f"jmx://127.0.0.1:{port}"
    with allocating((60.0, 10.0, 10.0), options=secured) as program:
        with pytest.raises(SensorError, match="user and password were refused, or are needed"):
            JvmHeap(metric_source=url)
        monkeypatch.setenv("JMX_PASSWORD", "wrong-one")
        with pytest.raises(SensorError, match="user and password were refused") as refusal:
            JvmHeap(metric_source=f"{url}?user=steering&password=env:JMX_PASSWORD")
        assert "wrong-one" not in str(refusal.value)
        monkeypatch.setenv("JMX_PASSWORD", "right-one")
        heap = JvmHeap(metric_source=f"{url}?user=steering&password=env:JMX_PASSWORD")
        heap.apply_control(128 * MIB)
        assert flag_by_jcmd(program.pid) == 128 * MIB
        assert "right-one" not in repr(heap)
        heap.release()


def test_tls_is_spoken_when_asked_for(tmp_path):
    keytool = shutil.which("keytool")
    require(keytool, f"keytool is not installed; {WAY}")
    store, certificate = tmp_path / "store.p12", tmp_path / "ca.pem"

    def make(words, *more):
        kept = ["-keystore", str(store), "-storetype", "PKCS12", "-storepass", "changeit", "-alias", "jmx"]
        subprocess.run(  # noqa: S603 - a test's own words
            [keytool, *words.split(), *kept, *more], check=True, capture_output=True, timeout=60
        )

    make("-genkeypair -keyalg EC -dname CN=localhost -ext san=ip:127.0.0.1")
    make("-exportcert -rfc", "-file", str(certificate))
    port = free_port()
    options = jmx_options(port, ssl="true", **{"registry.ssl": "true"})
    options += [f"-Djavax.net.ssl.keyStore={store}", "-Djavax.net.ssl.keyStorePassword=changeit"]
    url = f"jmx://127.0.0.1:{port}"
    with allocating((60.0, 10.0, 10.0), options=options) as program:
        heap = JvmHeap(metric_source=f"{url}?tls=true&ca={certificate}")
        heap.apply_control(128 * MIB)
        heap.release()
        assert flag_by_jcmd(program.pid) == 128 * MIB
        with pytest.raises(SensorError, match="wants TLS: see tls="):
            JvmHeap(metric_source=url)


def test_a_registry_without_tls_is_told_to_have_it():
    port = free_port()
    with allocating((60.0, 10.0, 10.0), options=jmx_options(port)), pytest.raises(SensorError) as refusal:
        JvmHeap(metric_source=f"jmx://127.0.0.1:{port}?tls=true")
    assert "no TLS was agreed on" in str(refusal.value)
    assert "jmxremote.registry.ssl=true" in str(refusal.value)


FORKING = """
import os, signal, sys
from quantum_control.sources.own_java import start_java

start_java(3.0)
child = os.fork()
if child == 0:
    signal.alarm(30)
    sys.exit(7)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_forked_child_of_a_process_that_speaks_jmx_comes_to_its_end():
    ended = subprocess.run([sys.executable, "-c", FORKING], timeout=100, check=False)  # noqa: S603 - our own
    assert ended.returncode == 7
