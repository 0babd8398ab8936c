"""From data to results and report."""

import json
from html.parser import HTMLParser

import pytest
from validation.made_bed import PLAN, TEXT, MadeBed

from quantum_control.validation.analysis import analyse, as_json, correct
from quantum_control.validation.experiment import Experiment, mode
from quantum_control.validation.report import markdown, page

OF = PLAN.of("made")


def analysed(folder, *, pairs=40, bed=None, **how):
    bed = bed or MadeBed(OF.bed)
    Experiment(PLAN, "made", mode(OF, **how), bed, folder).run(pairs, lambda line: None)
    return correct([analyse(folder, PLAN)], PLAN)[0]


def test_a_known_effect_is_found_with_its_interval(tmp_path):
    found = analysed(tmp_path).comparison("default", "cost")
    assert found.effect.value == pytest.approx(0.8, rel=0.02)
    assert found.effect.low < found.effect.value < found.effect.high < found.effect.low + 0.03
    assert found.corrected == pytest.approx(4 * found.effect.p_value)
    assert found.effect.count == 40


def test_an_arm_that_takes_turns_is_compared_in_the_pairs_in_which_it_ran(tmp_path):
    found = analysed(tmp_path).comparison("best fixed", "cost")
    assert found.effect.count == 20
    assert found.effect.value == pytest.approx(0.8 / 0.85, rel=0.02)


def test_only_planned_tests_are_corrected(tmp_path):
    tested = {(c.other, c.metric.name) for c in analysed(tmp_path).comparisons if c.tested}
    assert tested == {(other, name) for other in ("default", "best fixed") for name in ("cost", "lost")}


def test_pairs_whose_load_was_late_are_left_out_by_the_rule_of_the_plan_and_counted(tmp_path):
    bed = MadeBed(OF.bed)
    bed.late = {3, 4}
    found = analysed(tmp_path, bed=bed)
    assert found.excluded == 2
    assert found.comparison("default", "cost").effect.count == 38


def test_the_pairs_of_a_stretch_are_one_observation(tmp_path):
    plan = PLAN.model_copy(update={"resources": {"made": OF.model_copy(update={"stretch": 4})}})
    Experiment(plan, "made", mode(OF), MadeBed(OF.bed), tmp_path).run(40, lambda line: None)
    assert analyse(tmp_path, plan).comparison("default", "cost").effect.count == 10


def test_nothing_is_found_where_the_default_is_compared_with_itself(tmp_path):
    found = analysed(tmp_path, aa=True)
    assert (
        found.comparison("default", "cost").effect.low < 1.0 < found.comparison("default", "cost").effect.high
    )
    wrong, made, chance = found.false_positives
    assert made == 4
    assert wrong <= 1
    assert chance > 0.1


def test_the_power_comes_from_the_pilot(tmp_path):
    found = analysed(tmp_path).power
    assert found.spread == pytest.approx(0.02 * 2**0.5, rel=0.6)
    assert 1.0 < found.detectable < 1.05
    assert 6 <= found.needed < 40


def test_the_cost_of_the_control_is_told_by_the_hour(tmp_path):
    found = as_json(analysed(tmp_path))
    assert found["control"]["auto"]["step_seconds"] == pytest.approx(0.0005)
    json.dumps(found)


def test_the_report_shows_losses_and_wins_alike(tmp_path):
    worse = MadeBed({"auto": 1.3})
    text = markdown([analysed(tmp_path, bed=worse)], PLAN, "the command")
    row = next(line for line in text.splitlines() if line.startswith("| auto | default | cost"))
    assert "worse" in row
    assert "40 of 40 planned pairs" in text
    assert "Power, by a pilot of 8 pairs" in text


class Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags = []
        self.links = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [v for k, v in attrs if k in ("src", "href") and not str(v).startswith("#")]


def test_the_page_needs_nothing_else_and_has_both_pictures_the_plan_and_the_machine(tmp_path):
    text = page([analysed(tmp_path)], PLAN, TEXT, "quantum-control validate <made>")
    found = Page()
    found.feed(text)
    assert found.tags.count("svg") == 2
    assert [link for link in found.links if not link.startswith("http://www.w3.org")] == []
    assert "script" not in found.tags
    assert "made-up thing, pair" in text or "made-up thing" in text
    assert "&lt;made&gt;" in text
    assert "warm_up = 2" in text
    assert "&quot;cores&quot;" in text
