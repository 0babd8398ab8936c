"""Buffers of each connection by eBPF, in a cgroup and a network namespace of our own."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from shutil import which

import pytest
from integration.host_network import children, host_network, require_namespaces
from integration.requirements import require

from quantum_control import QuantumController
from quantum_control.bench.namespace import Namespace
from quantum_control.core.errors import ActuatorError, ConfigError, GoneError, SafetyError
from quantum_control.resources import bpf_calls
from quantum_control.resources.bpf_calls import SockOpsProgram, attached
from quantum_control.resources.bpf_object import read_object
from quantum_control.resources.socket_bpf import OBJECT, SECTION, SockOps, cgroup2_root, shipped_object

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("kernel")]

SIZE = 1_000_000
SCRIPT = Path(__file__).parents[2] / "scripts" / "build-bpf"


def cgroups():
    """Those of ours; other people come and go."""
    return sorted(place.name for place in cgroup2_root().iterdir() if place.name.endswith(f"-{os.getpid()}"))


@pytest.fixture(scope="module", autouse=True)
def untouched_host():
    require_namespaces()
    require(" cgroup2 " in Path("/proc/mounts").read_text(), "a cgroup v2 hierarchy; mount one")
    before = host_network(), children(), cgroups()
    yield
    assert (host_network(), children(), cgroups()) == before


@pytest.fixture
def cgroup():
    made = cgroup2_root() / f"quantum-control-test-{os.getpid()}"
    made.mkdir()
    yield made
    if made.exists():
        made.rmdir()


@pytest.fixture
def namespace():
    with Namespace() as made:
        yield made


CONNECTIONS = """
import json, os, socket, sys, time
if sys.argv[1:]:
    open(sys.argv[1] + "/cgroup.procs", "w").write(str(os.getpid()))
listener = socket.create_server(("127.0.0.1", 0))
pairs = []
for line in sys.stdin:
    if line == "open\\n":
        client = socket.create_connection(listener.getsockname())
        pairs.append((client, listener.accept()[0]))
    for end in pairs[-1]:
        end.sendall(b"x" * 10000)
    for end in pairs[-1]:
        end.recv(10000, socket.MSG_WAITALL)
    time.sleep(0.01)
    sizes = [[end.getsockopt(socket.SOL_SOCKET, option) for option in (socket.SO_SNDBUF, socket.SO_RCVBUF)]
             for end in pairs[-1]]
    print(json.dumps(sizes), flush=True)
