"""The plan: what is fixed before a run, and what is refused."""

from collections import Counter

import pytest
from validation.made_bed import TEXT

from quantum_control.core.errors import ConfigError
from quantum_control.validation.bed import BEDS, check_bed
from quantum_control.validation.plan import committed, read_plan
from quantum_control.validation.statistics import FEWEST


def test_the_packaged_plan_is_whole_and_has_a_thousand_pairs():
    plan = read_plan(committed())
    assert plan.pairs == 1000
    assert set(plan.resources) == set(BEDS)
    for of in plan.resources.values():
        assert any(metric.role == "safety" for metric in of.metrics)
        assert set(plan.compared) <= {"default", *of.others}


@pytest.mark.parametrize("resource", BEDS)
def test_the_packaged_plan_has_the_words_of_each_real_part(resource):
    module, _, name = BEDS[resource].partition(":")
    made = getattr(pytest.importorskip(module, exc_type=ImportError), name)
    of = read_plan(committed()).of(resource)
    check_bed(made, of, resource)
    assert {metric.name for metric in of.metrics} == made.METRICS


def test_each_arm_of_the_packaged_plan_has_enough_observations_for_a_test():
    plan = read_plan(committed())
    for name, of in plan.resources.items():
        met = Counter(of.others[stretch % len(of.others)] for stretch in range(plan.pairs // of.stretch))
        assert set(met) == set(of.others)
        assert min(met.values()) >= FEWEST, name


def test_the_family_counts_every_test_that_the_plan_makes():
    assert read_plan(TEXT).family == 2 * 2


def test_a_plan_is_another_one_if_it_says_something_else_of_the_resource_but_not_of_others():
    one = read_plan(TEXT)
    both = TEXT.replace("resources.made", "resources.other") + TEXT[TEXT.index("[resources.made]") :]
    assert read_plan(both).fingerprint("made") == one.fingerprint("made")
    for old, new in (("seed = 7", "seed = 8"), ("auto = 0.8", "auto = 0.9"), ("late = 0.1", "late = 0.2")):
        assert read_plan(TEXT.replace(old, new)).fingerprint("made") != one.fingerprint("made")


def test_a_seed_of_its_own_is_that_of_the_resource_alone():
    own = TEXT.replace("[resources.made]\n", "[resources.made]\nseed = 8\n")
    assert own != TEXT
    plan = read_plan(own)
    assert (plan.seed, plan.seed_of("made")) == (7, 8)
    assert plan.fingerprint("made") == read_plan(TEXT.replace("seed = 7", "seed = 8")).fingerprint("made")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        pytest.param("pairs = 40", "pairs = 0", "pairs", id="no pairs"),
        pytest.param("alpha = 0.05", "alpha = 5", "alpha", id="no probability"),
        pytest.param('role = "primary"', 'role = "safety"', "one primary metric", id="no primary metric"),
        pytest.param('"peer"]', '"pear"]', "'pear' is not described", id="an arm without a description"),
        pytest.param("seed = 7", "seed = 7\nsed = 8", "sed", id="a word that means nothing"),
        pytest.param("seed = 7", "seed = ", "the plan: ", id="no TOML"),
    ],
)
def test_a_wrong_plan_is_refused_with_the_reason(old, new, told):
    with pytest.raises(ConfigError, match=told):
        read_plan(TEXT.replace(old, new))


def test_a_resource_that_is_not_planned_is_refused_with_the_nearest_name():
    with pytest.raises(ConfigError, match="made"):
        read_plan(TEXT).of("mad")
