"""Where the laws rest: the cheapest size for the demand to come, and how far it is."""

from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import norm

from quantum_control.core.physics import Objective
from quantum_control.core.resource import ResourceState
from quantum_control.physics.coherent import SQUEEZING, Coherent
from quantum_control.physics.optomechanical import Optomechanical
from quantum_control.physics.parametric import STIFFNESS, Parametric
from quantum_control.physics.staffing import Staffing, rest_quantiles
from quantum_control.simulation.oscillator import seen

LAWS = (Optomechanical, Parametric, Coherent)


def predicted(forecast=100.0, spread=0.5, commanded=100.0, backlog=0.0):
    return ResourceState(
        forecast / commanded - 1.0,
        size=commanded,
        commanded=commanded,
        flow=forecast,
        forecast=forecast,
        spread=spread,
        backlog=backlog,
    )


@pytest.mark.parametrize(("waiting", "size"), [(3.0, 1.0), (1.0, 1.0), (20.0, 1.0)])
def test_the_cheapest_size_is_the_newsvendors_quantile(figure, waiting, size):
    """P(demand < u) = p_w/(p_w + p_s); Arrow, Harris & Marschak (1951).

    The size in use is paid for sooner or later; what is chosen is between a
    unit that idles, at p_s, and one that is short for an interval, at p_w.
    """
    low, high = rest_quantiles(Objective(waiting=waiting, size=size, change=0.0))
    assert low == high

    def cost(z):
        short = norm.pdf(z) - z * norm.sf(z)  # mean of max(0, demand - z)
        return waiting * short + size * (z + short)

    best = minimize_scalar(cost, bounds=(-3.0, 3.0), method="bounded").x
    figure(f"newsvendor quantile, prices {waiting:g} and {size:g}", formula=best, computed=low, abs=1e-4)


def test_a_price_on_movement_widens_the_point_to_an_interval(figure):
    """(p_w ± p_c)/(p_w + p_s), outside of which one step's saving pays for the move; Davis & Norman 1990."""
    low, high = rest_quantiles(Objective(waiting=3.0, size=1.0, change=0.3))
    figure("lower edge of the rest interval", formula=norm.ppf(2.7 / 4.0), computed=low, rel=1e-9)
    figure("upper edge of the rest interval", formula=norm.ppf(3.3 / 4.0), computed=high, rel=1e-9)


def test_default_prices_ask_for_the_quantiles_of_the_formula_to_the_last_bit():
    low, high = rest_quantiles(Objective())
    assert (low, high) == (NormalDist().inv_cdf(2.7 / 4.0), NormalDist().inv_cdf(3.3 / 4.0))


@pytest.mark.parametrize(
    ("waiting", "chance"), [(100.0, 100.0 / 101.0), (1000.0, 1000.0 / 1001.0), (1e9, 0.9999)]
)
def test_dear_waiting_is_paid_for_in_headroom_as_far_as_a_gaussian_goes(waiting, chance):
    low, high = rest_quantiles(Objective(waiting=waiting, change=0.0))
    assert low == high == pytest.approx(norm.ppf(chance))


@pytest.mark.parametrize("waiting", [1e-6, 0.01, 64.0, 100.0, 1e6])
@pytest.mark.parametrize("change", [1e-3, 0.3, 100.0])
def test_whatever_waiting_costs_a_price_on_movement_leaves_a_dead_band(waiting, change):
    objective = Objective(waiting=waiting, change=change)
    low, high = rest_quantiles(objective)
    best, _ = rest_quantiles(Objective(waiting=waiting, change=0.0))
    assert -5.0 < low <= best <= high < 5.0
    assert high - low > 1e-6
    assert Coherent(objective=objective).staffing.slack > 0.0


def test_no_price_asks_for_a_quantile_that_does_not_exist():
    for change in (3.0, 1e6):
        low, high = rest_quantiles(Objective(waiting=1.0, size=1.0, change=change))
        assert -3.0 < low < high < 3.0


@pytest.mark.parametrize("law", LAWS)
def test_inside_the_interval_nothing_pulls(law):
    model = law()
    centre = 100.0 / (1.0 + model.setpoint(predicted()))
    assert centre > 100.0
    assert model.calculate_force(predicted(commanded=centre)) == 0.0
    assert model.calculate_force(predicted(commanded=0.5 * centre)) > 0.0
    assert model.calculate_force(predicted(commanded=2.0 * centre)) < 0.0


def test_the_dead_band_of_coherent_is_wider_by_its_squeezing():
    plain, squeezed = Optomechanical().staffing, Coherent().staffing
    assert squeezed.slack == pytest.approx(SQUEEZING * plain.slack)


