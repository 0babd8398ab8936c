from dataclasses import replace
from math import inf, nan, sin, sqrt
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantum_control import ResourceState, SensorError
from quantum_control.core.estimation import (
    JUMP,
    LARGEST,
    AmplitudeFilter,
    Estimator,
)
from quantum_control.core.numeric import ARRAY


def seen(
    estimator: Estimator, demand: float, size: float, time: float, ordered: float = nan
) -> ResourceState:
    return estimator.update(ResourceState.from_demand(demand, size=size), time, ordered)


class Fluid:
    """A queue of work: each interval brings `flow`, serves up to `size`, and keeps the rest."""

    def __init__(self, estimator: Estimator, size: float = 30.0) -> None:
        self.estimator = estimator
        self.size = size
        self.backlog = 0.0
        self.time = 0.0

    def run(self, flow: float, size: float | None = None, intervals: float = 1.0) -> ResourceState:
        """State after `intervals` of this flow, reported as a pool does: mean in use, and what waits."""
        self.size = size or self.size
        self.time += intervals
        offered = self.backlog + flow * intervals
        self.backlog = max(offered - self.size * intervals, 0.0)
        demand = (offered - self.backlog) / intervals + self.backlog
        return seen(self.estimator, demand, self.size, self.time, self.size)


# ---- what a state says --------------------------------------------------------------------------


def test_the_first_measurement_is_at_rest() -> None:
    state = seen(Estimator(), 8.0, 10.0, 5.0)
    assert state.position == pytest.approx(-0.2)
    assert (state.velocity, state.acceleration, state.snr, state.backlog) == (0.0, 0.0, 0.0, 0.0)
    assert (state.size, state.commanded, state.time) == (10.0, 10.0, 5.0)
    assert (state.flow, state.forecast) == (pytest.approx(8.0), pytest.approx(8.0))
    assert state.temperature == 1.0


def test_what_was_measured_beside_passes_through_and_the_metrics_come_first() -> None:
    measured = ResourceState(0.0, size=1.0, throughput=1.0, drops=2.0)
    state = Estimator().update(measured, 0.0, metrics={"throughput": 5.0, "errors": 6.0, "other": 7.0})
    assert (state.throughput, state.errors, state.drops) == (5.0, 6.0, 2.0)


def test_backlog_is_told_apart_from_new_demand() -> None:
    estimator = Estimator()
    seen(estimator, 30.0, 10.0, 0.0)
    state = seen(estimator, 28.0, 10.0, 1.0)
    assert state.flow == pytest.approx(8.0)
    assert state.backlog == pytest.approx(18.0)


def test_a_resource_of_integers_is_estimated_in_floats() -> None:
    state = Estimator().update(ResourceState(0, size=10), 1.0)
    assert type(state.size) is float
    assert type(state.position) is float


# ---- velocity and acceleration ------------------------------------------------------------------


def test_velocity_of_a_ramp_is_its_slope_over_the_size() -> None:
    fluid = Fluid(Estimator(), size=1000.0)
    for step in range(200):
        state = fluid.run(100.0 + 2.0 * step)
    assert state.velocity == pytest.approx(2.0 / 1000.0, rel=0.02)
    assert state.acceleration == pytest.approx(0.0, abs=1e-5)


def test_acceleration_of_a_parabola_is_its_curvature_over_the_size() -> None:
    fluid = Fluid(Estimator(), size=1e5)
    for step in range(200):
        state = fluid.run(400.0 + 0.5 * step * step)
    assert state.acceleration == pytest.approx(1.0 / 1e5, rel=0.05)


@pytest.mark.parametrize("interval", [0.1, 1.0, 30.0])
def test_rates_are_per_second_whatever_the_interval(interval: float) -> None:
    estimator = Estimator(interval)
    for step in range(200):
        state = seen(estimator, 100.0 + 2.0 * step, 1000.0, step * interval)
    assert state.velocity == pytest.approx(2.0 / interval / 1000.0, rel=0.02)


@given(st.lists(st.floats(1.0, 1000.0), min_size=5, max_size=40))
def test_own_moves_are_not_motion(sizes: list[float]) -> None:
    fluid = Fluid(Estimator())
    for size in sizes:
        state = fluid.run(20.0, size)
        assert state.velocity == pytest.approx(0.0, abs=1e-9)
        assert state.acceleration == pytest.approx(0.0, abs=1e-9)
        assert state.flow == pytest.approx(20.0)


