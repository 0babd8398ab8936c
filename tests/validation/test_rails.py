"""What ends an experiment early, how soon, and how seldom without a reason."""

import numpy as np
import pytest

from quantum_control.core.errors import ConfigError
from quantum_control.validation.experiment import EndedEarlyError
from quantum_control.validation.plan import read_plan
from quantum_control.validation.rails import Evidence, Rails, tolerated
from quantum_control.validation.records import Row

TEXT = """
pairs = 1000
alpha = 0.05
seed = 1
resamples = 99
power = 0.9
pilot = 0
warm_up = 0
window = 50
trajectories = 20
wanted = 0.05
compared = ["held"]

[resources.web]
title = "web"
stretch = 1
others = []
arms = { "held" = "as found", "steered" = "by the law" }
bed = {}

[[resources.web.metrics]]
name = "cost"
title = "cost"
unit = "1"
role = "primary"
SCALE

[[resources.web.metrics]]
name = "errors"
title = "errors"
unit = "1/s"
role = "safety"
scale = "difference"
"""

RATIO, DIFFERENCE = (read_plan(TEXT.replace("SCALE", scale)) for scale in ("", 'scale = "difference"'))


def rails(plan=RATIO, harm=0.05):
    return Rails(plan, plan.of("web"), "steered", "held", harm)


def pair(number, steered, held):
    return [
        Row(number, number, arm, place, 0.0, 1.0, 0.0, 0.0, 1, {"cost": cost, "errors": errors})
        for place, (arm, (cost, errors)) in enumerate({"steered": steered, "held": held}.items())
    ]


def ended(judge, steered, held, pairs, seed=0):
    """Pair after which it was ended, and why; None if it was not."""
    rng = np.random.default_rng(seed)
    for number in range(pairs):
        try:
            judge.take(pair(number, steered(rng), held(rng)))
        except EndedEarlyError as error:
            return number + 1, str(error)
    return None


def of(cost, errors=0.0, spread=0.2):
    return lambda rng: (cost * rng.lognormal(0.0, spread), float(rng.poisson(errors)))


def test_a_loss_beyond_the_tolerated_one_ends_it_and_is_told():
    after, why = ended(rails(), of(1.5), of(1.0), 1000)
    assert 30 <= after < 40
    assert "does harm: cost is 1.26 to 1.53 times that of held after 30 pairs" in why
    assert "5 % more was tolerated" in why


@pytest.mark.parametrize("cost", [0.8, 1.0, 1.04])
def test_a_gain_nothing_or_a_tolerated_loss_does_not(cost):
    assert ended(rails(), of(cost), of(1.0), 1000) is None


def test_where_cost_may_be_nothing_the_loss_is_a_share_of_what_held_blocks_cost():
    after, why = ended(rails(DIFFERENCE), of(15.0), of(10.0), 1000)
    assert 30 <= after < 40
    assert "above that of held" in why
    assert ended(rails(DIFFERENCE), of(10.2), of(10.0), 1000) is None


def test_errors_that_only_come_while_it_is_steered_end_it_after_a_few_pairs():
    after, why = ended(rails(), of(0.5, errors=5.0), of(1.0), 1000)
    assert 5 <= after <= 15
    assert "errors have risen" in why


def test_errors_that_begin_late_end_it_soon_after_that():
    judge = rails()
    assert ended(judge, of(0.5), of(1.0, errors=5.0), 500) is None
    after, why = ended(judge, of(0.5, errors=5.0), of(1.0), 100)
    assert after <= 30
    assert "errors have risen" in why


def test_errors_that_were_there_before_do_not():
    assert ended(rails(), of(1.0, errors=2.0), of(1.0, errors=2.0), 1000) is None


def test_rates_that_are_not_known_count_for_nothing():
    judge = rails()
    nan = float("nan")
    for number in range(50):
        judge.take(pair(number, (1.0 + 0.01 * (number % 3), nan), (1.0, nan)))


