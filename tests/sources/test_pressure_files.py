"""Pressure files and control groups, as the kernel writes them and as it does not."""

import errno
from pathlib import Path

import pytest

from quantum_control.core.errors import ConfigError, SensorError
from quantum_control.sources.cgroups import memory_group
from quantum_control.sources.pressure import Pressure, Stalled

TOLD = (
    "some avg10=1.00 avg60=0.50 avg300=0.10 total=2500000\n"
    "full avg10=0.00 avg60=0.00 avg300=0.00 total=1000000\n"
)


def test_totals_are_seconds(tmp_path):
    (tmp_path / "memory.pressure").write_text(TOLD)
    assert Pressure(tmp_path / "memory.pressure").read() == Stalled(2.5, 1.0)


def test_without_full_it_is_none(tmp_path):
    (tmp_path / "cpu.pressure").write_text(TOLD.splitlines()[0])
    assert Pressure(tmp_path / "cpu.pressure").read() == Stalled(2.5, 0.0)


@pytest.mark.parametrize("text", ["", "nothing", "some total=many\n", "full total=3\n"])
def test_another_file_is_recognised(tmp_path, text):
    (tmp_path / "x").write_text(text)
    with pytest.raises(SensorError, match="no pressure file"):
        Pressure(tmp_path / "x").read()


def test_a_kernel_that_does_not_account_is_told_apart_from_a_group_that_is_gone(monkeypatch, tmp_path):
    with pytest.raises(SensorError, match="group is gone"):
        Pressure(tmp_path / "gone").read()

    def refuse(*args, **options):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(SensorError, match="psi=1"):
        Pressure(tmp_path / "x").read()


def test_a_kernel_without_psi_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(Path, "is_dir", lambda path: str(path) != "/proc/pressure")
    with pytest.raises(SensorError, match="CONFIG_PSI"):
        Pressure(tmp_path / "memory.pressure").read()


class Machine:
    """A /proc of our own making."""

    def __init__(self, folder, groups, mounts):
        (folder / "7").mkdir()
        (folder / "self").mkdir()
        (folder / "7" / "cgroup").write_text(groups)
        (folder / "self" / "mountinfo").write_text(mounts)


V1 = (
    "30 20 0:25 / {0}/memory rw - cgroup cgroup rw,memory\n31 20 0:26 / {0}/unified rw - cgroup2 cgroup2 rw\n"
)
V2 = "31 20 0:26 / {0} rw - cgroup2 cgroup2 rw\n"


def test_a_group_of_version_1_has_its_pressure_in_version_2(tmp_path):
    Machine(tmp_path, "4:cpu,memory:/a/b\n0::/c\n", V1.format(tmp_path))
    found = memory_group(7, tmp_path)
    assert (found.version, found.folder) == (1, tmp_path / "memory/a/b")
    assert found.pressure == tmp_path / "unified/c/memory.pressure"


def test_a_group_of_version_2_has_both(tmp_path):
    Machine(tmp_path, "0::/a\n", V2.format(tmp_path))
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "memory.current").write_text("1")
    found = memory_group(7, tmp_path)
    assert (found.version, found.folder) == (2, tmp_path / "a")


def test_a_group_whose_memory_is_not_accounted_for_is_told(tmp_path):
    Machine(tmp_path, "0::/a\n", V2.format(tmp_path))
    (tmp_path / "a").mkdir()
    with pytest.raises(ConfigError, match=r"cgroup\.subtree_control"):
        memory_group(7, tmp_path)


def test_in_a_container_the_path_is_that_of_the_mount(tmp_path):
    Machine(tmp_path, "0::/pod/a\n", f"31 20 0:26 /pod {tmp_path} rw - cgroup2 cgroup2 rw\n")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "memory.current").write_text("1")
    assert memory_group(7, tmp_path).folder == tmp_path / "a"


@pytest.mark.parametrize("groups", ["4:memory:/\n0::/c\n", "4:memory:/a\n0::/\n", "0::/\n", "4:memory:/a\n"])
def test_a_process_without_a_group_of_its_own_is_told_how_to_get_one(tmp_path, groups):
    Machine(tmp_path, groups, V1.format(tmp_path))
    with pytest.raises(ConfigError, match="systemd-run --scope"):
        memory_group(7, tmp_path)


def test_a_hierarchy_that_is_not_mounted_is_told(tmp_path):
    Machine(tmp_path, "0::/a\n", "")
    with pytest.raises(ConfigError, match="mounted nowhere"):
        memory_group(7, tmp_path)


def test_a_process_that_is_not_there_is_told(tmp_path):
    with pytest.raises(SensorError, match="no process 7"):
        memory_group(7, tmp_path)
