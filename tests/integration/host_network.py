"""What of this machine's own network a test must not have touched."""

import os
import subprocess
from contextlib import contextmanager
from pathlib import Path
from shutil import which

import pytest
from integration.requirements import require

from quantum_control.bench.server_process import wait_until

SYSCTLS = ("net.core", "net.ipv4")

GROUPS = Path("/sys/fs/cgroup")


def require_namespaces():
    require(
        os.geteuid() == 0 and which("tc") and Path("/dev/net/tun").exists(),
        "network namespaces need root, iproute2 (scripts/install-servers) and /dev/net/tun",
    )


def host_network():
    """Interfaces, addresses, routes, queue disciplines, sysctls and named namespaces, as text."""
    commands = (
        "ip -o link",
        "ip -o addr",
        "ip route",
        "tc qdisc show",
        "tc class show dev lo",
        "ip netns list",
    )
    told = {
        each: subprocess.run(each.split(), capture_output=True, text=True).stdout  # noqa: S603 - fixed commands
        for each in commands
        if which(each.split()[0])
    }
    return told | sysctls(*SYSCTLS)


def sysctls(*roots):
    """Settings below some sysctls, by their files."""
    told = {}
    for root in roots:
        for path in sorted(Path("/proc/sys", root.replace(".", "/")).rglob("*")):
            # Those that count or cannot be read are no settings.
            if path.is_file() and path.stat().st_mode & 0o200 and path.name != "flush":
                try:
                    told[str(path)] = path.read_text()
                except OSError:
                    continue
    return told


def children():
    """Process ids of what this process has started and what is still there."""
    lists = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    return {child for each in lists for child in each.read_text().split()}


@contextmanager
def network_left_as_found():
    """Skip without namespaces; fail if the host's network or a process is left other than it was."""
    require_namespaces()
    before = host_network(), children()
    yield
    assert (host_network(), children()) == before


def host_machine():
    """The network, sysctls of memory and network, control groups of ours, and mounts."""
    told = host_network() | sysctls("vm", "net")
    told |= {str(path): "control group" for path in GROUPS.rglob("quantum_control[-_]*") if path.is_dir()}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        told[f"mount {fields[0]} at {fields[4]}"] = " ".join(fields[2:])
    return told


def differences(before, after):
    """What is not as it was, a line each."""
    return [
        f"{name}: {before.get(name, 'nothing')!r} -> {after.get(name, 'nothing')!r}"
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]


@contextmanager
def machine_left_as_found(seconds=10.0):
    """Fail at the end unless the machine is as it was; what others have for a moment may go first."""
    before = host_machine()
    yield
    if not wait_until(lambda: host_machine() == before, seconds, pause=0.5):
        pytest.fail("left behind on this machine:\n" + "\n".join(differences(before, host_machine())))
