"""TCP's buffers by sysctl, in network namespaces of our own."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from integration.host_network import network_left_as_found
from integration.requirements import require

from quantum_control import QuantumController
from quantum_control.bench.namespace import Namespace
from quantum_control.bench.network_bed import NetworkBed
from quantum_control.core.errors import ActuatorError, GoneError, SafetyError, SensorError
from quantum_control.resources.netns import netns_identity
from quantum_control.resources.socket_sysctl import SocketBuffers
from quantum_control.resources.tcp_memory import tcp_memory_low

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("kernel")]

RECEIVE = (4096, 131072, 600_000)
SEND = (4096, 16384, 400_000)
FOUND = {"tcp_rmem": RECEIVE, "tcp_wmem": SEND}


@pytest.fixture(scope="module", autouse=True)
def untouched_host():
    with network_left_as_found():
        yield


def numbers(namespace, name, value=None):
    """The three numbers of a sysctl of a namespace, set before if a value is given."""
    path = Path("/proc/sys/net/ipv4", name)
    if value is not None:
        namespace.call(lambda: path.write_text(" ".join(map(str, value))))
    return tuple(map(int, namespace.call(path.read_text).split()))


def settings(namespace):
    return {name: numbers(namespace, name) for name in FOUND}


def narrow(namespace):
    """Give a namespace the numbers that the tests start from."""
    for name, value in FOUND.items():
        numbers(namespace, name, value)


@pytest.fixture
def namespace():
    with Namespace() as made:
        narrow(made)
        yield made


def run_inside(namespace, code, *arguments):
    """Start Python in a namespace."""
    return namespace.call(
        lambda: subprocess.Popen(  # noqa: S603 - ourselves
            [sys.executable, "-c", code, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    )


def test_a_long_distance_gets_the_buffers_that_it_can_use_and_all_is_restored():
    rate, distance = 50e6, 0.1
    with NetworkBed(rate, distance=distance, limit=int(rate / 8 * distance)) as bed:
        ends = (bed.client, bed.server)
        for end in ends:
            narrow(end)
        bed.listen()
        resources = [SocketBuffers(end.path) for end in ends]
        controllers = [QuantumController(resource, interval=0.5) for resource in resources]
        transfer = bed.send(9.0)
        speeds = []
        for _ in range(16):
            time.sleep(0.5)
            for controller in controllers:
                assert controller.optimize().state is not None
            speeds.append(resources[0].get_metrics().get("bytes_per_second", 0.0))
        transfer.result()
        least = rate / 8 * distance  # less would not carry the line's rate, whatever the overhead
        assert numbers(bed.client, "tcp_wmem")[2] > least
        assert numbers(bed.server, "tcp_rmem")[2] > least
        assert max(speeds[-6:]) > 1.5 * max(speeds[:4])
        for controller in controllers:
            controller.stop()
        assert [settings(end) for end in ends] == [FOUND, FOUND]


def test_a_buffer_that_only_makes_a_queue_longer_is_taken_back():
    rate, distance = 10e6, 0.02
    with NetworkBed(rate, distance=distance, limit=3_000_000) as bed:  # two seconds of waiting and more
        found = {"tcp_rmem": (4096, 131072, 1_000_000), "tcp_wmem": (4096, 16384, 1_000_000)}
        for name, value in found.items():
            numbers(bed.client, name, value)
        bed.listen()
        resource = SocketBuffers(bed.client.path)
        controller = QuantumController(resource, interval=0.5)
        controller.optimize()
        bed.send(60.0)  # ended with the network
        until = time.monotonic() + 50.0
        while controller.size > 250_000 and time.monotonic() < until:
            time.sleep(0.5)
            controller.optimize()
        assert controller.size <= 250_000
        assert resource.get_metrics()["queueing_seconds"] > distance
        controller.stop()
        assert settings(bed.client) == found


def test_only_the_namespace_that_is_meant_is_changed(namespace):
    with Namespace() as other:
        narrow(other)
        resource = SocketBuffers(namespace.path)
        resource.apply_control(900_000)
        assert settings(namespace) == {
            "tcp_rmem": (4096, 131072, 900_000),
            "tcp_wmem": (4096, 16384, 600_000),
        }
        assert settings(other) == FOUND


def test_the_kernel_keeps_the_caps_of_applications_for_the_whole_machine(namespace):
    resource = SocketBuffers(namespace.path)
    assert "of this network namespace only" in resource.scope
    before = Path("/proc/sys/net/core/rmem_max").read_text()
    resource.apply_control(900_000)
    assert Path("/proc/sys/net/core/rmem_max").read_text() == before


def test_the_kernel_takes_the_largest_size_that_there_is(namespace):
    resource = SocketBuffers(namespace.path)
    resource.apply_control(resource.max_size)
    assert numbers(namespace, "tcp_rmem")[2] == resource.max_size
    resource.release()
    assert settings(namespace) == FOUND


def test_a_change_by_hand_is_noticed_and_not_fought(namespace):
    resource = SocketBuffers(namespace.path)
    controller = QuantumController(resource)
    controller.optimize()
    resource.apply_control(900_000)
    theirs = (4096, 131072, 1_777_777)
    numbers(namespace, "tcp_rmem", theirs)
    assert resource.measure_state().size == 1_777_777
    with pytest.raises(SafetyError, match="somebody else"):
        resource.apply_control(950_000)
    controller.stop()
    resource.release()
    assert settings(namespace) == {"tcp_rmem": theirs, "tcp_wmem": SEND}


WITHOUT_PRIVILEGE = """
import os, sys
from quantum_control import QuantumController
from quantum_control.core.errors import ActuatorError
from quantum_control.resources.socket_sysctl import SocketBuffers
resource = SocketBuffers()
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
resource.measure_state()
try:
    resource.apply_control(900_000)
