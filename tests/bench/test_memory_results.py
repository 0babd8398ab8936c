"""The table of the heap benchmark: equal heaps are equal, better ones are told by how much."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from quantum_control.bench import memory
from quantum_control.bench.memory import command
from quantum_control.bench.memory_results import Results, Run, place, read, write
from quantum_control.core.errors import ConfigError

MIB = 2**20
FIXED = ["fixed 200 MiB", "fixed 400 MiB", "fixed 800 MiB"]


def run(heap, cores, p99=0.01, control=0.0, paused=0.004):
    time = np.arange(0.0, 10.25, 0.25)
    samples = np.column_stack([time, 0.5 * heap + 0 * time, heap + 0 * time, cores * time, paused * time])
    requests = np.array([[0, at, p99] for at in time], dtype=np.float32)
    return Run(["small, quiet"], 10.0, samples, requests, control)


@pytest.fixture
def folder(tmp_path):
    """Fixed heaps that take 64 MiB·cores over their room above 100 MiB, and ours with a tenth less heap."""
    for pair in range(3):
        for name in FIXED:
            heap = int(name.split()[1])
            write(place(tmp_path, pair, name), run(heap * MIB, 64.0 / (heap - 100.0)))
        write(place(tmp_path, pair, "ours"), run(360 * MIB, 64.0 / 300.0, control=0.002))
    return tmp_path


def test_what_is_written_is_read_back(tmp_path):
    write(tmp_path / "one.npz", run(300 * MIB, 0.25, p99=0.5, control=0.01))
    heap, cores, p99 = read(tmp_path / "one.npz").figures()
    assert (heap, cores, p99) == pytest.approx((300 * MIB, 0.25, 0.5))
    assert not list(tmp_path.glob("*.part"))
    (tmp_path / "two.npz").write_bytes(b"nothing")
    with pytest.raises(ConfigError, match="no raw data"):
        read(tmp_path / "two.npz")


def test_heap_and_collector_time_are_compared_with_fixed_heaps_that_are_alike(folder):
    results = Results(folder, [*FIXED, "ours"], 3, price=0.5)
    heaps, cores = results.beside_fixed("ours", FIXED)
    # As much collecting as 400 MiB: a tenth less heap.
    assert heaps == pytest.approx(0.9)
    # At 360 MiB it lies on the line between 64/100 and 64/300 cores at 200 and 400 MiB, in logarithms.
    share = np.log(360 / 200) / np.log(2)
    assert cores == pytest.approx((64 / 300) / (0.64 * 3.0**-share))
    itself, _ = results.beside_fixed("fixed 400 MiB", FIXED)
    assert itself == pytest.approx(1.0)


def test_heaps_outside_of_the_fixed_ones_have_none_alike(folder):
    for pair in range(3):
        write(place(folder, pair, "ours"), run(100 * MIB, 5.0))
    results = Results(folder, [*FIXED, "ours"], 3, price=0.5)
    heaps, cores = results.beside_fixed("ours", FIXED)
    assert np.isnan(heaps).all()
    assert np.isnan(cores).all()
    assert "none alike" in results.table(FIXED)


def test_the_best_fixed_heap_is_that_of_least_cost(folder):
    # Collecting in cores, and half a core for a GiB: 0.738, 0.409, 0.482.
    results = Results(folder, [*FIXED, "ours"], 3, price=0.5)
    assert results.best(FIXED) == "fixed 400 MiB"
    table = results.table(FIXED)
    assert "| fixed 400 MiB | 400 | 0.213 | 4.000 | 10.0 | 1.00 (1.00 to 1.00) |" in table
    assert "Control of ours: 0.20%" in table


def test_pauses_are_told_by_arm_and_are_unknown_in_older_data(folder):
    for pair, paused in enumerate((0.001, 0.002, 0.030)):
        write(place(folder, pair, "ours"), run(360 * MIB, 64.0 / 300.0, paused=paused))
        older = run(400 * MIB, 64.0 / 300.0)
        write(place(folder, pair, FIXED[1]), replace(older, samples=older.samples[:, :4]))
    results = Results(folder, [*FIXED, "ours"], 3, price=0.5)
    told = results.as_json(FIXED)["arms"]
    assert told["ours"]["paused_share"] == pytest.approx(0.002)
    assert told[FIXED[0]]["paused_share"] == pytest.approx(0.004)
    assert told[FIXED[1]]["paused_share"] is None
    assert "| ours | 360 | 0.213 | 2.000 | 10.0 |" in results.table(FIXED)
    assert "| fixed 400 MiB | 400 | 0.213 |  | 10.0 |" in results.table(FIXED)


def test_foresight_is_the_square_root_rule_where_collecting_is_inverse_to_the_heap(tmp_path):
    # k/M cores with k of 64 and 576 MiB·cores: the best M are as sqrt(k), 0.5 and 1.5 times the fixed one,
    # which costs (2 + 18/3)/(1 + 9) as much.
    fixed = [f"fixed {size} MiB" for size in (100, 200, 400, 800)]
    time = np.arange(0.0, 20.1, 0.1)
    for name in fixed:
        heap = float(name.split()[1])
        spent = np.minimum(time, 10.0) * 64.0 / heap + np.maximum(time - 10.0, 0.0) * 576.0 / heap
        samples = np.column_stack([time, 0 * time, 0 * time + heap * MIB, spent])
        requests = np.array([[0, 0.0, 0.01]], dtype=np.float32)
        write(place(tmp_path, 0, name), Run(["large", "busy"], 10.0, samples, requests, 0.0))
    results = Results(tmp_path, fixed, 1, price=2.0)
    assert results.foresight(fixed, "fixed 400 MiB") == pytest.approx((0.8, 0.8), rel=0.01)


def test_only_pairs_in_which_every_arm_has_run_count(folder):
    place(folder, 1, "ours").unlink()
    assert Results(folder, [*FIXED, "ours"], 3, price=0.5).pairs == [0, 2]
    with pytest.raises(ConfigError, match="no pair"):
        Results(folder, ["other"], 3, price=0.5)


@pytest.mark.parametrize("other", [["--price", "3"], ["--seed", "2"], ["--jobs", "2"]], ids=" ".join)
def test_data_of_other_settings_are_not_mixed_in(tmp_path, monkeypatch, other):
    monkeypatch.setattr(memory, "run_together", lambda *_: None)
    usual = ["--pairs", "1", "--out", str(tmp_path)]

    def told(*options):
        return str(CliRunner().invoke(command, [*usual, *options]).exception)

    nothing_run = told()
    assert "no pair in which every arm has run" in nothing_run
    assert "give another folder" in told(*other)
    assert told() == nothing_run
