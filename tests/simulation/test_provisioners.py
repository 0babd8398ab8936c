"""Laws that size capacity, against numbers worked out by hand from their published form."""

from dataclasses import replace
from math import exp, log, sqrt

import numpy as np
import pytest

from quantum_control.core.errors import ConfigError
from quantum_control.core.resource import ResourceState
from quantum_control.simulation.peers import (
    PROVISIONERS,
    AimdPool,
    Ewma,
    EwmaWithBacklog,
    Fixed,
    Holt,
    HoltWinters,
    Hpa,
    Kpa,
    Pid,
    peer,
)


def ask(law, demand, size, **measured):
    """Size that the law wants, taken through the force as the controller does."""
    state = replace(ResourceState.from_demand(demand, size=size), **{"commanded": size, **measured})
    return size * exp(law.calculate_force(state) * state.interval)


# ---- fixed, smoothed ---------------------------------------------------------------------------


def test_fixed_wants_its_size_whatever_happens():
    law = Fixed(30.0)
    assert [ask(law, demand, 10.0) for demand in (0.0, 5.0, 500.0)] == pytest.approx([30.0] * 3)


def test_the_force_is_relative_to_the_size_ordered_and_to_the_interval():
    state = ResourceState(0.0, size=10.0, commanded=20.0, interval=5.0)
    assert Fixed(40.0).calculate_force(state) == pytest.approx(log(40.0 / 20.0) / 5.0)
    unknown = ResourceState(0.0, size=10.0, interval=5.0)
    assert Fixed(40.0).calculate_force(unknown) == pytest.approx(log(40.0 / 10.0) / 5.0)


def test_ewma_in_numbers():
    law = Ewma()
    assert ask(law, 100.0, 10.0) == pytest.approx(100.0 + 0.4 * 10.0)
    assert ask(law, 64.0, 10.0) == pytest.approx(82.0 + 0.4 * sqrt(82.0))
    assert ask(law, 0.0, 10.0) == pytest.approx(41.0 + 0.4 * sqrt(41.0))


def test_ewma_that_knows_the_backlog_smooths_the_flow_and_adds_it_in_full():
    law = EwmaWithBacklog(smoothing=0.3, headroom=0.8)
    assert ask(law, 100.0, 80.0, flow=100.0, backlog=20.0) == pytest.approx(100.0 + 8.0 + 20.0)
    level = 100.0 + 0.3 * (50.0 - 100.0)
    assert ask(law, 70.0, 128.0, flow=50.0, backlog=0.0) == pytest.approx(level + 0.8 * sqrt(level))


def test_holt_in_numbers():
    law = Holt(smoothing=0.5, trend=0.1, headroom=0.0)
    assert ask(law, 10.0, 10.0) == pytest.approx(10.0)
    # Level 10 + .5·10 = 15, slope .1·5 = .5.
    assert ask(law, 20.0, 10.0) == pytest.approx(15.5)
    # Expected 15.5: level 15.5 + .5·4.5 = 17.75, slope .9·.5 + .1·(17.75 - 15) = .725.
    assert ask(law, 20.0, 10.0) == pytest.approx(17.75 + 0.725)


def test_holt_finds_a_ramp_and_runs_ahead_of_it():
    law = Holt(smoothing=0.5, trend=0.2, headroom=0.0, ahead=3.0)
    for step in range(200):
        wanted = ask(law, 10.0 + 2.0 * step, 10.0)
    assert wanted == pytest.approx(10.0 + 2.0 * 202, rel=1e-6)


def test_holt_winters_knows_a_clean_season_after_one_period():
    season = [50.0, 70.0, 50.0, 30.0]
    law = HoltWinters(period=4, headroom=0.0)
    wanted = [ask(law, season[step % 4], 10.0) for step in range(24)]
    assert wanted[3:] == pytest.approx([season[(step + 1) % 4] for step in range(3, 24)])


def test_holt_winters_in_numbers():
    law = HoltWinters(period=2, level=0.5, trend=0.1, season=0.2, headroom=0.0)
    ask(law, 10.0, 10.0)
    assert ask(law, 20.0, 10.0) == pytest.approx(10.0)  # level 15, season -5, +5
    # Level 15 + .5·(14 + 5 - 15) = 17, slope .1·2 = .2, season[0] = -5 + .2·(14 - 17 + 5) = -4.6.
    assert ask(law, 14.0, 10.0) == pytest.approx(17.2 + 5.0)
    # Expected 17.2, seen 22 - 5: level 17.1, slope .2 + .1·(.1 - .2) = .19, then season[0].
    assert ask(law, 22.0, 10.0) == pytest.approx(17.1 + 0.19 - 4.6)