def test_a_cost_that_is_not_known_for_once_does_not_blind_the_rail():
    judge = rails()
    judge.take(pair(0, (float("nan"), 0.0), (1.0, 0.0)))
    judge.take(pair(1, (0.0, 0.0), (1.0, 0.0)))
    after, why = ended(judge, of(1.5), of(1.0), 1000)
    assert 30 <= after < 40
    assert f"after {after + 2} pairs" in why


def test_where_more_is_better_less_is_harm():
    more = read_plan(TEXT.replace("SCALE", 'better = "higher"'))
    after, why = ended(rails(more), of(0.7), of(1.0), 1000)
    assert 30 <= after < 60
    assert "5 % less was tolerated" in why
    for good in (0.97, 1.5):
        assert ended(rails(more), of(good), of(1.0), 1000) is None


def test_a_safety_metric_of_which_more_is_better_is_harmed_by_less():
    served = read_plan(
        TEXT.replace("SCALE", "").replace('title = "errors"', 'title = "served"\nbetter = "higher"')
    )
    assert ended(rails(served), of(1.0, errors=5.0), of(1.0), 1000) is None
    after, why = ended(rails(served), of(1.0), of(1.0, errors=5.0), 1000)
    assert 5 <= after <= 15
    assert "errors have fallen" in why


@pytest.mark.parametrize(
    "bed", ["{}", '{ harm = "much" }', "{ harm = -0.1 }", "{ harm = 1.5 }", "{ harm = true }"]
)
def test_a_plan_that_tolerates_no_loss_that_can_be_told_is_refused(bed):
    plan = read_plan(TEXT.replace("SCALE", "").replace("bed = {}", f"bed = {bed}"))
    with pytest.raises(ConfigError, match=r"bed\.harm is .*: give the loss"):
        tolerated(plan.of("web"))
    assert tolerated(read_plan(TEXT.replace("SCALE", "").replace("{}", "{ harm = 0.05 }")).of("web")) == 0.05


def test_what_ends_it_is_told():
    assert rails().watched == "5 % more cost, more errors"


def test_a_run_that_is_taken_up_again_is_judged_with_what_is_there():
    rng = np.random.default_rng(0)
    there = [row for number in range(40) for row in pair(number, of(1.5)(rng), of(1.0)(rng))]
    with pytest.raises(EndedEarlyError, match="does harm"):
        rails().take(there)


@pytest.mark.parametrize(
    "draw",
    [
        pytest.param(lambda rng, n: rng.choice((-1.0, 1.0), n), id="coins"),
        pytest.param(lambda rng, n: rng.choice((-1.0, 0.0, 0.0, 0.0, 1.0), n), id="seldom anything"),
        pytest.param(lambda rng, n: rng.choice((0.5, -1.0), n, p=(2 / 3, 1 / 3)), id="skewed"),
    ],
)
def test_without_a_rise_the_evidence_seldom_ever_reaches_its_bound(draw):
    rng = np.random.default_rng(3)
    alarms = 0
    for _ in range(400):
        evidence = Evidence(500)
        alarms += any(evidence.take(x) >= 20.0 for x in draw(rng, 500).tolist())
    # 400 runs of a share of 0.05 exceed 0.085 once in a thousand times.
    assert alarms / 400 <= 0.085


def test_steered_blocks_that_cannot_be_measured_count_as_failures_and_held_ones_against():
    plan = read_plan(TEXT.replace("SCALE", "").replace('"errors"', '"failures"'))

    def take(judge, *arms):
        for arm in arms:
            judge.take_unmeasured(arm)

    take(rails(plan), *("steered", "held") * 20)
    take(rails(), *("steered",) * 10)  # a plan that does not test failures
    judge = rails(plan)
    with pytest.raises(EndedEarlyError, match="failures have risen"):
        take(judge, *("steered",) * 10)
