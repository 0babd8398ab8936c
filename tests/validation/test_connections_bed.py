"""The experiment on pools before a real PostgreSQL, in small: the machinery, not the outcome."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("psycopg_pool", reason="pip install 'quantum-control[postgres]'")

from integration.pool_load import installed
from validation.small import small_experiment

from quantum_control.bench.pool_load import CLIENTS, PHASES, SLOT, TRACE
from quantum_control.simulation.traces import TRACES
from quantum_control.validation.bed import RUN, Turn
from quantum_control.validation.beds.connections import SIZE, ConnectionsBed
from quantum_control.validation.plan import committed, read_plan

pytestmark = pytest.mark.integration

SHORTER = {
    "stretch = 20": "stretch = 1",
    "sizes = [4, 8, 16, 24, 32, 48, 64]": "sizes = [2, 16]",
    "capacity = 1.5": "capacity = 0.1",
    "sweep = 40": "sweep = 2",
    "seconds = 0.5": "seconds = 0.25",
}

MEASURED = {
    "arrivals_per_second": {phase.name: 100.0 for phase in PHASES},
    "best_fixed": 6,
    "best_in_phase": {"hot rows": 3, "waits": 17},
}


@pytest.fixture(autouse=True)
def _postgres():
    installed("postgres")


@pytest.fixture(scope="module")
def of():
    return read_plan(committed()).of("connections")


@pytest.fixture(scope="module")
def bed(of):
    installed("postgres")
    with ConnectionsBed(of.bed) as bed:
        bed.prepare(MEASURED, ["default", "best fixed", "peer", "auto", "watched", "unsteered", "told"])
        yield bed


def test_a_small_experiment_runs_from_the_plan_to_the_report(tmp_path):
    found, calibration = small_experiment("connections", SHORTER, tmp_path)
    for arm, means in found["means"].items():
        assert 0.0 < means["latency_mean"] <= means["latency_p99"], arm
        assert 0.0 <= means["lost"] <= 1.0
        assert means["throughput"] > 0.0
    assert found["means"]["default"]["connections"] == SIZE
    latencies = {int(size): latency for size, latency in calibration["latency_by_size"].items()}
    assert latencies[calibration["best_fixed"]] == min(latencies.values())
    assert found["means"]["best fixed"]["connections"] == calibration["best_fixed"]
    assert set(calibration["best_in_phase"]) == set(calibration["latency_in_phase"])
    assert set(calibration["best_in_phase"]) == {phase.name for phase in PHASES}
    for phase, size in calibration["best_in_phase"].items():
        here = calibration["latency_in_phase"][phase]
        assert here[str(size)] == min(here.values())


def test_the_pairs_of_a_stretch_are_one_phase_that_begins_with_a_slot_of_the_one_before(bed, of):
    tables = [bed._table(Turn.of(1, RUN, pair, of.stretch)) for pair in range(2 * of.stretch)]
    for stretch, phase in enumerate(PHASES):
        before = PHASES[stretch - 1]
        statements, due = [], []
        for place in range(of.stretch):
            table = tables[stretch * of.stretch + place]
            assert np.all((table.due >= 0.0) & (table.due < table.seconds))
            statements += table.statements
            due += (table.due + place * table.seconds).tolist()
        first = [kind for kind, at in zip(statements, due, strict=True) if at < SLOT]
        then = [kind for kind, at in zip(statements, due, strict=True) if at >= SLOT]
        only = {"hot rows": "transfer", "waits": "pg_sleep"}
        assert any(only[before.name] in kind for kind in first)
        assert not any(only[before.name] in kind for kind in then)
        assert not any(only[phase.name] in kind for kind in first)
        assert any(only[phase.name] in kind for kind in then)


def test_all_arms_get_the_same_transactions(bed, of):
    turn = Turn.of(1, RUN, 5, of.stretch)
    assert bed._table(turn).statements == bed._table(turn).statements
    assert bed._table(turn).statements != bed._table(Turn.of(1, RUN, 6, of.stretch)).statements


def test_what_is_steered_goes_on_where_it_was_and_its_time_stands_still(bed, of):
    arm = bed._arms["auto"]
    for pair in range(3):
        block = bed.run("auto", Turn.of(1, RUN, pair, of.stretch))
        assert block.steps > 0
        assert block.control_cpu > 0.0
        size, at = arm.pool.max_size, arm.steps.clock()
        bed.run("default", Turn.of(1, RUN, pair, of.stretch))
        assert arm.steps.clock() == at
        assert arm.pool.max_size == size
    assert 1 <= arm.size() <= CLIENTS
    assert block.course[0][1] >= 1.0


def test_fixed_sizes_and_what_is_only_watched_stay_as_they_are(bed, of):
    for name, size in (("default", SIZE), ("best fixed", 6), ("watched", SIZE), ("unsteered", SIZE)):
        block = bed.run(name, Turn.of(1, RUN, 0, of.stretch))
        assert {each for _, each, _ in block.course} == {size}, name
        assert (block.steps > 0) == (name == "watched")
        assert block.metrics["lost"] < 1.0


def test_who_is_told_the_size_is_told_at_the_change(bed, of, monkeypatch):
    arm, told = bed._arms["told"], []

    def tell(size):
        told.append((size, arm.pool.max_size))
        arm.tell(size)

    monkeypatch.setitem(bed._arms, "told", replace(arm, tell=tell))
    waits = next(number for number, phase in enumerate(PHASES) if phase.name == "waits")
    at = arm.clock()
    bed.run("told", Turn.of(1, RUN, waits * of.stretch, of.stretch))
    assert [size for size, _ in told] == [3, 17]
    assert told[1] == (17, 3)
    assert arm.pool.max_size == 17
    stopped = arm.clock()
    assert stopped > at
    bed.run("default", Turn.of(1, RUN, 0, of.stretch))
    assert arm.clock() == stopped
    bed.run("told", Turn.of(1, RUN, waits * of.stretch + 1, of.stretch))
    assert [size for size, _ in told] == [3, 17, 17]


def test_each_arm_meets_every_phase_equally_often(of):
    met = Counter(
        (of.others[stretch % len(of.others)], stretch % len(PHASES)) for stretch in range(1000 // of.stretch)
    )
    for arm in set(of.others):
        assert len({met[arm, phase] for phase in range(len(PHASES))}) == 1
        assert met[arm, 0] > 0


def test_it_says_which_arrivals_and_which_server_it_has(bed, monkeypatch, tmp_path):
    monkeypatch.setenv("QC_TRACES", str(tmp_path))
    (tmp_path / TRACES[TRACE]).write_bytes(b"1")
    digest = "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"
    assert bed.inputs() == {"trace": f"{TRACES[TRACE]}, SHA-256 {digest}"}
    monkeypatch.setenv("QC_TRACES", str(tmp_path / "missing"))
    assert bed.inputs() == {"trace": "none"}
    assert bed.versions()["postgresql"][0].isdigit()