def test_a_burst_stands_out_of_its_noise_and_steady_demand_does_not() -> None:
    rng = np.random.default_rng(1)
    fluid = Fluid(Estimator(), size=1000.0)
    quiet = [fluid.run(float(flow)).snr for flow in rng.poisson(100, 300)]
    assert sqrt(np.mean(np.square(quiet))) == pytest.approx(1.0, abs=0.2)
    assert fluid.run(250.0).snr > 5.0


# ---- temperature --------------------------------------------------------------------------------


def mean_temperature(flows: Any) -> float:
    estimator = Estimator()
    states = [seen(estimator, float(flow), 1e12, float(time)) for time, flow in enumerate(flows)]
    return float(np.mean([state.temperature for state in states[500:]]))


@pytest.mark.parametrize("level", [10, 100, 10_000, 100_000_000])
def test_poisson_demand_has_a_temperature_of_one_at_any_level(level: int) -> None:
    rng = np.random.default_rng(2)
    assert mean_temperature(rng.poisson(level, 8000)) == pytest.approx(1.0, abs=0.12)


@pytest.mark.parametrize("temperature", [4.0, 25.0])
@pytest.mark.parametrize("level", [100, 10_000])
def test_over_dispersed_demand_is_as_hot_as_its_variance_over_its_mean(
    level: float, temperature: float
) -> None:
    rng = np.random.default_rng(3)
    # A negative binomial of mean m and variance T·m.
    flows = rng.negative_binomial(level / (temperature - 1.0), 1.0 / temperature, 8000)
    assert mean_temperature(flows) == pytest.approx(temperature, rel=0.12)


def test_deterministic_demand_cools_down_to_a_floor() -> None:
    assert 0.0 < mean_temperature([100.0] * 2000) < 0.1


def test_the_spread_is_that_of_what_comes() -> None:
    rng = np.random.default_rng(4)
    estimator = Estimator()
    flows = rng.poisson(100, 4000)
    states = [seen(estimator, float(flow), 1e6, float(time)) for time, flow in enumerate(flows)]
    misses = [
        (sqrt(flow) - sqrt(before.forecast)) / before.spread
        for before, flow in zip(states[:-1], flows[1:], strict=True)
    ]
    assert np.std(misses) == pytest.approx(1.0, abs=0.05)


# ---- bursts -------------------------------------------------------------------------------------


def warmed_up(jump: float) -> AmplitudeFilter:
    """A filter that has seen the shot noise of a steady amplitude of 10."""
    level = AmplitudeFilter(jump=jump)
    level.start(10.0)
    for step in range(200):
        level.update(10.5 if step % 2 else 9.5)
    return level


def test_a_jump_is_believed_at_once_and_noise_is_not() -> None:
    noisy, jumped = warmed_up(JUMP), warmed_up(JUMP)
    noisy.update(10.5)
    assert noisy.level == pytest.approx(10.0, abs=0.3)
    jumped.update(20.0)
    assert jumped.level == pytest.approx(20.0, abs=0.1)


def test_a_filter_that_never_jumps_takes_several_steps() -> None:
    careful = warmed_up(inf)
    careful.update(20.0)
    assert careful.level < 14.0


@pytest.mark.parametrize("agility", [0.01, 0.1, 1.0])
def test_the_steady_gain_is_that_of_the_riccati_equation(agility: float) -> None:
    level = AmplitudeFilter(agility, jump=inf)
    level.start(10.0)
    for step in range(2000):
        level.update(10.0 + 0.1 * sin(step))
    before = level.level
    level.update(before + 1.0)
    expected = (-agility + sqrt(agility**2 + 4.0 * agility)) / 2.0
    assert level.level - before == pytest.approx(expected, rel=1e-3)


# ---- samples that are late, missing, repeated or garbage ----------------------------------------


def test_a_repeated_sample_changes_nothing() -> None:
    estimator = Estimator()
    for time, demand in enumerate([10.0, 30.0, 20.0]):
        state = seen(estimator, demand, 15.0, float(time))
    for _ in range(3):
        assert seen(estimator, 20.0, 15.0, 2.0) == state
    assert seen(estimator, 22.0, 15.0, 3.0) == continued([10.0, 30.0, 20.0, 22.0])


def continued(demands: list[float]) -> ResourceState:
    estimator = Estimator()
    for time, demand in enumerate(demands):
        state = seen(estimator, demand, 15.0, float(time))
    return state


