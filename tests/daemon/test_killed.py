"""Killed at any point of a step, the original comes back."""

import os
import random
import signal
import time

import pytest
from daemons import wait_for
from faulty import FileResource, Lively, TripleResource

from quantum_control.config import Mode, ResourceSection
from quantum_control.core.journal import Journal
from quantum_control.core.recovery import Fate, recover
from quantum_control.daemon import steering as module
from quantum_control.daemon.audit import AuditLog
from quantum_control.daemon.steering import Steering
from quantum_control.daemon.surroundings import Surroundings

POINTS = 200
BATCH = 8
"""Processes at once."""


class LivelyTriple(TripleResource):
    """A triple under ever other demand."""

    def __init__(self, path):
        super().__init__(path)
        self.random = random.Random(1)

    def measure_state(self):
        state = super().measure_state()
        return type(state).from_demand(self.random.choice((3.0, 50.0, 200.0)), size=state.size)


KINDS = {"file": FileResource, "lively": Lively, "triple": LivelyTriple}


def steer(folder, kinds):
    """What the process that is killed does: steps without end."""
    around = Surroundings(
        Journal(folder / "journal.db"), AuditLog(folder, 65_536, 2), {}, folder / "locks", folder
    )
    steered = [
        Steering(
            kind,
            ResourceSection(kind=kind, mode=Mode.ACTIVE, interval=0.01, options={"path": str(path)}),
            around,
        )
        for kind, path in kinds.items()
    ]
    while True:
        for each in steered:
            each.step()


@pytest.fixture
def known(monkeypatch):
    monkeypatch.setattr(module, "resource_type", KINDS.__getitem__)


def begun(folder):
    """A process that steers two resources, and their files."""
    folder.mkdir()
    paths = {"lively": folder / "lively", "triple": folder / "triple"}
    paths["lively"].write_text("10", encoding="ascii")
    paths["triple"].write_text("[1, 10, 15]", encoding="ascii")
    pid = os.fork()
    if pid == 0:
        try:
            steer(folder, paths)
        finally:
            os._exit(1)
    return pid, paths


def recovered(folder):
    if not (folder / "journal.db").exists():
        return []
    journal = Journal(folder / "journal.db")
    done = [
        recover(journal, each, lambda original: KINDS[original.kind](**original.options))
        for each in journal.originals()
    ]
    assert journal.originals() == []
    journal.close()
    return done


@pytest.mark.parametrize("quarter", range(4))
def test_killed_at_random_points_nothing_stays_changed(tmp_path, known, quarter):
    rng = random.Random(quarter)
    killed = changed = 0
    for batch in range(POINTS // 4 // BATCH + 1):
        started = [begun(tmp_path / f"{batch}-{number}") for number in range(BATCH)]
        for number, (pid, paths) in enumerate(started):
            if number % 4:  # the others are killed while they begin
                wait_for(
                    lambda paths=paths: any("10" not in path.read_text("ascii") for path in paths.values())
                )
            time.sleep(rng.uniform(0.0, 0.02))
            os.kill(pid, signal.SIGKILL)
        for number, (pid, paths) in enumerate(started):
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
            killed += 1
            changed += paths["lively"].read_text(encoding="ascii") != "10"
            done = recovered(tmp_path / f"{batch}-{number}")
            assert {each.fate for each in done} <= {Fate.RESTORED, Fate.THERE}, done
            assert paths["lively"].read_text(encoding="ascii") == "10"
            assert paths["triple"].read_text(encoding="ascii") == "[1, 10, 15]"
    assert killed >= POINTS // 4
    assert changed > POINTS // 8  # the points are where something is at stake
