"""A small version of the experiment on real thread pools: the machinery, not the outcome."""

import pytest
from validation.small import small_experiment

SHORTER = {"seconds = 0.62": "seconds = 0.3"}


@pytest.mark.integration
def test_a_small_experiment_runs_from_the_plan_to_the_report(tmp_path):
    found, calibration = small_experiment("threads", SHORTER, tmp_path)
    assert found["means"]["default"]["threads"] > 0.0
    assert found["means"]["auto"]["cost"] > 0.0
    costs = {int(size): cost for size, cost in calibration["cost_by_size"].items()}
    assert costs[calibration["best_fixed"]] == min(costs.values())
    assert "<svg" in (tmp_path / "out" / "report.html").read_text()
