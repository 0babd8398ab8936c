"""No decision depends on the wall clock, which may be set at any moment."""

import ast
import time
from pathlib import Path

import pytest
from faulty import Lively

import quantum_control
from quantum_control.config import Mode, ResourceSection
from quantum_control.core.journal import Journal
from quantum_control.daemon import steering as module
from quantum_control.daemon.audit import AuditLog, read_records
from quantum_control.daemon.steering import Steering
from quantum_control.daemon.surroundings import Surroundings

ROOT = Path(quantum_control.__file__).parent

WALL = {
    ("time", "time"),
    ("time", "time_ns"),
    ("time", "localtime"),
    ("datetime", "now"),
    ("time", "strftime"),
}

TOLD_TO_PEOPLE = {
    "core/journalled.py": "when an original was found",
    "core/quiet.py": "quiet hours are a matter of the wall clock",
    "daemon/history.py": "--since 10m",
    "daemon/steering.py": "when a decision was made, in the audit log",
    "daemon/supervisor.py": "when the configuration was read, for systemctl status",
}
"""Where the wall clock may be asked, and for what."""


def asks_the_wall_clock(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return any(
        isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and (node.value.id, node.attr) in WALL
        for node in ast.walk(tree)
    )


def test_only_what_is_told_to_people_asks_the_wall_clock():
    files = [*ROOT.glob("core/*.py"), *ROOT.glob("daemon/*.py"), *ROOT.glob("physics/*.py")]
    asking = {path.relative_to(ROOT).as_posix() for path in files if asks_the_wall_clock(path)}
    assert asking == set(TOLD_TO_PEOPLE)


@pytest.mark.parametrize("mode", list(Mode))
def test_decisions_are_the_same_whatever_the_wall_clock_does(tmp_path, monkeypatch, mode):
    monkeypatch.setattr(module, "resource_type", lambda kind: Lively)
    steady = decisions(tmp_path / "steady", mode)
    real, jumps = time.time, iter((10.0**9, -(10.0**9), 0.0, -1e5, 3600.0) * 100)
    monkeypatch.setattr(time, "time", lambda: real() + next(jumps))
    assert decisions(tmp_path / "jumping", mode) == steady


def decisions(folder, mode):
    """What 100 steps decided and recorded, but for the time of day."""
    folder.mkdir()
    path = folder / "size"
    path.write_text("10", encoding="ascii")
    audit = AuditLog(folder, 1_000_000, 2)
    journal = Journal(folder / "journal.db")
    now = [0.0]
    section = ResourceSection(kind="lively", mode=mode, options={"path": str(path)}, hold_off=3.0)
    steering = Steering("web", section, Surroundings(journal, audit, {}, folder, folder), lambda: now[0])
    sizes = []
    for _ in range(100):
        now[0] += 1.0
        steering.step()
        sizes.append(path.read_text(encoding="ascii"))
    steering.end()
    audit.close()
    journal.close()
    assert path.read_text(encoding="ascii") == "10"
    records = [{key: value for key, value in each.items() if key != "time"} for each in read_records(folder)]
    assert len(records) == 100
    return sizes, records
