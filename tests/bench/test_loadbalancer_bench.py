"""The load-balancer benchmark: what it keeps, what it makes again, and what it prints."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from quantum_control.bench import loadbalancer
from quantum_control.bench.arrivals import Answer
from quantum_control.bench.course import PHASES, SPEEDS, Course, Run
from quantum_control.core.errors import ConfigError

LATENCY = {"leastconn": 0.2, "ours": 0.1}


@pytest.fixture
def runs(monkeypatch):
    """Runs that take no time: (arm's title, seed) of each; ours is twice as fast."""
    made = []

    def run(arm, course, seed):
        made.append((arm.title, seed))
        due, _ = course.arrivals(seed)
        seconds = LATENCY["ours" if arm.title.startswith("ours") else "leastconn"]
        answers = [Answer(at, seconds, 503 if at > 7.5 else 200, late=0.001) for at in due]
        return Run(answers, cost=0.02, steps=40)

    monkeypatch.setattr(loadbalancer, "run", run)
    return made


def bench(directory, *options):
    arms = ("--arm", "leastconn", "--arm", "ours")
    return CliRunner().invoke(loadbalancer.command, [str(directory), *arms, *options], catch_exceptions=False)


def test_all_arms_of_a_pair_get_the_same_arrivals(tmp_path, runs):
    bench(tmp_path, "--pairs", "3")
    seeds = [seed for _, seed in runs]
    assert sorted(seeds) == sorted(2 * list(set(seeds)))
    assert len(set(seeds)) == 3
    assert Course().arrivals(seeds[0]) == Course().arrivals(seeds[0])


def test_what_is_there_is_not_made_again(tmp_path, runs):
    bench(tmp_path, "--pairs", "2")
    first = list(runs)
    bench(tmp_path, "--pairs", "3")
    assert len(runs) == len(first) + 2


def test_another_course_in_the_same_directory_is_refused(tmp_path, runs):
    bench(tmp_path, "--pairs", "1")
    for other in ("--seconds", "4"), ("--seed", "2"), ("--interval", "0.5"):
        with pytest.raises(ConfigError, match="another folder"):
            bench(tmp_path, "--pairs", "1", *other)


def test_a_directory_that_says_nothing_of_the_processors_is_gone_on_with(tmp_path, runs):
    kept = {"seconds": 8.0, "utilisation": 0.65, "interval": 0.2, "seed": 1}
    (tmp_path / "settings.json").write_text(json.dumps(kept))
    assert "1 pairs; medians" in bench(tmp_path, "--pairs", "1").stdout
    with pytest.raises(ConfigError, match="another folder"):
        bench(tmp_path, "--pairs", "1", "--seed", "2")


def test_the_table_has_every_phase_the_ratio_the_failures_and_the_cost(tmp_path, runs):
    text = bench(tmp_path, "--pairs", "4").stdout
    for phase in PHASES[1:]:
        assert f"**{phase}**" in text
    row = next(line for line in text.splitlines() if line.startswith("| HAProxy least connections"))
    assert row.split("|")[3].strip() == "200 (200 to 200)"
    assert row.split("|")[5].strip() == "0.50 (0.50 to 0.50)"
    sick = text[text.index("**sick**") :]
    assert 20.0 < float(sick.splitlines()[4].split("|")[4]) < 30.0
    assert "| ours on least connections | 0.50 | 0.25 % | 0.050 % |" in text


def test_few_pairs_come_with_their_range_and_more_with_an_interval(tmp_path, runs, monkeypatch):
    calm = loadbalancer.run

    def uneven(arm, course, seed):
        result = calm(arm, course, seed)
        answers = [Answer(a.due, a.seconds * (1 + seed % 10), a.status, a.late) for a in result.answers]
        return Run(answers, result.cost, result.steps)

    monkeypatch.setattr(loadbalancer, "run", uneven)
    few = bench(tmp_path, "--pairs", "5").stdout
    assert "5 pairs; medians over them" in few
    assert "| 600 (200 to 1000) |" in few
    more = bench(tmp_path, "--pairs", "9").stdout
    assert "9 pairs; medians over them [95 % bootstrap interval], or (range)" in more
    assert "| 1000 [" in more
    assert "| 1000 [200, 1800] |" not in more


def ratios(text):
    rows = [[cell.strip() for cell in line.split("|")] for line in text.splitlines()]
    return {cells[1]: cells[5] for cells in rows if len(cells) == 7}


def test_each_arm_is_compared_with_ours_on_its_own_balancer(tmp_path, runs):
    both = ratios(bench(tmp_path, "--pairs", "2", "--arm", "envoy", "--arm", "ours-envoy").stdout)
    assert both["Envoy least request"] == "0.50 (0.50 to 0.50)"
    assert both["HAProxy least connections"] == "0.50 (0.50 to 0.50)"
    assert both["ours on least connections"] == ""
    one = ratios(bench(tmp_path, "--pairs", "2", "--arm", "envoy").stdout)
    assert one["HAProxy least connections"] == "0.50 (0.50 to 0.50)"
    assert one["Envoy least request"] == ""


def test_a_run_on_a_busy_machine_is_made_again_and_its_pair_set_aside_if_it_stays_so(
    tmp_path, runs, monkeypatch
):
    calm = loadbalancer.run

    def busy(arm, course, seed):
        result = calm(arm, course, seed)
        if seed % 2 == 0:
            return Run([Answer(a.due, a.seconds, a.status, late=0.5) for a in result.answers], 0.02, 40)
        return result

    monkeypatch.setattr(loadbalancer, "run", busy)
    text = bench(tmp_path, "--pairs", "2").stdout
    assert "1 pairs; medians" in text
    assert f"{2 * (loadbalancer.ATTEMPTS - 1)} runs were made again and 1 pairs set aside" in text


def test_without_one_whole_pair_there_is_no_table(tmp_path, runs):
    bench(tmp_path, "--pairs", "1")
    next(tmp_path.glob("0000-ours.json")).unlink()
    with pytest.raises(ConfigError, match="no complete pair"):
        loadbalancer.measured(tmp_path, ["leastconn", "ours"])


def test_raw_data_are_one_file_a_run(tmp_path, runs):
    bench(tmp_path, "--pairs", "1")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "0000-leastconn.json",
        "0000-ours.json",
        "settings.json",
    ]
    raw = json.loads((tmp_path / "0000-ours.json").read_text())
    assert len(raw["due"]) == len(raw["seconds"]) == len(raw["status"])


def test_arrivals_come_at_the_rate_and_the_work_has_mean_one():
    course = Course(seconds=200.0)
    due, work = course.arrivals(1)
    assert len(due) / 200.0 == pytest.approx(0.65 * sum(SPEEDS), rel=0.02)
    assert sum(work) / len(work) == pytest.approx(1.0, rel=0.02)
    assert due == sorted(due)
