"""A small version of the experiment on real thread pools: the machinery, not the outcome."""

import json

import pytest
from click.testing import CliRunner

from quantum_control.validation.command import command
from quantum_control.validation.plan import committed

PAIRS = 4


@pytest.mark.integration
def test_a_small_experiment_runs_from_the_plan_to_the_report(tmp_path):
    plan = tmp_path / "small.toml"
    text = committed()
    for line, shorter in (("pilot = 30", "pilot = 0"), ("warm_up = 10", "warm_up = 1")):
        assert line in text
        text = text.replace(line, shorter)
    plan.write_text(text)
    given = ["threads", "--pairs", str(PAIRS), "--out", str(tmp_path / "out"), "--plan", str(plan), "--json"]
    done = CliRunner().invoke(command, given, catch_exceptions=False)
    found = json.loads(done.stdout)[0]
    assert found["pairs"] == PAIRS
    assert found["means"]["default"]["threads"] > 0.0
    assert found["means"]["auto"]["cost"] > 0.0
    assert found["control"]["auto"]["step_seconds"] > 0.0
    calibration = json.loads((tmp_path / "out" / "threads" / "calibration.json").read_text())
    costs = {int(size): cost for size, cost in calibration["cost_by_size"].items()}
    assert costs[calibration["best_fixed"]] == min(costs.values())
    assert "<svg" in (tmp_path / "out" / "report.html").read_text()
