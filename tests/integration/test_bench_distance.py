"""A short run of each way over a real line."""

import os
from pathlib import Path
from shutil import which

import pytest
from integration.host_network import children, host_network, require_namespaces
from integration.requirements import require

from quantum_control.bench.long_line import ARMS, CGROUP, Line, own_cgroup, run
from quantum_control.resources.socket_bpf import cgroup2_root

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("kernel")]

SHORT = Line(rate=20e6, distance=0.05, seconds=3.0, settled=1.0)


def state():
    """What of the machine a run must leave as it was."""
    cgroups = [place.name for place in cgroup2_root().iterdir() if f"-{os.getpid()}-" in place.name]
    return host_network(), children(), cgroups, Path("/proc/self/cgroup").read_text()


NO_PROCESS = 2**22 + 1
"""Past the largest number that the kernel gives a process."""


@pytest.mark.parametrize("name", ["default", "sysctl", "ebpf"])
def test_an_arm_carries_data_over_the_line_and_leaves_nothing_behind(name):
    require_namespaces()
    require(which("iperf3"), "the benchmark sends with iperf3 (scripts/install-servers)")
    require(" cgroup2 " in Path("/proc/mounts").read_text(), "a cgroup v2 hierarchy; mount one")
    before = state()
    result = run(name, SHORT)
    assert state() == before
    times, counts = zip(*result["arrived"], strict=True)
    assert counts[-1] > 0.1 * SHORT.bound * times[-1], "data went over the line"
    assert bool(result["steps"]) is (ARMS[name].steer is not None)
    assert 0.0 <= result["delay"] < 60.0


def test_a_cgroup_that_a_killed_benchmark_left_is_taken_away_by_the_next():
    require_namespaces()
    require(" cgroup2 " in Path("/proc/mounts").read_text(), "a cgroup v2 hierarchy; mount one")
    left = cgroup2_root() / f"{CGROUP}-{NO_PROCESS}-client"
    left.mkdir()
    try:
        with own_cgroup("client") as made:
            assert made.is_dir()
            assert not left.exists()
        assert not made.exists()
    finally:
        if left.exists():
            left.rmdir()
