"""Arms of the connection-pool benchmark that are told the size."""

from __future__ import annotations

import json
from contextlib import contextmanager, nullcontext

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("psycopg_pool", reason="pip install 'quantum-control[postgres]'")

from quantum_control.bench import connections
from quantum_control.bench.connections import Calibration, _calibration, _candidates, run_arm
from quantum_control.bench.pool_arms import DEFAULTS, OURS, TOLD, Account, Arm, named
from quantum_control.bench.pool_load import PHASES, TRACE
from quantum_control.bench.pool_results import Run
from quantum_control.core.errors import ActuatorError, ConfigError
from quantum_control.simulation.traces import TRACES

CALIBRATION = Calibration(
    rates={phase.name: 20.0 for phase in PHASES},
    candidates={phase.name: [] for phase in PHASES},
    best={phase.name: 3 + index for index, phase in enumerate(PHASES)},
)


def run(arm, seed=5):
    return run_arm(arm, PHASES, CALIBRATION, 0.5, (seed, 0))


@pytest.mark.parametrize("late", [0.0, 0.1], ids=list(TOLD))
def test_it_is_told_the_best_size_of_every_phase_and_keeps_it(late):
    sizes = []
    runs = run(Arm(lambda _: None, 9, Account(), sizes.append, late))
    assert sizes == [CALIBRATION.best[run.phase] for run in runs]
    assert sizes == [run.size for run in runs]
    assert sorted(sizes) == [3, 4]


def test_arrivals_are_those_of_the_other_arms():
    told = run(Arm(lambda _: None, 9, Account(), lambda _: None))
    fixed = run(Arm(lambda _: None, 9, Account()))
    assert [run.size for run in fixed] == [9, 9]
    for one, other in zip(told, fixed, strict=True):
        assert one.phase == other.phase
        assert np.array_equal(one.due, other.due)


def test_a_size_that_was_not_taken_ends_the_run():
    def tell(size):
        raise ActuatorError(f"not {size}")

    with pytest.raises(ActuatorError, match="not"):
        run(Arm(lambda _: None, 9, Account(), tell))


def test_the_best_two_sizes_run_always_if_the_second_is_close():
    assert _candidates({4: 90.0, 8: 100.0, 16: 95.0}) == [8, 16]
    assert _candidates({4: 10.0, 32: 50.0, 64: 100.0}) == [64]


def test_pairs_with_arrivals_of_another_recording_are_not_mixed_in(tmp_path, monkeypatch):
    monkeypatch.setenv("QC_TRACES", str(tmp_path))
    (tmp_path / TRACES[TRACE]).write_bytes(b"1")
    monkeypatch.setattr(connections, "start", lambda *_: nullcontext(Arm(lambda _: None, 9, Account())))
    monkeypatch.setattr(connections, "capacity", lambda *_: 100.0)
    kept = tmp_path / "calibration.json", None, "psycopg_pool", 4.0, 1
    first = _calibration(*kept)
    assert _calibration(*kept) == first
    (tmp_path / TRACES[TRACE]).write_bytes(b"2")
    with pytest.raises(ConfigError, match="give another --out"):
        _calibration(*kept)
    monkeypatch.setenv("QC_TRACES", str(tmp_path / "missing"))
    with pytest.raises(ConfigError, match="'trace': 'none'"):
        _calibration(*kept)


@pytest.mark.parametrize(("backend", "default"), DEFAULTS.items())
def test_a_size_that_people_know_by_a_name_is_called_by_it(backend, default):
    assert named(default, backend) == f"default ({default})"
    assert named(1000, backend) == "fixed 1000"


def test_every_arm_runs_in_the_whole_pairs_and_ours_and_the_best_sizes_in_all(tmp_path, monkeypatch):
    found = Calibration(CALIBRATION.rates, {"hot rows": [4, 8], "waits": [64]}, CALIBRATION.best)
    ran = []

    @contextmanager
    def starting(name, backend, server):
        yield name

    def running(name, phases, calibration, seconds, seed):
        ran.append((seed[1], name, [phase.name for phase in phases]))
        due = np.arange(10, dtype=np.float32)
        return [Run(phase.name, 20.0, due, due * 0.0 + 0.1, 4.0, 0.0) for phase in phases]

    monkeypatch.setattr(connections, "Postgres", lambda settings: nullcontext())
    monkeypatch.setattr(connections, "_execute", lambda server, script: None)
    monkeypatch.setattr(connections, "_calibration", lambda *_: found)
    monkeypatch.setattr(connections, "start", starting)
    monkeypatch.setattr(connections, "run_arm", running)
    given = ["--pairs", "3", "--whole", "1", "--out", str(tmp_path / "out"), "--json"]
    done = CliRunner().invoke(connections.command, given, catch_exceptions=False)
    assert done.exit_code == 0
    later = {(name, tuple(phases)) for pair, name, phases in ran if pair == 2}
    both = tuple(phase.name for phase in PHASES)
    assert later == {
        (OURS, both),
        ("default (4)", ("hot rows",)),
        ("fixed 8", ("hot rows",)),
        ("fixed 64", ("waits",)),
    }
    assert {name for pair, name, _ in ran if pair == 0} > {OURS, "gradient2", "hill climbing", *TOLD}
    shown = json.loads(done.stdout)
    assert shown["pairs"] == 3
    assert shown["phases"]["waits"]["arms"]["gradient2"]["pairs"] == 1
    assert shown["phases"]["waits"]["best_fixed"] == "fixed 64"
    before = len(ran)
    CliRunner().invoke(connections.command, given, catch_exceptions=False)
    assert len(ran) == before