def test_a_season_needs_two_intervals():
    with pytest.raises(ConfigError, match="period=1"):
        HoltWinters(period=1)


# ---- Kubernetes --------------------------------------------------------------------------------


def test_hpa_in_numbers():
    law = Hpa(target=0.7)
    every = {"interval": 15.0}
    # 14/10/.7 = 2: twice as many, which max(10 + 4, 2·10) lets pass.
    assert ask(law, 14.0, 10.0, **every) == pytest.approx(20.0)
    # 13.5/20/.7 = .964 is within 10 % of the target.
    assert ask(law, 13.5, 20.0, **every) == pytest.approx(20.0)
    # 10.5/20/.7 = .75 asks for 15; the last five minutes hold a 20.
    assert ask(law, 10.5, 20.0, **every) == pytest.approx(20.0)


def test_hpa_scales_down_to_the_highest_recommendation_of_five_minutes():
    law = Hpa(target=0.5)
    assert ask(law, 10.0, 10.0, interval=15.0) == pytest.approx(20.0)
    lower = [ask(law, 5.0 + 0.5 * (step % 2), 20.0, interval=15.0) for step in range(20)]
    assert lower[:19] == pytest.approx([20.0] * 19)
    assert lower[19] == pytest.approx(11.0)  # 300 s later only 10s and 11s are left


def test_hpa_does_not_grow_while_demand_falls():
    """Of a wish for 286, of which 20 were granted, nothing is taken up again when 10 would do."""
    law = Hpa()
    assert ask(law, 200.0, 10.0, interval=15.0) == pytest.approx(20.0)
    assert ask(law, 7.0, 20.0, interval=15.0) == pytest.approx(20.0)


def test_hpa_grows_by_four_or_by_all_in_fifteen_seconds():
    assert ask(Hpa(), 100.0, 2.0, interval=15.0) == pytest.approx(6.0)
    assert ask(Hpa(), 100.0, 9.0, interval=15.0) == pytest.approx(18.0)


def test_hpa_evaluated_every_five_seconds_counts_the_growth_of_fifteen():
    law = Hpa(sync_seconds=5.0, stabilisation_seconds=0.0)
    sizes = [10.0]
    for _ in range(5):
        sizes.append(ask(law, 1000.0, sizes[-1], interval=5.0))
    # Two evaluations find the room used up, the next doubles what was there 10 s before it.
    assert sizes == pytest.approx([10.0, 20.0, 20.0, 20.0, 40.0, 40.0])


def test_hpa_acts_every_fifteen_seconds_on_the_mean_since_the_last_time():
    law = Hpa(target=0.5, stabilisation_seconds=0.0)
    wanted = [ask(law, demand, 10.0) for demand in [4.0] * 14 + [34.0]]
    assert wanted[:14] == pytest.approx([10.0] * 14)
    assert wanted[14] == pytest.approx(12.0)  # (14·4 + 34)/15 = 6 in use on average


def test_hpa_keeps_one():
    assert ask(Hpa(stabilisation_seconds=0.0), 0.0, 1.0, interval=15.0) == pytest.approx(1.0)


# ---- Knative -----------------------------------------------------------------------------------


def test_kpa_panics_at_twice_the_size_and_does_not_shrink_while_it_does():
    law = Kpa(target=0.7)
    tick = {"interval": 2.0}
    assert ask(law, 0.5, 1.0, **tick) == pytest.approx(1.0)  # ceil(.5/.7)
    # Both windows hold .5 and 21: ceil(10.75/.7) = 16, sixteen times what there is.
    assert ask(law, 21.0, 1.0, **tick) == pytest.approx(16.0)
    # ceil(21.5/3/.7) = 11 is wanted now; panic keeps 16 for a stable window from its beginning.
    wanted = [ask(law, 0.0, 16.0, **tick) for _ in range(31)]
    assert wanted[:30] == pytest.approx([16.0] * 30)
    # Then at most a half goes at a time: max(ceil(0/.7), floor(16/2)).
    assert wanted[30] == pytest.approx(8.0)


def test_kpa_starts_in_panic_on_more_than_one_unit():
    law = Kpa()
    wanted = [ask(law, 1.0, 10.0, interval=2.0) for _ in range(31)]
    assert wanted[:30] == pytest.approx([10.0] * 30)
    assert wanted[30] == pytest.approx(5.0)


