"""From data to results and report."""

import json
from dataclasses import replace
from html.parser import HTMLParser
from math import exp, inf

import pytest
from validation.made_bed import PLAN, TEXT, MadeBed

from quantum_control.validation.analysis import analyse, as_json, correct, planned_by
from quantum_control.validation.bed import RUN
from quantum_control.validation.command import write_report
from quantum_control.validation.experiment import Experiment, mode
from quantum_control.validation.plan import Metric
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


def test_half_a_stretch_at_the_end_is_no_observation(tmp_path):
    plan = PLAN.model_copy(update={"resources": {"made": OF.model_copy(update={"stretch": 4})}})
    Experiment(plan, "made", mode(OF), MadeBed(OF.bed), tmp_path).run(39, lambda line: None)
    found = analyse(tmp_path, plan)
    assert found.comparison("default", "cost").effect.count == 9
    assert found.blocks["auto"] == 39
    assert "; the last 3 are no whole observation and are not compared;" in markdown([found], plan, "")


class Silent(MadeBed):
    """Costs nothing in some of its pairs, so that there is no ratio."""

    def run(self, arm, turn):
        block = super().run(arm, turn)
        if turn.stream == RUN and turn.pair in (2, 11, 12) and arm == "auto":
            return replace(block, metrics=block.metrics | {"cost": 0.0})
        return block


@pytest.mark.parametrize(("stretch", "observations"), [(1, 37), (2, 20)])
def test_pairs_without_a_value_are_counted_and_leave_the_rest_of_their_stretch(
    tmp_path, stretch, observations
):
    plan = PLAN.model_copy(update={"resources": {"made": OF.model_copy(update={"stretch": stretch})}})
    Experiment(plan, "made", mode(OF), Silent(OF.bed), tmp_path).run(40, lambda line: None)
    found = analyse(tmp_path, plan)
    one = found.comparison("default", "cost")
    assert (one.dropped, one.effect.count) == (3, observations)
    assert one.effect.value == pytest.approx(0.8, rel=0.02)
    assert found.comparison("default", "lost").dropped == 0
    assert f"| {observations} (3 pairs without a value) |" in markdown([found], plan, "")
    assert as_json(found)["comparisons"][0]["dropped_pairs"] == 3


def test_a_difference_of_figures_below_nothing_is_what_it_is():
    spare = Metric(name="spare", title="spare", unit="1", scale="difference")
    assert spare.difference(-0.25, 0.5) == -0.75
    assert spare.model_copy(update={"floor": 0.1}).difference(-0.25, 0.5) == -0.4


def test_what_is_left_out_is_in_no_table_and_is_no_typical_pair(tmp_path):
    class Late(MadeBed):
        def run(self, arm, turn):
            block = super().run(arm, turn)
            late = turn.stream == RUN and turn.pair % 10 == 0 and turn.pair != 30
            return (
                replace(block, late=1.0, control_cpu=9.0, metrics={"cost": 99.0, "lost": 1.0})
                if late
                else block
            )

    found = analysed(tmp_path, bed=Late(OF.bed))
    assert found.excluded == 3
    assert found.blocks["auto"] == 37
    assert found.means["auto"]["lost"] == 0.0
    assert found.control["auto"][1] == pytest.approx(0.0005)
    assert found.typical()[0] == 30


def test_phases_count_alike_and_what_lies_between_them_is_no_uncertainty(tmp_path):
    class Phased(MadeBed):
        def run(self, arm, turn):
            block = super().run(arm, turn)
            factor = 3.0 if arm == "auto" and turn.stretch % 4 == 0 else 1.0
            metrics = {"cost": factor * block.metrics["cost"], "lost": 0.0}
            return replace(block, metrics=metrics, phase="abcd"[turn.stretch % 4])

    def plan(phases):
        of = OF.model_copy(update={"phases": phases})
        return PLAN.model_copy(update={"resources": {"made": of}})

    def found(phases):
        Experiment(plan(phases), "made", mode(OF), Phased(OF.bed), tmp_path / str(phases)).run(40, print)
        return analyse(tmp_path / str(phases), plan(phases))

    one = found(4).comparison("default", "cost")
    assert one.effect.value == pytest.approx(0.8 * 3.0**0.25, rel=0.02)
    assert one.effect.high / one.effect.low < 1.05 < found(None).comparison("default", "cost").effect.high
    assert one.checks.autocorrelation == pytest.approx(0.0, abs=0.4)
    assert "each of 4 phases with the same weight" in markdown([found(4)], plan(4), "")


def test_the_order_is_looked_at_within_stretches(tmp_path):
    class Carried(MadeBed):
        last = None

        def run(self, arm, turn):
            block = super().run(arm, turn)
            first, self.last = self.last != turn.pair, turn.pair
            return replace(
                block, metrics=block.metrics | {"cost": block.metrics["cost"] * (1.2 if first else 1.0)}
            )

    of = OF.model_copy(update={"stretch": 5, "others": []})
    plan = PLAN.model_copy(update={"resources": {"made": of}})
    Experiment(plan, "made", mode(of), Carried(of.bed), tmp_path).run(200, lambda line: None)
    found = analyse(tmp_path, plan).comparison("default", "cost").checks
    assert found.order_effect == pytest.approx(1.2**2, rel=0.02)
    assert found.order_p_value < 1e-6