"""


class Process:
    """Opens connections in a namespace and tells their buffers: [[send, receive] of both ends]."""

    def __init__(self, namespace, cgroup=None):
        command = [sys.executable, "-c", CONNECTIONS, *([str(cgroup)] if cgroup else [])]
        self.process = namespace.call(
            lambda: subprocess.Popen(  # noqa: S603 - ourselves
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        )

    def ask(self, what="open"):
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


GIVEN = [[SIZE, SIZE], [SIZE, SIZE]]


def programs(cgroup):
    descriptor = os.open(cgroup, os.O_RDONLY)
    try:
        return attached(descriptor)
    finally:
        os.close(descriptor)


def test_connections_of_the_cgroup_get_the_size_and_no_others(namespace, cgroup):
    with Process(namespace, cgroup) as inside, Process(namespace) as outside:
        with SockOps(cgroup, netns=namespace.path) as resource:
            usual = inside.ask()
            resource.apply_control(SIZE)
            assert inside.ask() == GIVEN
            resource.measure_state()
            inside.ask()
            resource.measure_state()
            assert resource.get_metrics()["connections_set"] == 4, "two connections, both ends here"
            assert resource.get_metrics()["refused"] == 0
            assert resource.get_metrics()["connections"] == 6
            assert SIZE not in {size for end in outside.ask() for size in end}
        assert inside.ask() == usual
    assert programs(cgroup) == set()


def test_an_open_connection_follows_with_what_it_may_hold_for_sending(namespace, cgroup):
    with Process(namespace, cgroup) as process, SockOps(cgroup, netns=namespace.path) as resource:
        resource.apply_control(SIZE)
        process.ask()
        resource.apply_control(2 * SIZE)
        for _ in range(50):
            sizes = process.ask("again")
            if all(send == 2 * SIZE for send, _ in sizes):
                break
        assert sizes == [[2 * SIZE, SIZE], [2 * SIZE, SIZE]]


def test_the_size_found_and_the_end_of_control_detach_the_program(namespace, cgroup):
    resource = SockOps(cgroup, netns=namespace.path)
    controller = QuantumController(resource)
    controller.optimize()
    assert programs(cgroup) == set(), "measuring attaches nothing"
    resource.apply_control(SIZE)
    assert len(programs(cgroup)) == 1
    resource.apply_control(controller.original)
    assert programs(cgroup) == set()
    controller.stop()
    resource.restore(resource.snapshot())
    assert programs(cgroup) == set()


CONTROLLER = """
import sys, time
from quantum_control.resources.socket_bpf import SockOps
resource = SockOps(sys.argv[1])
resource.apply_control(1_000_000)
print("set", flush=True)
time.sleep(60)
"""


def test_the_kernel_detaches_the_program_of_a_controller_that_is_killed(namespace, cgroup):
    with Process(namespace, cgroup) as process:
        usual = process.ask()
        # No PATH: neither a compiler nor bpftool is there.
        controller = subprocess.Popen(  # noqa: S603 - ourselves
            [sys.executable, "-c", CONTROLLER, str(cgroup)],
            stdout=subprocess.PIPE,
            text=True,
            env={"PATH": ""},
        )
        try:
            assert controller.stdout.readline() == "set\n"
            assert process.ask() == GIVEN
            assert len(programs(cgroup)) == 1
        finally:
            os.kill(controller.pid, signal.SIGKILL)
            controller.wait()
            controller.stdout.close()
        until = time.monotonic() + 30.0  # the kernel lets go of a link a moment after its process
        while programs(cgroup) and time.monotonic() < until:
            time.sleep(0.01)
        assert programs(cgroup) == set()
        assert process.ask() == usual


def test_programs_of_other_people_stay(namespace, cgroup):
    with SockOpsProgram(shipped_object(), cgroup):
        with SockOps(cgroup, netns=namespace.path) as resource:
            resource.apply_control(SIZE)
            assert len(programs(cgroup)) == 2
        assert len(programs(cgroup)) == 1
    assert programs(cgroup) == set()


def test_a_map_written_by_somebody_else_is_noticed_and_not_fought(namespace, cgroup, caplog):
    resource = SockOps(cgroup, netns=namespace.path)
    resource.apply_control(SIZE)
    resource._program.write("settings_map", bytes(16))
    state = resource.measure_state()
    assert state.size == resource._found
    assert "has written the map" in caplog.text
    assert programs(cgroup) == set()
    assert resource.get_metrics()["set_by_hand"] == 1.0
    with pytest.raises(SafetyError, match="written the map"):
        resource.apply_control(SIZE)


def test_a_program_detached_by_somebody_else_is_noticed_and_not_attached_again(
    namespace, cgroup, monkeypatch
):
    resource = SockOps(cgroup, netns=namespace.path)
    resource.apply_control(SIZE)
    monkeypatch.setattr(bpf_calls, "attached", lambda descriptor: set())
    with pytest.raises(SafetyError, match="detached the program"):
        resource.apply_control(2 * SIZE)
    monkeypatch.undo()
    assert programs(cgroup) == set()


def test_a_cgroup_that_vanishes_is_told(namespace, cgroup):
    resource = SockOps(cgroup, netns=namespace.path)
    controller = QuantumController(resource)
    controller.optimize()
    resource.apply_control(SIZE)
    cgroup.rmdir()
    with pytest.raises(GoneError, match="is gone"):
        resource.measure_state()
    with pytest.raises(SafetyError, match="is gone"):
        resource.apply_control(2 * SIZE)
    controller.stop()
    resource.release()


def test_a_cgroup_below_that_vanishes_while_it_is_looked_at_is_left_out(namespace, cgroup, monkeypatch):
    walk = os.walk
    vanished = (str(cgroup / "below"), [], [])
    monkeypatch.setattr("quantum_control.resources.socket_bpf.os.walk", lambda top: [*walk(top), vanished])
    resource = SockOps(cgroup, netns=namespace.path)
    assert resource.measure_state().size == resource._found


def test_what_is_no_cgroup_of_version_2_is_refused(tmp_path):
    with pytest.raises(GoneError, match="there is no cgroup"):
        SockOps("no-such-cgroup")
    with pytest.raises(ConfigError, match="no cgroup v2"):
        SockOps(tmp_path)
    with pytest.raises(ActuatorError, match="none of a cgroup v2"):
        SockOpsProgram(shipped_object(), tmp_path)


WITHOUT_PRIVILEGE = """
import os, sys
from quantum_control.core.errors import ActuatorError
from quantum_control.resources.socket_bpf import SockOps, shipped_object
shipped_object()  # imports all that it needs while it may read it
resource = SockOps(sys.argv[1])
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
resource.measure_state()
try:
    resource.apply_control(1_000_000)
except ActuatorError as error:
    print(error)
"""


def test_without_the_privilege_the_reason_and_the_other_way_are_told(cgroup):
    done = subprocess.run(  # noqa: S603 - ourselves
        [sys.executable, "-c", WITHOUT_PRIVILEGE, str(cgroup)], capture_output=True, text=True, timeout=60
    )
    assert "CAP_BPF and CAP_NET_ADMIN" in done.stdout
    assert "control='sysctl'" in done.stdout
    assert programs(cgroup) == set()


def test_a_program_that_the_verifier_refuses_leaves_nothing_open(cgroup):
    shipped = shipped_object()
    broken = type(shipped)(shipped.instructions[:-8], shipped.maps, shipped.uses, shipped.license)
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(ActuatorError, match="loading the eBPF program"):
        SockOpsProgram(broken, cgroup)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert programs(cgroup) == set()


def test_sizes_are_bounded_by_what_the_kernel_takes(namespace, cgroup):
    resource = SockOps(cgroup, netns=namespace.path)
    cap = min(int(Path("/proc/sys/net/core", name).read_text()) for name in ("rmem_max", "wmem_max"))
    assert resource.max_size <= 2 * cap
    with pytest.raises(ConfigError, match="give"):
        resource.apply_control(resource.max_size + 1)
    with pytest.raises(ConfigError, match="nothing is in between"):
        SockOps(cgroup, max_bytes=1)


def test_the_shipped_object_is_what_its_source_says(tmp_path):
    require(
        (which("clang-14") or which("clang")) and Path("/usr/include/bpf/bpf_helpers.h").exists(),
        "building eBPF needs clang-14 and libbpf-dev (scripts/install-servers)",
    )
    subprocess.run([str(SCRIPT), str(tmp_path)], check=True)  # noqa: S603 - ours
    built, shipped = read_object((tmp_path / OBJECT).read_bytes(), SECTION), shipped_object()
    assert built.instructions == shipped.instructions
    assert built == shipped
