"""`quantum-control validate` around the experiment."""

import json

import pytest
from click.testing import CliRunner
from validation.made_bed import TEXT

from quantum_control.core.errors import ConfigError
from quantum_control.validation import bed as beds
from quantum_control.validation.command import command


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setitem(beds.BEDS, "made", "validation.made_bed:MadeBed")
    monkeypatch.setattr(command.params[0].type, "choices", ("made",))
    plan = tmp_path / "own.toml"
    plan.write_text(TEXT)

    def invoke(*arguments):
        given = ["made", "--out", str(tmp_path / "out"), "--plan", str(plan), *arguments]
        return CliRunner().invoke(command, given, catch_exceptions=False)

    return invoke


def test_it_leaves_plan_data_and_report_and_prints_the_table(run, tmp_path):
    done = run("--pairs", "12")
    assert done.exit_code == 0
    out = tmp_path / "out"
    assert (out / "made" / "plan.toml").read_text() == TEXT
    assert (out / "made" / "blocks.csv").exists()
    assert (out / "report.html").exists()
    assert "| auto | default | cost (primary)" in (out / "report.md").read_text()
    assert "12 of 40 planned pairs" in done.stdout


def test_json_has_the_figures_of_the_table(run):
    found = json.loads(run("--pairs", "12", "--json").stdout)
    assert found[0]["pairs"] == 12
    assert {"ours", "other", "metric", "value", "low", "high", "corrected_p_value"} <= found[0][
        "comparisons"
    ][0].keys()


def test_modes_stand_beside_each_other_in_one_report(run):
    run("--pairs", "12")
    run("--pairs", "12", "--overhead")
    text = run("--pairs", "12", "--aa").stdout
    short = text[: text.index("\n## ")].splitlines()
    assert sum(line.startswith("| made-up thing | cost | 12 of 40 |") for line in short) == 3
    assert "A/A" in text
    assert "overhead" in text
    assert "| auto | default" in text


def test_another_plan_is_refused_where_data_are(run, tmp_path):
    run("--pairs", "6")
    (tmp_path / "own.toml").write_text(TEXT.replace("seed = 7", "seed = 8"))
    with pytest.raises(ConfigError, match="another experiment"):
        run("--pairs", "12")


def test_only_the_arms_that_were_asked_for_run_beside_ours(run, tmp_path):
    run("--pairs", "6", "--arm", "peer")
    text = (tmp_path / "out" / "made" / "blocks.csv").read_text()
    assert ",peer," in text
    assert ",best fixed," not in text


def test_an_unknown_arm_is_refused_with_those_that_there_are(run):
    with pytest.raises(ConfigError, match="best fixed, peer"):
        run("--arm", "pear")


def test_two_experiments_at_once_are_refused(run):
    with pytest.raises(ConfigError, match="two experiments"):
        run("--aa", "--overhead")