def test_a_clock_that_goes_back_costs_one_sample_and_is_believed_then() -> None:
    estimator = Estimator()
    for time in range(50):
        before = seen(estimator, 100.0, 200.0, 1000.0 + time)
    assert seen(estimator, 300.0, 200.0, 10.0) == replace(before, time=10.0)
    assert seen(estimator, 300.0, 200.0, 11.0).forecast == pytest.approx(300.0, rel=0.05)


def test_a_clock_that_leaps_ahead_makes_the_next_sample_count_for_more() -> None:
    estimator = Estimator()
    for time in range(50):
        seen(estimator, 100.0, 1000.0, float(time))
    state = seen(estimator, 110.0, 1000.0, 1e12)
    assert state.forecast == pytest.approx(110.0, rel=1e-6)
    assert abs(state.velocity) < 1e-12
    assert seen(estimator, 110.0, 1000.0, 1e12 + 1.0).velocity == pytest.approx(0.0, abs=1e-6)


@given(st.lists(st.floats(0.2, 3.0), min_size=20, max_size=60))
def test_irregular_sampling_does_not_make_motion_out_of_steady_demand(gaps: list[float]) -> None:
    estimator = Estimator()
    time = 0.0
    for gap in gaps:
        time += gap
        state = seen(estimator, 40.0, 50.0, time)
    assert state.velocity == pytest.approx(0.0, abs=1e-9)
    assert state.forecast == pytest.approx(40.0)


def test_a_ramp_sampled_irregularly_has_the_same_velocity() -> None:
    rng = np.random.default_rng(6)
    estimator = Estimator()
    time, way = 0.0, 0.0
    for gap in rng.uniform(0.5, 1.5, 400):
        time += gap
        way += seen(estimator, 100.0 + 2.0 * time, 2000.0, time).velocity * gap
    assert way / time == pytest.approx(2.0 / 2000.0, rel=0.03)


@pytest.mark.parametrize("missed", [1, 3, 20])
@pytest.mark.parametrize("flow", [20.0, 29.0, 45.0])
def test_the_backlog_served_in_a_gap_is_not_taken_for_a_lack_of_demand(missed: int, flow: float) -> None:
    fluid = Fluid(Estimator(), size=30.0)
    for _ in range(10):
        fluid.run(flow)
    fluid.run(flow + 100.0)
    state = fluid.run(flow, intervals=1.0 + missed)
    assert state.flow == pytest.approx(flow)


@pytest.mark.parametrize("position", [nan, inf, -inf, -1.1])
def test_an_impossible_position_is_an_error_of_the_sensor_and_changes_nothing(position: float) -> None:
    estimator = Estimator()
    seen(estimator, 20.0, 10.0, 0.0)
    with pytest.raises(SensorError, match="never below -1"):
        estimator.update(ResourceState(position, size=10.0), 1.0)
    twin = Estimator()
    seen(twin, 20.0, 10.0, 0.0)
    assert seen(estimator, 21.0, 10.0, 2.0) == seen(twin, 21.0, 10.0, 2.0)


@pytest.mark.parametrize("size", [0.0, -3.0, inf, -inf])
def test_an_impossible_size_is_an_error_of_the_sensor(size: float) -> None:
    with pytest.raises(SensorError, match="positive, finite number"):
        Estimator().update(ResourceState(0.1, size=size), 0.0, 10.0)


@pytest.mark.parametrize("missing", [nan, float("nan"), np.nan])
def test_a_size_that_was_not_measured_is_the_one_ordered(missing: float) -> None:
    state = Estimator().update(ResourceState(0.1, size=missing), 0.0, 10.0)
    assert state.size == 10.0


def test_a_size_neither_measured_nor_ordered_is_an_error_that_says_what_to_return() -> None:
    with pytest.raises(SensorError, match=r"ResourceState\(\.\.\., size=\.\.\.\)"):
        Estimator().update(ResourceState(0.1), 0.0)


def test_garbage_too_large_to_reckon_with_is_refused() -> None:
    with pytest.raises(SensorError, match="nothing real is that large"):
        Estimator().update(ResourceState(1e200, size=1e10), 0.0)


