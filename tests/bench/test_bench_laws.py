"""`quantum-control bench laws`: paired, reproducible, and the same however the work is cut."""

import csv
import json

import numpy as np
import pytest
from click.testing import CliRunner

from quantum_control.bench import contest, laws
from quantum_control.bench.contest import FIXED, FORESIGHT, Piece, compete, pieces, run_piece
from quantum_control.bench.standings import Standings, holm
from quantum_control.core.errors import ConfigError
from quantum_control.core.physics import Objective

SMALL = ("--runs", "8", "--steps", "300", "--jobs", "1")


def bench(*args: str):
    return CliRunner().invoke(laws.command, [*SMALL, *args], catch_exceptions=False)


def contest_of(names, loads=("bursts",), runs=8, steps=300):
    work = pieces(names, loads, runs=runs, steps=steps, seed=3, objective=Objective())
    return Standings([cost for costs in compete(work, 1) for cost in costs])


def test_nobody_beats_perfect_foresight_and_some_beat_the_best_fixed_size():
    standings = contest_of(["optomechanical", "ewma", FIXED, FORESIGHT], ("bursts", "steps"))
    for load in ("bursts", "steps"):
        bound = standings.cost(FORESIGHT, load)
        for law in ("optomechanical", "ewma", FIXED):
            assert (standings.cost(law, load) >= bound).all()
        assert standings.standing("optomechanical", load).to_fixed < 1.0


def test_a_run_does_not_depend_on_how_the_runs_are_cut():
    objective = Objective()
    whole = run_piece(Piece(("coherent",), ("bursts",), 0, 8, 300, 3, objective))[0].cost
    cut = [
        run_piece(Piece(("coherent",), ("bursts",), first, 4, 300, 3, objective))[0].cost for first in (0, 4)
    ]
    assert np.concatenate(cut) == pytest.approx(whole)


def test_every_law_meets_the_same_arrivals():
    together = contest_of(["ewma", "pid", FIXED, FORESIGHT])
    alone = contest_of(["pid", FIXED, FORESIGHT])
    assert together.cost("pid", "bursts") == pytest.approx(alone.cost("pid", "bursts"))


def test_all_laws_take_part_in_all_loads_but_the_one_that_must_be_told_a_period():
    work = pieces(contest.laws(), contest.loads(), runs=1000, steps=300, seed=1, objective=Objective())
    done = {}
    for piece in work:
        for law in piece.laws:
            for load in piece.loads:
                done[law, load] = done.get((law, load), 0) + piece.runs
    expected = {
        (law, load): 1 if load in contest.TRACES else 1000
        for law in contest.laws()
        for load in contest.loads()
        if law != contest.HOLT_WINTERS or load in contest.PERIODS
    }
    assert done == expected


def test_tables_files_and_picture(tmp_path):
    result = bench("--laws", "auto*,ewma", "--loads", "bursts,steps", "--out", str(tmp_path))
    assert result.exit_code == 0
    assert "auto*" in result.output
    assert "Holm p" in result.output
    with (tmp_path / "summary.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {(row["law"], row["load"]) for row in rows} == {
        (law, load) for law in ("auto*", "ewma", FIXED, FORESIGHT) for load in ("bursts", "steps")
    }
    with (tmp_path / "runs.csv").open() as file:
        runs = [row for row in csv.DictReader(file) if row["law"] == "ewma" and row["load"] == "bursts"]
    mean = np.mean([float(row["cost_per_interval"]) for row in runs])
    assert len(runs) == 8
    assert mean == pytest.approx(contest_of(["ewma"]).cost("ewma", "bursts").mean(), rel=0.5)
    assert (tmp_path / "laws.svg").stat().st_size > 1000


def test_json_says_the_same_as_the_table():
    result = bench("--laws", "ewma", "--loads", "bursts", "--json")
    standings = {row["law"]: row for row in json.loads(result.stdout)["standings"]}
    assert standings["ewma"]["to_foresight"] > standings[FORESIGHT]["to_foresight"] == pytest.approx(1.0)
    assert standings["ewma"]["low"] <= standings["ewma"]["to_foresight"] <= standings["ewma"]["high"]


@pytest.mark.parametrize(
    ("option", "typed", "meant"), [("--laws", "ewmaa", "ewma"), ("--loads", "burst", "bursts")]
)
def test_an_unknown_name_suggests_the_nearest(option, typed, meant):
    with pytest.raises(ConfigError, match=f"'{meant}'"):
        bench(option, typed)


def test_traces_that_are_not_there_are_asked_for(monkeypatch):
    monkeypatch.setattr(laws, "traces_directory", lambda: None)
    with pytest.raises(ConfigError, match="QC_TRACES"):
        bench("--laws", "ewma", "--loads", "nasa")


def test_holms_correction_grows_with_the_number_of_comparisons():
    assert holm([0.01]) == [pytest.approx(0.01)]
    assert holm([0.01, 0.5, 0.5])[0] == pytest.approx(0.03)
    assert holm([]) == []