def test_kpa_follows_the_stable_mean_once_calm():
    law = Kpa(target=0.5)
    for _ in range(40):
        wanted = ask(law, 10.0, 20.0, interval=2.0)
    assert wanted == pytest.approx(20.0)
    # One of thirty samples is 25: mean 10.5, ceil(21). Panic sees ceil((10 + 10 + 25)/3/.5)/20 = 1.5.
    assert ask(law, 25.0, 20.0, interval=2.0) == pytest.approx(21.0)


def test_kpa_looks_for_panic_in_the_last_six_seconds():
    law = Kpa(target=0.5)
    for _ in range(40):
        ask(law, 10.0, 20.0, interval=2.0)
    # ceil((10 + 10 + 31)/3/.5)/20 = 1.7, then ceil((10 + 31 + 31)/3/.5)/20 = 2.4.
    assert ask(law, 31.0, 20.0, interval=2.0) == pytest.approx(22.0)
    assert ask(law, 31.0, 20.0, interval=2.0) == pytest.approx(48.0)


def test_kpa_acts_every_two_seconds():
    law = Kpa()
    wanted = [ask(law, 100.0, 10.0) for _ in range(4)]
    assert wanted == pytest.approx([10.0, 143.0, 10.0, 143.0])


# ---- AIMD and PID ------------------------------------------------------------------------------


def test_aimd_of_a_pool_in_numbers():
    law = AimdPool(step=5.0, decrease=0.9, threshold=0.8)
    assert ask(law, 21.0, 20.0) == pytest.approx(25.0)
    assert ask(law, 17.0, 20.0) == pytest.approx(20.0)
    assert ask(law, 15.0, 20.0) == pytest.approx(18.0)
    assert ask(law, 0.0, 1.0) == pytest.approx(1.0)


def test_pid_in_numbers():
    law = Pid(proportional=0.2, integral=0.5, derivative=0.1, target=1.0)
    up, down = log(2.0), log(0.5)
    assert ask(law, 20.0, 10.0) == pytest.approx(10.0 * exp(0.5 * up))
    move = 0.2 * (down - up) + 0.5 * down + 0.1 * (down - 2.0 * up + up)
    assert ask(law, 5.0, 10.0) == pytest.approx(10.0 * exp(move))
    # Errors ln 2, ln .5, 0: the steps are -down and, of second order, -2·down + up.
    move = 0.2 * -down + 0.1 * (-2.0 * down + up)
    assert ask(law, 10.0, 10.0) == pytest.approx(10.0 * exp(move))
    assert ask(law, 10.0, 10.0) == pytest.approx(10.0 * exp(0.1 * down))


def test_pid_does_not_wind_up_while_the_size_may_not_follow():
    law = Pid()
    for _ in range(100):
        ask(law, 1000.0, 10.0)  # bounded: the size stays 10 whatever is wanted
    assert ask(law, 4.5, 10.0) < 10.0


def test_pid_survives_an_idle_interval():
    law = Pid(proportional=0.0, integral=0.5, target=1.0)
    assert ask(law, 0.0, 10.0) == pytest.approx(10.0 * sqrt(0.05))


# ---- all ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PROVISIONERS)
def test_a_steady_demand_is_given_a_size_that_holds_it(name):
    law, size = peer(name), 10.0
    for _ in range(400):
        size = max(1.0, ask(law, 50.0, size, flow=50.0, backlog=max(0.0, 50.0 - size)))
    assert 50.0 <= size <= 50.0 / 0.6


@pytest.mark.parametrize("name", PROVISIONERS)
def test_a_peer_predicts_that_things_stay_as_they_are(name):
    state = ResourceState(0.2, size=10.0, time=3.0, interval=2.0)
    predicted = peer(name).predict_next_state(state)
    assert (predicted.demand, predicted.time) == (state.demand, 5.0)


def test_an_unknown_peer_is_answered_with_the_nearest_one():
    with pytest.raises(ConfigError, match="did you mean 'ewma'"):
        peer("ewna")


@pytest.mark.parametrize(
    "make",
    [
        lambda: Fixed(0.0),
        lambda: Ewma(smoothing=0.0),
        lambda: Holt(trend=1.5),
        lambda: Hpa(target=0.0),
        lambda: Kpa(panic_share=2.0),
        lambda: AimdPool(decrease=0.0),
        lambda: Pid(target=0.0),
    ],
)
def test_parameters_out_of_range_are_refused(make):
    with pytest.raises(ConfigError):
        make()


def test_a_fixed_size_may_differ_from_run_to_run():
    state = ResourceState.from_demand(5.0, size=10.0)
    rows = replace(state, position=np.zeros(2), size=np.array([10.0, 20.0]))
    np.testing.assert_allclose(Fixed(np.array([10.0, 40.0])).calculate_force(rows), [0.0, log(2.0)])
