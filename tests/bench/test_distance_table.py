"""What `bench distance` says of runs that are there."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from click.testing import CliRunner

from quantum_control.bench import distance
from quantum_control.bench.distance import command, measure, table
from quantum_control.bench.long_line import Line, p95
from quantum_control.bench.settings import keep_settings
from quantum_control.core.errors import ConfigError, SensorError

LINE = Line(rate=8e6, distance=0.5, seconds=10.0, settled=4.0)


def put(directory, pair, arm, *, share, steps=0):
    """A run that carried nothing for 4 s, and then `share` of the bound."""
    directory.mkdir(exist_ok=True)
    keep_settings(directory, {**asdict(LINE), "seed": 1, "jobs": 1})
    speed = share * LINE.bound
    arrived = [[t / 2, max(0.0, (t / 2 - 4.0) * speed)] for t in range(1, 21)]
    (directory / f"{pair:04d}-{arm}.json").write_text(
        json.dumps(
            {"arrived": arrived, "delay": 0.01, "retransmits": 3, "cost": 0.002 * steps, "steps": steps}
        )
    )


def test_the_bound_is_the_payload_that_the_line_can_carry():
    assert LINE.bound == pytest.approx(1e6 * 1448 / 1514)
    assert LINE.product == 500_000


@pytest.mark.parametrize(("lost", "told"), [(0, 0.95), (5, 1.0), (6, np.inf), (50, np.inf), (100, np.inf)])
def test_what_was_lost_is_infinitely_late(lost, told):
    delays = np.arange(1, 101) / 100.0
    delays[:lost] = np.inf
    assert p95(delays) == told


def test_the_start_is_left_out_of_the_one_figure_and_in_the_other(tmp_path):
    put(tmp_path, 0, "default", share=0.4)
    put(tmp_path, 0, "sysctl", share=0.97, steps=40)
    told = table(tmp_path, ["default", "sysctl"])
    shared = "10.0 (10.0 to 10.0) | 3 (3 to 3)"
    assert f"| 40.0 (40.0 to 40.0) | 24.0 (24.0 to 24.0) | {shared} |  |  |" in told
    assert f"| 97.0 (97.0 to 97.0) | 58.2 (58.2 to 58.2) | {shared} | 2.00 | 0.40 |" in told
    assert "(range)" in told


def test_only_whole_pairs_count_and_with_enough_of_them_there_is_an_interval(tmp_path):
    for pair in range(7):
        put(tmp_path, pair, "default", share=0.3 + 0.01 * pair)
    put(tmp_path, 7, "large", share=1.0)
    told = table(tmp_path, ["default"])
    assert told.startswith("7 pairs")
    assert "[95 % bootstrap interval]" in told
    assert "| 33.0 [3" in told


def test_no_pair_or_a_run_that_is_too_short_is_told(tmp_path):
    put(tmp_path, 0, "default", share=0.4)
    with pytest.raises(ConfigError, match="no complete pair of large"):
        table(tmp_path, ["large"])
    (tmp_path / "0000-default.json").write_text(json.dumps({"arrived": [[0.5, 10]], "delay": 0.0}))
    with pytest.raises(SensorError, match="too short"):
        table(tmp_path, ["default"])


@pytest.mark.parametrize(("line", "seed", "jobs"), [(Line(), 1, 1), (LINE, 2, 1), (LINE, 1, 2)])
def test_runs_of_other_settings_are_not_mixed_in(tmp_path, monkeypatch, line, seed, jobs):
    monkeypatch.setattr(distance, "run_together", lambda *_: None)
    measure(tmp_path, LINE, 1, ["default"], 1, 1)
    measure(tmp_path, LINE, 1, ["default"], 1, 1)
    with pytest.raises(ConfigError, match="give another folder"):
        measure(tmp_path, line, 1, ["default"], seed, jobs)


def test_a_run_whose_transfer_fails_is_made_again_and_that_is_kept(tmp_path, monkeypatch):
    answers = iter([SensorError("reset"), {"arrived": []}])

    def run(name, line):
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(distance, "run", run)
    measure(tmp_path, LINE, 1, ["default"], 1)
    assert json.loads((tmp_path / "0000-default.json").read_text())["attempts"] == 2


def test_a_transfer_that_keeps_failing_is_told(tmp_path, monkeypatch):
    def run(name, line):
        raise SensorError("reset")

    monkeypatch.setattr(distance, "run", run)
    with pytest.raises(SensorError, match="reset"):
        measure(tmp_path, LINE, 1, ["default"], 1)
    assert not (tmp_path / "0000-default.json").exists()


@pytest.mark.parametrize("settled", ["20", "19.5", "-1", "nan"])
def test_a_transfer_of_which_nothing_would_be_left_is_refused_before_it_is_made(
    tmp_path, monkeypatch, settled
):
    monkeypatch.setattr(distance, "run_together", lambda *_: None)
    result = CliRunner().invoke(command, [str(tmp_path / "new"), "--seconds", "20", "--settled", settled])
    assert isinstance(result.exception, ConfigError)
    assert "--settled" in str(result.exception)
    assert not (tmp_path / "new").exists()


def test_runs_that_are_there_are_not_made_again(tmp_path):
    put(tmp_path, 0, "default", share=0.4)
    arguments = [str(tmp_path), "--pairs", "1", "--rate", "8e6", "--distance", "0.5", "--seconds", "10"]
    result = CliRunner().invoke(command, [*arguments, "--settled", "4", "--arm", "default"])
    assert result.exit_code == 0, result.output
    assert "runs at the same time: 1." in result.output
    assert "| 40.0 (40.0 to 40.0) |" in result.output
