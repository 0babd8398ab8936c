"""The queue benchmark: which fixed limit is best, what the table says, what is kept."""

import numpy as np
import pytest
from click.testing import CliRunner

from quantum_control.bench import buffer
from quantum_control.bench.buffer import ARMS, command, title
from quantum_control.bench.queue_course import Phase, figures
from quantum_control.bench.queue_results import Results, place, read, write
from quantum_control.core.errors import ConfigError

RATES = (10e6, 100e6)


def phase(rate, throughput, p95, limit=25_000.0, lost=0):
    return Phase(rate, throughput, np.full(200, p95), lost, 0.001, limit)


def kept(folder, runs, pairs=1):
    """Results of runs given as {arm: [(throughput, p95) of each rate]}."""
    for pair in range(pairs):
        for arm, cells in runs.items():
            write(place(folder, pair, arm), [phase(r, *cell) for r, cell in zip(RATES, cells, strict=True)])
    return Results(folder, list(runs), pairs, RATES)


def test_a_run_is_read_as_it_was_written(tmp_path):
    phases = [phase(10e6, 0.9, 0.0625, lost=3), Phase(100e6, 0.5, np.array([0.25]), 0, 0.0, 1.0)]
    write(tmp_path / "a.npz", phases)
    for old, new in zip(phases, read(tmp_path / "a.npz"), strict=True):
        assert figures(old) == figures(new)
        assert (old.rate, old.cpu, old.limit) == (new.rate, new.cpu, new.limit)
    assert not list(tmp_path.glob("*.part"))


def test_what_was_lost_counts_and_a_phase_without_arrivals_is_infinitely_late():
    assert figures(phase(10e6, 1.0, 0.02, lost=50))["lost"] == 0.2
    empty = figures(Phase(10e6, 0.0, np.array([]), 10, 0.0, 1.0))
    assert empty["p95"] == np.inf
    assert empty["lost"] == 1.0


def test_the_best_fixed_limit_has_the_least_delay_of_those_that_carry_enough(tmp_path):
    results = kept(
        tmp_path,
        {
            "100": [(0.90, 0.001), (0.50, 0.001)],
            "200": [(0.99, 0.010), (0.60, 0.002)],
            "300": [(1.00, 0.100), (0.99, 0.010)],
        },
    )
    assert results.best(["100", "200", "300"]) == ["200", "300"]
    assert results.overall(["100", "200", "300"], ["200", "300"]) == "300"


def test_where_no_limit_will_do_the_one_that_comes_closest_is_the_best_over_all(tmp_path):
    results = kept(tmp_path, {"100": [(1.0, 0.01), (0.5, 0.01)], "200": [(0.9, 0.01), (1.0, 0.01)]})
    assert results.overall(["100", "200"], ["100", "200"]) == "200"


@pytest.mark.parametrize("pairs", [2, 8])
def test_the_table_has_every_arm_over_the_best_of_each_rate(tmp_path, pairs):
    runs = {"15000": [(1.0, 0.02), (0.5, 0.01)], "optomechanical": [(0.99, 0.025), (1.0, 0.02)]}
    lines = kept(tmp_path, runs, pairs).table(["15000"], title).splitlines()
    assert lines[2].startswith("| fixed, 15000 (best at 10 Mbit/s, 100 Mbit/s)")
    same = {2: "{0} ({0} to {0})", 8: "{0} [{0}, {0}]"}[pairs].format
    steered = f"| steered, optomechanical | 25000 | {same('0.990')} | 25.0 | {same('1.25')} | 0.00 |"
    assert steered in lines[3]
    assert same("2.000") in lines[3]
    assert len({line.count("|") for line in lines}) == 1


def test_what_a_short_queue_refuses_is_told_beside_the_delay_of_what_it_lets_in(tmp_path):
    for pair, lost in enumerate([50, 50, 600]):
        write(place(tmp_path, pair, "100"), [phase(10e6, 1.0, 0.001, lost=lost), phase(100e6, 1.0, 0.001)])
    head, _, row = (
        [cell.strip() for cell in line.split("|")]
        for line in Results(tmp_path, ["100"], 3, RATES).table(["100"], title).splitlines()
    )
    refused = [cell for name, cell in zip(head, row, strict=True) if name == "refused, %"]
    assert refused == ["20.00", "0.00"]
    assert head.count("p95 of what arrived, ms") == 2


def test_an_arm_is_compared_with_another_at_each_rate(tmp_path):
    results = kept(tmp_path, {"told": [(1.0, 0.02), (0.5, 0.01)], "coherent": [(0.9, 0.02), (1.0, 0.02)]})
    said = results.beside("coherent", "told")
    assert "throughput 0.900 (0.900 to 0.900) and p95 1.00 (1.00 to 1.00) at 10 Mbit/s" in said
    assert "throughput 2.000 (2.000 to 2.000) and p95 2.00 (2.00 to 2.00) at 100 Mbit/s" in said


def test_a_pair_that_is_not_complete_is_left_out(tmp_path):
    kept(tmp_path, {"100": [(1.0, 0.01), (1.0, 0.01)]}, pairs=2)
    assert Results(tmp_path, ["100", "200"], 2, RATES).pairs == []


def test_every_arm_has_a_title_of_its_own():
    assert len({title(arm) for arm in ARMS}) == len(ARMS)


@pytest.mark.parametrize("other", [["--seconds", "99"], ["--seed", "2"], ["--jobs", "2"]], ids=" ".join)
def test_data_of_another_course_is_not_mixed_in(tmp_path, monkeypatch, other):
    monkeypatch.setattr(buffer, "run_together", lambda *_: None)
    usual = ["--out", str(tmp_path)]
    assert CliRunner().invoke(command, usual).exception is None
    result = CliRunner().invoke(command, [*usual, *other])
    assert isinstance(result.exception, ConfigError)
    assert "another folder" in str(result.exception)
    assert CliRunner().invoke(command, usual).exception is None


def test_phases_too_short_to_measure_are_refused(tmp_path):
    result = CliRunner().invoke(command, ["--out", str(tmp_path), "--seconds", "1"])
    assert isinstance(result.exception, ConfigError)
