"""Groups of a machine of our own making."""

import pytest

from quantum_control import MemoryResource
from quantum_control.core.errors import SensorError
from quantum_control.resources import cgroup_memory
from quantum_control.resources.find_cgroup import find
from quantum_control.sources.cgroups import memory_group


@pytest.fixture
def machine(tmp_path):
    proc, hierarchy = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "self" / "mountinfo").write_text(f"31 20 0:26 / {hierarchy} rw - cgroup2 cgroup2 rw\n")
    for pid, path in ((1, "/"), (7, "/web"), (8, "/web"), (9, "/gone"), (12, "/mail")):
        (proc / str(pid)).mkdir()
        (proc / str(pid) / "cgroup").write_text(f"0::{path}\n")
    for name in ("web", "mail"):
        (hierarchy / name).mkdir(parents=True)
        (hierarchy / name / "memory.current").write_text(f"{50 << 20}\n")
    (hierarchy / "web" / "memory.pressure").write_text("some avg10=0 avg60=0 avg300=0 total=0\n")
    return proc


def test_each_group_is_found_once_by_its_first_process(machine):
    web, mail = find(machine)
    assert (web.kind, web.name, web.options) == (
        "memory",
        "cgroup-web-7",
        {"process_id": 7, "control": "cgroup"},
    )
    assert "50 MiB in use, version 2" in web.note
    assert mail.options["process_id"] == 12


def test_what_is_missing_to_steer_it_is_told(machine):
    web, mail = find(machine)
    assert "pressure" not in web.note.partition("version")[2]
    assert "pressure" in mail.note.partition("version")[2]


def test_only_what_can_be_begun_as_it_is_counts_as_possible(machine, monkeypatch):
    """As the resource itself says of the same process."""
    monkeypatch.setattr(cgroup_memory, "memory_group", lambda pid: memory_group(pid, machine))
    for name in ("web", "mail"):
        for file, content in (("memory.high", "max"), ("memory.stat", "anon 0")):
            (machine.parent / "cgroup" / name / file).write_text(f"{content}\n")
    web, mail = find(machine)
    assert (web.possible, mail.possible) == (True, False)
    MemoryResource(**web.options).measure_state()
    with pytest.raises(SensorError, match="pressure"):
        MemoryResource(**mail.options)