except ActuatorError as error:
    print(error)
"""


def test_without_the_privilege_it_measures_says_what_is_missing_and_changes_nothing(namespace):
    told, _ = run_inside(namespace, WITHOUT_PRIVILEGE).communicate(timeout=60)
    assert "net.ipv4.tcp_rmem" in told
    assert "CAP_NET_ADMIN" in told
    assert settings(namespace) == FOUND


def test_a_namespace_that_vanishes_is_told_and_nothing_is_left_to_restore(caplog):
    with Namespace() as made:
        narrow(made)
        resource = SocketBuffers(made.path)
        controller = QuantumController(resource)
        controller.optimize()
        resource.apply_control(900_000)
    with pytest.raises(SensorError, match="network namespace"):
        resource.measure_state()
    with pytest.raises(ActuatorError, match="network namespace"):
        resource.apply_control(950_000)
    controller.stop()
    resource.release()
    assert "nothing of it can be restored" in caplog.text


def test_another_namespace_of_the_same_name_is_not_touched(namespace, tmp_path):
    name = tmp_path / "name"
    with Namespace() as first:
        name.symlink_to(first.path)
        resource = SocketBuffers(name)
        resource.apply_control(900_000)
        kept = resource.snapshot()
        name.unlink()
        name.symlink_to(namespace.path)
        with pytest.raises(SensorError, match="another one"):
            resource.measure_state()
        with pytest.raises(ActuatorError, match="another one"):
            resource.apply_control(950_000)
        resource.release()
        SocketBuffers(name).restore(kept)
    assert settings(namespace) == FOUND


def test_another_namespace_with_the_inode_of_one_that_has_ended_is_not_touched(tmp_path):
    require(netns_identity().startswith("cookie"), "cookies of network namespaces; Linux 5.14")
    name = tmp_path / "name"
    ended = {}
    with ExitStack() as made:
        for _ in range(8):  # others on this machine may get the number of one
            first = made.enter_context(Namespace())
            narrow(first)
            name.symlink_to(first.path)
            resource = SocketBuffers(name)
            ended[name.stat().st_ino] = resource, resource.snapshot()
            resource.apply_control(900_000)
            name.unlink()
    with ExitStack() as made:
        for _ in range(100):  # the kernel gives a number anew a moment after the end
            second = made.enter_context(Namespace())
            inode = Path(second.path).stat().st_ino
            if inode in ended:
                break
            time.sleep(0.02)
        narrow(second)
        name.symlink_to(second.path)
        resource, kept = ended[inode]
        with pytest.raises(GoneError, match="another one"):
            resource.measure_state()
        with pytest.raises(ActuatorError, match="another one"):
            resource.apply_control(950_000)
        resource.restore(kept)
        resource.release()
        SocketBuffers(name).restore(kept)
        assert settings(second) == FOUND


def test_the_memory_of_tcp_is_bounded_by_the_machines_own_numbers(namespace, caplog):
    resource = SocketBuffers(namespace.path)
    most = resource.max_size
    assert most == tcp_memory_low() * RECEIVE[2] // (RECEIVE[2] + SEND[2])
    assert namespace.call(tcp_memory_low) != tcp_memory_low(), "which the namespace does not show"
    resource.measure_state()
    assert resource.max_size == most
    assert "tcp_mem" not in caplog.text


def test_a_namespace_that_is_not_there_is_told():
    with pytest.raises(SensorError, match="no-such-namespace"):
        SocketBuffers("no-such-namespace")


CONTROLLER_TO_KILL = """
import json, time
from quantum_control.resources.socket_sysctl import SocketBuffers
resource = SocketBuffers()
print(json.dumps(resource.snapshot()), flush=True)
resource.apply_control(900_000)
print("set", flush=True)
time.sleep(60)
"""


def test_after_a_kill_another_process_restores_the_three_numbers(namespace):
    process = run_inside(namespace, CONTROLLER_TO_KILL)
    try:
        kept = json.loads(process.stdout.readline())
        assert process.stdout.readline() == "set\n"
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
    assert numbers(namespace, "tcp_rmem") == (4096, 131072, 900_000)
    SocketBuffers(namespace.path).restore(kept)
    assert settings(namespace) == FOUND