@pytest.mark.parametrize("law", LAWS)
def test_a_backlog_is_cleared_in_the_next_interval(law):
    """On top of the flow; the whole of it, were the law not to take out less than all of a deviation."""
    model = law(Staffing(0.0, 0.0))
    state = predicted(spread=0.0, backlog=50.0)
    assert model.staffing.deviation(state) == pytest.approx(np.log(1.5))


@pytest.mark.parametrize("law", LAWS)
def test_the_force_is_relative_and_per_second(law):
    """The same law serves two threads and two billion bytes, at any interval."""
    model = law(Staffing(0.0, 0.0))
    force = model.calculate_force(predicted(forecast=30.0, commanded=20.0))
    assert model.calculate_force(predicted(forecast=3e9, commanded=2e9)) == pytest.approx(force)


@pytest.mark.parametrize("law", LAWS)
def test_what_is_under_way_is_not_ordered_again(law):
    """The distance is that of the size ordered, whatever the size in force."""
    model = law(Staffing(0.0, 0.0))
    arrived = predicted(commanded=80.0, spread=0.0)
    under_way = replace(arrived, size=40.0)
    assert model.calculate_force(under_way) == model.calculate_force(arrived) > 0.0


@pytest.mark.parametrize("law", LAWS)
def test_the_same_motion_per_interval_is_answered_alike_at_any_interval(law):
    model = law(Staffing(0.0, 0.0))
    pulls = []
    for interval in (0.01, 1.0, 60.0):
        state = seen(0.4, -0.5 / interval, 0.2 / interval**2, interval=interval)
        pulls.append(model.calculate_force(state) * interval)
    assert pulls == pytest.approx([pulls[1]] * 3)


@pytest.mark.parametrize(("quality", "stiffness"), [(0.0, 1.0), (0.5, 0.95), (1.0, STIFFNESS)])
def test_the_better_the_lock_the_softer_the_trap(quality, stiffness):
    """What is left of the deviation once the rhythm is known is mostly noise."""
    law = Parametric(Staffing(0.0, 0.0))
    law.lock.locked, law.lock.quality = 1.0, quality
    assert law.calculate_force(seen(0.4)) == pytest.approx(stiffness * 0.4)


@pytest.mark.parametrize("law", LAWS)
def test_a_bare_state_is_understood(law):
    """Three numbers suffice: the position is pulled to 0, the prediction is free motion."""
    model = law()
    assert model.calculate_force(ResourceState(0.1, 0.0, 0.0)) > 0.0
    assert model.calculate_force(ResourceState(-0.1, 0.0, 0.0)) < 0.0
    ahead = model.predict_next_state(ResourceState(0.1, 0.2, 0.3, interval=2.0, time=5.0))
    assert ahead.position == pytest.approx(0.1 + 0.2 * 2.0 + 0.3 * 2.0)
    assert ahead.velocity == pytest.approx(0.2 + 0.3 * 2.0)
    assert ahead.time == 7.0


@pytest.mark.parametrize("law", LAWS)
def test_the_prediction_is_the_forecast_and_what_waits_now_at_the_size_ordered(law):
    """Not what will wait when the next size acts, by which the orders in flight have changed it."""
    waits = replace(predicted(forecast=90.0, commanded=120.0, backlog=70.0), size=80.0, position=20.0 / 80.0)
    ahead = law().predict_next_state(waits)
    assert ahead.demand == pytest.approx(110.0)
    assert ahead.size == 120.0
    assert ahead.backlog == 0.0


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize(
    "state",
    [
        predicted(forecast=90.0, commanded=120.0, backlog=20.0),
        predicted(forecast=130.0, commanded=120.0, backlog=0.0),
        ResourceState(0.1, 0.2, 0.3, size=40.0, interval=2.0),
    ],
)
def test_the_demand_predicted_is_that_of_the_state_predicted(law, state):
    model = law()
    assert model.predict_demand(state) == pytest.approx(model.predict_next_state(state).demand)


@pytest.mark.parametrize("law", LAWS)
def test_rows_of_an_array_are_laws_of_their_own(law):
    model = law()
    alone = [
        predicted(100.0, 0.5, size, waiting) for size, waiting in ((50.0, 0.0), (104.0, 0.0), (300.0, 9.0))
    ]
    rows = predicted(
        np.full(3, 100.0), np.full(3, 0.5), np.array([50.0, 104.0, 300.0]), np.array([0.0, 0.0, 9.0])
    )
    np.testing.assert_allclose(model.calculate_force(rows), [model.calculate_force(one) for one in alone])
