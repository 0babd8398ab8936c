"""The lines that the report begins with."""

import pytest
from validation.made_bed import PLAN, MadeBed

from quantum_control.validation.analysis import analyse
from quantum_control.validation.experiment import Experiment, mode
from quantum_control.validation.records import End, add_end
from quantum_control.validation.summary import again, costs, effects

OF = PLAN.of("made")


@pytest.fixture
def analysed(tmp_path):
    def make(pairs=40, **kind):
        folder = tmp_path / "-".join(kind or ["run"])
        Experiment(PLAN, "made", mode(OF, **kind), MadeBed(OF.bed), folder).run(pairs, lambda _: None)
        return analyse(folder, PLAN)

    return make


def test_effects_are_those_of_the_analysis_and_safety_stands_beside_them(analysed):
    analysis = analysed()
    head, rows = effects([analysis], PLAN)
    assert head == [
        "resource",
        "metric",
        "pairs",
        "against default",
        "against best fixed",
        "safety, against default",
    ]
    found = analysis.comparison("default", "cost").effect
    (row,) = rows
    assert row[:3] == ["made-up thing", "cost", "40"]
    assert row[3] == f"{found.value:.3g} [{found.low:.3g}, {found.high:.3g}]"
    assert row[5] == "lost +0 [+0, +0]"


def test_a_run_of_fewer_pairs_than_planned_has_the_interval_that_holds_at_every_moment(analysed):
    analysis = analysed(pairs=38)
    found = analysis.comparison("default", "cost").effect
    ((_, _, pairs, default, best, _),) = effects([analysis], PLAN)[1]
    assert pairs == "38 of 40"
    assert default == f"{found.value:.3g} [{found.always_low:.3g}, {found.always_high:.3g}], at every moment"
    assert best.endswith("[0, inf], at every moment")  # of 19 observations it has none


def test_so_has_one_that_was_ended_early_at_its_last_pair(analysed, tmp_path):
    analysed()
    add_end(tmp_path / "run", End(0.0, 40, "it did harm"))
    assert effects([analyse(tmp_path / "run", PLAN)], PLAN)[1][0][3].endswith(", at every moment")


def test_a_comparison_with_itself_is_told_by_effect_and_interval(analysed):
    analysis = analysed(aa=True)
    assert effects([analysis], PLAN)[1] == costs([analysis])[1] == []
    cost, lost = again([analysis])[1]
    found = analysis.comparison("default", "cost").effect
    assert cost[:3] == ["made-up thing", "cost", "40"]
    assert cost[3] == f"{found.value:#.4g} [{found.low:#.4g}, {found.high:#.4g}]"
    assert lost[1:] == ["lost", "40", "+0.000 [+0.000, +0.000]"]


def test_an_arm_that_has_not_run_yet_is_said_to_be_missing(analysed):
    plan = PLAN.model_copy(update={"compared": ["default", "peer"]})
    assert effects([analysed(pairs=1)], plan)[1][0][4] == "not made"


def test_looking_has_its_own_table_with_the_processor_time(analysed):
    analysis = analysed(overhead=True)
    assert effects([analysis], PLAN)[1] == []
    ((title, name, pairs, effect, core),) = costs([analysis])[1]
    assert (title, name, pairs) == ("made-up thing", "cost", "40")
    assert float(effect.split()[0]) == pytest.approx(1.0, abs=0.05)
    share, step = analysis.control["watched"]
    assert core == f"{100 * share:.2g} % here, {100 * step:.2g} % at one step a second"
