"""The experiment on the heaps of real JVMs, in small: the machinery, not the outcome."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from integration.host_network import children
from integration.local_jvm import WAY
from integration.requirements import require
from validation.small import small_experiment

from quantum_control.bench.allocator import Load, java
from quantum_control.bench.memory import OPTIONS, PHASES
from quantum_control.bench.server_process import wait_until
from quantum_control.core.errors import ConfigError, SensorError
from quantum_control.resources.jvm_local import LocalJvm
from quantum_control.validation.bed import RUN, Turn
from quantum_control.validation.beds.memory import STEADY, MemoryBed
from quantum_control.validation.beds.service import Service
from quantum_control.validation.plan import committed, read_plan

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("kernel")]

SHORTER = {
    "stretch = 16": "stretch = 1",
    "sizes = [70, 100, 150, 225, 340]": "sizes = [100, 225]",
    "calibration = 8 ": "calibration = 1 ",
    "learning = 4 ": "learning = 1 ",
    "seconds = 0.6": "seconds = 0.3",
}


@pytest.fixture(autouse=True)
def _nothing_left():
    require(java(), f"java is not installed; {WAY}")
    before = children()
    yield
    assert children() == before


@pytest.fixture
def service():
    made = Service([*OPTIONS, *STEADY], 200.0)
    yield made
    made.close()


def state(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def stopped(service):
    return wait_until(lambda: state(service.pid) == "T")


def served(service, load, seed=1):
    service.serve(load, seed)
    rows = None
    while rows is None:
        rows = service.served(1.0)
    return rows


def test_a_small_experiment_runs_from_the_plan_to_the_report(tmp_path):
    found, calibration = small_experiment("memory", SHORTER, tmp_path)
    for arm, means in found["means"].items():
        assert 20 * 2**20 <= means["heap"] <= 533 * 2**20, arm
        assert means["cost"] == pytest.approx(means["collecting"] + 0.5 * means["heap"] / 2**30, rel=1e-4)
        assert 0.0 < means["latency_mean"] <= means["latency_p99"]
        assert 0.0 <= means["stalled"] <= 1.0
    costs = {int(size): cost for size, cost in calibration["cost_by_size"].items()}
    assert set(costs) == {100, 225}
    assert costs[calibration["best_fixed"]] == min(costs.values())


def test_each_arm_meets_every_phase_equally_often():
    plan = read_plan(committed())
    of = plan.of("memory")
    bed = MemoryBed(of.bed)
    met = {arm: Counter() for arm in of.others}
    phases = []
    for stretch in range(len(of.others)):
        turn = Turn.of(plan.seed_of("memory"), RUN, stretch * of.stretch, of.stretch)
        phases.append(bed._phase(turn))
        met[of.others[stretch]][phases[-1]] += 1
        assert bed._phase(replace(turn, place=of.stretch - 1)) == phases[-1]
    for arm, often in met.items():
        assert set(often) == set(PHASES), arm
        assert len(set(often.values())) == 1, arm
    # The order is not the same in every round: what comes next cannot be learnt.
    assert len({tuple(phases[at : at + 4]) for at in range(0, len(phases), 4)}) > 5


def test_it_says_which_java_it_has():
    assert "17" in MemoryBed(read_plan(committed()).of("memory").bed).versions()["java"]


def test_the_same_seed_is_the_same_requests(service):
    service.go()
    load = Load(0.3, 20.0, 50.0)
    one, other, another = served(service, load), served(service, load), served(service, load, seed=2)
    assert one[:, 0].tolist() == other[:, 0].tolist() != another[:, 0].tolist()
    assert (one[:, 1] > 0.0).all()


def test_time_stands_still_while_it_is_stopped(service):
    jvm = LocalJvm(service.pid, counters=service.counters)
    service.go()
    served(service, Load(0.3, 60.0, 400.0))
    before = jvm.read()
    service.halt()
    assert stopped(service)
    time.sleep(1.0)
    service.go()
    after = jvm.read()
    assert state(service.pid) != "T"
    # What passed is what it took to ask, and the 50 ms in which the JVM's own clock moves, not the stop.
    assert 0.0 <= after.time - before.time < 0.5
    served(service, Load(0.6, 60.0, 400.0))
    later = jvm.read()
    assert later.time > after.time
    assert later.live < 300 * 2**20
    service.halt()


def test_a_program_that_fails_says_why():
    with pytest.raises(ConfigError, match=r"did not start: .*Xnonsense"):
        Service(["-Xnonsense"], 200.0)
    small = Service(["-XX:+UseZGC", "-Xmx64m"], 200.0)
    try:
        small.go()
        with pytest.raises(SensorError, match="OutOfMemoryError"):
            served(small, Load(0.2, 500.0, 10.0))
    finally:
        small.close()


def test_a_stopped_program_is_ended_as_well(service):
    assert stopped(service)
    service.close()
    assert not Path(f"/proc/{service.pid}").exists()