def test_nothing_is_found_where_the_default_is_compared_with_itself(tmp_path):
    found = analysed(tmp_path, aa=True)
    assert (
        found.comparison("default", "cost").effect.low < 1.0 < found.comparison("default", "cost").effect.high
    )
    wrong, made, chance = found.false_positives
    assert made == 4
    assert wrong <= 1
    assert chance > 0.1
    text = markdown([found], PLAN, "")
    assert f"{wrong} of 4 tests of 10 observations, which are too few for a rate of 0.05" in text
    assert f"{found.comparison('default', 'cost').differs:d} of 2 intervals leave out" in text


def test_the_rate_of_false_positives_is_told_where_there_are_enough_tests(tmp_path):
    plan = PLAN.model_copy(update={"window": 6})
    Experiment(plan, "made", mode(OF, aa=True), MadeBed(OF.bed), tmp_path).run(120, lambda line: None)
    found = analyse(tmp_path, plan)
    assert found.false_positives[1] == 20
    assert "of 20 tests of 6 observations at 0.05; so many or more come" in markdown([found], plan, "")


def test_the_power_comes_from_the_pilot(tmp_path):
    analysis = analysed(tmp_path)
    found = analysis.power
    assert found.spread == pytest.approx(0.02 * 2**0.5, rel=0.6)
    assert 1.0 < found.detectable < 1.05
    assert 6 <= found.needed < 40
    # (2.4977 + 1.2816)·spread/sqrt(0.864·40), at 0.05/4: two metrics, each against two arms
    assert found.detectable == pytest.approx(exp(3.78 * found.spread / 34.56**0.5), rel=0.005)
    assert "a probability of 0.9 at 0.05/4, the level of Holm's first step" in markdown([analysis], PLAN, "")


def test_too_short_a_pilot_is_said_to_tell_no_power(tmp_path):
    analysis = replace(analysed(tmp_path), power=None)
    assert "Power: none, since a pilot of 8 pairs has too few" in markdown([analysis], PLAN, "")


def test_the_cost_of_the_control_is_told_by_the_hour(tmp_path):
    found = as_json(analysed(tmp_path))
    assert found["control"]["auto"]["step_seconds"] == pytest.approx(0.0005)
    # of an interval of 0.04 s, however long the blocks took
    assert found["control"]["auto"]["cpu_share"] == pytest.approx(0.0125)
    json.dumps(found)


def test_the_report_shows_losses_and_wins_alike(tmp_path):
    worse = MadeBed({"auto": 1.3})
    text = markdown([analysed(tmp_path, bed=worse)], PLAN, "the command")
    row = next(line for line in text.splitlines() if line.startswith("| auto | default | cost"))
    assert "worse" in row
    safe = next(line for line in text.splitlines() if line.startswith("| auto | default | lost"))
    assert "worse" not in safe
    assert "better" not in safe
    assert "40 of 40 planned pairs" in text
    assert "Power, by a pilot of 8 pairs" in text


def test_only_planned_tests_say_better_or_worse_and_by_their_corrected_p(tmp_path):
    found = analysed(tmp_path)
    tested = found.comparison("default", "cost")
    assert tested.verdict(PLAN.alpha) == "better"
    assert tested.verdict(tested.corrected) == ""
    assert found.comparison("peer", "cost").effect.high < 1.0
    assert found.comparison("peer", "cost").verdict(PLAN.alpha) == ""
    more = replace(tested, metric=tested.metric.model_copy(update={"better": "higher"}))
    assert more.verdict(PLAN.alpha) == "worse"
    torn = replace(tested, effect=replace(tested.effect, rank_biserial=0.5))
    assert torn.verdict(PLAN.alpha) == ""


@pytest.mark.parametrize("pairs", [38, 42])
def test_a_run_of_other_than_the_planned_pairs_is_no_test(tmp_path, pairs):
    found = analysed(tmp_path, pairs=pairs)
    text = markdown([found], PLAN, "")
    assert not as_json(found)["whole"]
    assert "This run has not the pairs of the plan" in text
    assert "better |" not in text


def test_a_plan_without_a_rule_says_nothing_of_what_it_leaves_out(tmp_path):
    found = analysed(tmp_path)
    assert "0 left out by the plan's rule" in markdown([found], PLAN, "")
    without = replace(found, plan=OF.model_copy(update={"late": inf}))
    assert "left out" not in markdown([without], PLAN, "")


def test_data_of_another_plan_are_left_out_of_the_report_and_named(tmp_path, capsys):
    other = PLAN.model_copy(update={"seed": 8})
    for name, plan in (("made", PLAN), ("made-old", other)):
        Experiment(plan, "made", mode(OF), MadeBed(OF.bed), tmp_path / name).run(2, lambda line: None)
    assert planned_by(tmp_path / "made", PLAN)
    assert not planned_by(tmp_path / "made-old", PLAN)
    found = write_report(tmp_path, PLAN, TEXT, "the command")
    assert [each.folder.name for each in found] == ["made"]
    told = "Left out, since their data were made by another plan: made-old."
    assert told in capsys.readouterr().err
    assert told in (tmp_path / "report.md").read_text()
    assert told in (tmp_path / "report.html").read_text()


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


def test_blocks_that_failed_are_counted_by_their_arm_and_told(tmp_path):
    bed = MadeBed(OF.bed)
    bed.break_at = {20: 2}
    found = analysed(tmp_path, bed=bed)
    assert sum(found.failed.values()) == 2
    assert as_json(found)["failed_blocks"] == found.failed
    (arm,) = found.failed
    assert f"played again with their whole pair: {arm} 2." in markdown([found], PLAN, "the command")
