"""A run of the heap benchmark whose JVM ends, or stops answering, in mid-step."""

from __future__ import annotations

import numpy as np
import pytest
from resources.test_jvm_heap import FakeJvm

from quantum_control.bench import memory
from quantum_control.bench.memory_arms import RULE, Steering
from quantum_control.core.errors import ActuatorError


class Program:
    """Has served one request, and runs on for ever unless it `ends`."""

    running, pid, will_end = True, 0, True

    def __init__(self, loads, *, options, seed, latencies):
        np.savetxt(latencies, [[0, 0, 100]])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def go(self):
        pass

    def ends(self):
        return self.will_end

    def wait(self):
        pass


class Refused(Steering):
    def _step(self):
        raise ActuatorError("setting SoftMaxHeapSize: JVM 7 cannot be asked")


@pytest.fixture(autouse=True)
def parts(monkeypatch):
    monkeypatch.setattr(memory, "Allocator", Program)
    monkeypatch.setattr(memory, "LocalJvm", lambda pid: FakeJvm())
    monkeypatch.setattr(memory, "start", lambda name, pid, price: Refused())
    monkeypatch.setattr(memory, "INTERVAL", 0.0)


def test_an_order_that_fails_as_the_jvm_ends_ends_the_run():
    run = memory.run_arm(RULE, 0.5, 0.11, (1, 0))
    assert len(run.samples) == 1
    assert len(run.requests) == 1


def test_one_that_fails_while_the_jvm_goes_on_fails_the_run(monkeypatch):
    monkeypatch.setattr(Program, "will_end", False)
    with pytest.raises(ActuatorError, match="cannot be asked"):
        memory.run_arm(RULE, 0.5, 0.11, (1, 0))
