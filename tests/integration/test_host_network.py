"""The comparison that watches over the tests of the kernel: what is left behind is found and named."""

from __future__ import annotations

import os

import pytest
from integration.host_network import GROUPS, differences, host_machine, machine_left_as_found
from integration.requirements import require

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("kernel")]

ROOTS = (GROUPS, GROUPS / "memory")
"""Of control groups, version 2 and 1."""


@pytest.fixture
def group():
    """A control group that is left behind, for the length of a test."""
    root = next((each for each in ROOTS if (each / "cgroup.procs").exists()), None)
    require(os.geteuid() == 0 and root, "control groups need root and a mounted /sys/fs/cgroup")
    left = root / f"quantum_control-left-{os.getpid()}"
    yield left
    if left.exists():
        left.rmdir()


def test_nothing_left_is_nothing_said():
    with machine_left_as_found():
        pass


def test_a_control_group_that_is_left_fails_by_its_name(group):
    with pytest.raises(pytest.fail.Exception, match=group.name), machine_left_as_found(seconds=0.0):
        group.mkdir()


def test_one_that_goes_in_time_does_not(group):
    with machine_left_as_found():
        group.mkdir()
        group.rmdir()


def test_every_difference_is_told():
    before = host_machine()
    assert any(name.startswith("mount ") for name in before)
    assert {"ip -o link", "/proc/sys/vm/swappiness", "/proc/sys/net/core/somaxconn"} <= before.keys()
    after = before | {"/proc/sys/vm/swappiness": "other", "mount 0 at /left": "tmpfs"}
    del after["ip -o link"]
    told = differences(before, after)
    assert [line.partition(":")[0] for line in told] == [
        "/proc/sys/vm/swappiness",
        "ip -o link",
        "mount 0 at /left",
    ]