@given(
    st.lists(
        st.tuples(st.floats(0.0, LARGEST / 10.0), st.floats(1e-3, 1e18), st.floats(1e-6, 1e9)), max_size=20
    )
)
def test_no_measurement_that_is_taken_leaves_anything_but_numbers(
    samples: list[tuple[float, float, float]],
) -> None:
    estimator = Estimator()
    time = 0.0
    for demand, size, gap in samples:
        time += gap
        try:
            state = seen(estimator, demand, size, time, size)
        except SensorError:
            continue
        known = (state.flow, state.forecast, state.spread, state.backlog, state.temperature, state.snr)
        assert all(-inf < each < inf for each in known), state
        assert -inf < state.velocity < inf
        assert -inf < state.acceleration < inf
    for step in range(1, 60):
        state = seen(estimator, 10.0, 10.0, time + step * 1e10, 10.0)
    assert state.forecast == pytest.approx(10.0)


# ---- what a law knows beforehand ----------------------------------------------------------------


def test_what_a_law_knows_beforehand_is_left_to_it_and_added_to_the_forecast() -> None:
    known = {step: 10.0 + 3.0 * sin(step) for step in range(102)}
    steps = iter(range(101))

    def anticipate(amplitude: float) -> tuple[float, float]:
        step = next(steps)
        assert amplitude == pytest.approx(known[step])
        return known[step] - 10.0, known[step + 1] - 10.0

    estimator = Estimator(anticipate=anticipate)
    for step in range(101):
        state = seen(estimator, known[step] ** 2, 1e4, float(step))
        assert state.forecast == pytest.approx(known[step + 1] ** 2)
    assert state.temperature < 0.2


@pytest.mark.parametrize(
    ("gaps", "missed"),
    [
        ([0.4, 0.4, 1.0], []),
        ([13.0], [12]),
        ([2.0, 2.0], [1, 1]),
        ([1.95, 1.05], [1]),
        ([1.7, 0.3, 1.7, 0.3], []),  # late, and back on the grid
        ([1.3, 1.3, 1.4], [1]),  # later and later
        ([0.5] * 40 + [5.0], [3]),  # early steps are made up for by one at the most
    ],
)
def test_a_law_is_told_how_many_intervals_were_not_measured(gaps: list[float], missed: list[int]) -> None:
    told: list[int] = []
    estimator, now = Estimator(interval=2.0, missed=told.append), 50.0
    seen(estimator, 10.0, 10.0, now)
    for gap in gaps:
        now += 2.0 * gap
        seen(estimator, 10.0, 10.0, now)
    assert told == missed


# ---- one formula, two number systems ------------------------------------------------------------

samples = st.tuples(
    st.lists(st.floats(0.0, 1e4), min_size=3, max_size=3),
    st.lists(st.floats(1.0, 1e4), min_size=3, max_size=3),
    st.floats(0.1, 5.0),
)


@settings(max_examples=50)
@given(st.lists(samples, min_size=1, max_size=25), st.integers(0, 2))
def test_rows_of_an_array_are_estimated_as_single_resources_are(steps: list[Any], delay: int) -> None:
    together = Estimator(delay=delay)
    alone = [Estimator(delay=delay) for _ in range(3)]
    time = 0.0
    for demands, sizes, gap in steps:
        time += gap
        demand, size = np.array(demands), np.array(sizes)
        rows: Any = together.update(ResourceState(demand / size - 1.0, size=size), time, size)
        for row, single in enumerate(alone):
            state = single.update(
                ResourceState(demand[row] / size[row] - 1.0, size=float(size[row])), time, float(size[row])
            )
            for name in ResourceState.__slots__:
                value = getattr(rows, name)
                mine = value[row] if isinstance(value, np.ndarray) else value
                assert mine == pytest.approx(getattr(state, name), rel=1e-9, abs=1e-9, nan_ok=True), name


def test_a_filter_of_rows_takes_settings_of_rows() -> None:
    rng = np.random.default_rng(7)
    agilities = np.array([0.01, 0.1, 1.0])
    rows: Any = AmplitudeFilter(agilities, inf)  # type: ignore[arg-type]
    alone = [AmplitudeFilter(agility, inf) for agility in agilities]
    rows.start(10.0)
    for each in alone:
        each.start(10.0)
    for amplitude in rng.normal(10.0, 0.5, 50):
        rows.update(amplitude, 1.0, ARRAY)
        for each in alone:
            each.update(amplitude)
    np.testing.assert_allclose(rows.level, [each.level for each in alone], rtol=1e-12)
    np.testing.assert_allclose(rows.temperature, [each.temperature for each in alone], rtol=1e-12)
