"""`quantum-control validate` around the experiment."""

import json

import pytest
from click.testing import CliRunner
from validation.made_bed import TEXT

from quantum_control.core.errors import ConfigError
from quantum_control.validation import bed as beds
from quantum_control.validation import machine
from quantum_control.validation.command import command


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setitem(beds.BEDS, "made", "validation.made_bed:MadeBed")
    monkeypatch.setattr(command.params[0].type, "choices", ("made",))
    plan = tmp_path / "own.toml"
    described = TEXT.replace('"peer" = "another" }', '"peer" = "another", "told" = "knows" }')
    plan.write_text(described)

    def invoke(*arguments):
        given = ["made", "--out", str(tmp_path / "out"), "--plan", str(plan), *arguments]
        return CliRunner().invoke(command, given, catch_exceptions=False)

    return invoke


def test_it_leaves_plan_data_and_report_and_prints_the_table(run, tmp_path):
    done = run("--pairs", "12")
    assert done.exit_code == 0
    out = tmp_path / "out"
    assert (out / "made" / "plan.toml").read_text() == (tmp_path / "own.toml").read_text()
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
    for arm in ("pear", "auto", "default"):
        with pytest.raises(ConfigError, match=f"--arm {arm}: give some of best fixed, peer, told"):
            run("--arm", arm)
    with pytest.raises(ConfigError, match="give some of none"):
        run("--aa", "--arm", "peer")


def test_an_arm_that_the_plan_only_describes_can_be_asked_for(run, tmp_path):
    run("--pairs", "6", "--arm", "told")
    assert ",told," in (tmp_path / "out" / "made" / "blocks.csv").read_text()


def test_the_report_says_the_command_as_it_was_given_without_paths_of_the_machine(run, tmp_path):
    run("--pairs", "6", "--arm", "best fixed")
    text = (tmp_path / "out" / "report.md").read_text()
    assert "`quantum-control validate made --out out --pairs 6 --arm 'best fixed' --plan own.toml`." in text
    assert str(tmp_path) not in text
    run("--pairs", "6", "--aa")
    assert "--pairs 6 --aa --plan own.toml`." in (tmp_path / "out" / "report.md").read_text()


def test_files_of_others_in_the_folder_are_passed_over(run, tmp_path):
    for name, text in ((".vscode", '{"editor.tabSize": 2}'), ("list", "[1]"), ("broken", "{"), ("own", "{}")):
        folder = tmp_path / "out" / name
        folder.mkdir(parents=True)
        (folder / "settings.json").write_text(text)
        if name != ".vscode":
            (folder / "blocks.csv").write_text("one\ntwo\n")
    assert len(json.loads(run("--pairs", "6", "--json").stdout)) == 1


def test_a_plan_with_words_that_the_real_part_does_not_know_is_refused_with_all_of_them(run, tmp_path):
    text = TEXT.replace("auto = 0.8", "autos = 0.8").replace('name = "lost"', 'name = "losst"')
    (tmp_path / "own.toml").write_text(text)
    with pytest.raises(ConfigError) as found:
        run("--pairs", "6")
    told = str(found.value).splitlines()
    assert told == [
        "resources.made.bed: auto is missing",
        "resources.made.bed: unknown setting 'autos'; did you mean 'auto'?",
        "resources.made.metrics: unknown metric 'losst'; did you mean 'lost'?",
    ]
    assert not (tmp_path / "out").exists()


def test_what_the_report_takes_is_looked_for_before_the_first_block(run, tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "find_spec", lambda name: None if name == "statsmodels" else name)
    with pytest.raises(ConfigError, match=r"needs statsmodels; .*'quantum-control\[bench\]'"):
        run("--pairs", "6")
    assert not (tmp_path / "out").exists()


def test_two_experiments_at_once_are_refused(run):
    with pytest.raises(ConfigError, match="two experiments"):
        run("--aa", "--overhead")
