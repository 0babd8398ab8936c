"""What measuring itself would change of a heap, which is not for a daemon that only looks."""

from __future__ import annotations

from dataclasses import replace

import pytest
from resources.test_jvm_heap import MIB, FakeJvm

from quantum_control.config import ResourceSection
from quantum_control.core.journal import Journal
from quantum_control.daemon import steering
from quantum_control.daemon.audit import AuditLog
from quantum_control.daemon.steering import Steering
from quantum_control.daemon.surroundings import Surroundings
from quantum_control.resources.memory import MemoryResource


def test_what_is_not_steered_by_measuring_cannot_be_made_to():
    front = MemoryResource(control="jvm", jvm=FakeJvm())
    assert not front.steers_while_measuring
    quiet = MemoryResource(control="jvm", jvm=FakeJvm(), collect_when_quiet=True)
    assert quiet.steers_while_measuring
    quiet.steers_while_measuring = False
    assert not quiet.steered.steers_while_measuring


@pytest.fixture
def around(tmp_path):
    journal, audit = Journal(tmp_path / "journal.db"), AuditLog(tmp_path, 65_536, 2)
    yield Surroundings(journal, audit, {}, tmp_path / "locks", tmp_path)
    audit.close()
    journal.close()


@pytest.mark.parametrize(("mode", "collected"), [("observe", 0), ("shadow", 0), ("active", 1)])
def test_a_daemon_that_only_looks_asks_no_jvm_for_a_collection(around, monkeypatch, mode, collected):
    jvm, now = FakeJvm(), [0.0]

    def steered(kind):
        return lambda **_: MemoryResource(control="jvm", jvm=jvm, collect_when_quiet=True)

    monkeypatch.setattr(steering, "resource_type", steered)
    daemon = Steering("heap", ResourceSection(kind="memory", mode=mode), around, lambda: now[0])
    for second in range(7):
        jvm.wait()
        if second >= 5:  # the program rests, with much garbage
            jvm.rate, jvm.reading = 0.0, replace(jvm.reading, used=900 * MIB)
        now[0] += 1.0
        daemon.step()
    assert jvm.collected == collected
    assert (jvm.flags["SoftMaxHeapSize"] == 1000 * MIB) == (mode != "active")
    daemon.end()
    assert jvm.flags["SoftMaxHeapSize"] == 1000 * MIB
    assert around.journal.originals() == []
