"""Loads: the same for a seed, and distributed as their docstrings say."""

import numpy as np
import pytest

from quantum_control.core.errors import ConfigError
from quantum_control.simulation import generators
from quantum_control.simulation.loads import LOADS, STEPS, load


def autocorrelation(series, lag):
    """Mean over runs, about the mean of all."""
    centred = series - series.mean()
    return (centred[lag:] * centred[:-lag]).mean() / (centred * centred).mean()


@pytest.mark.parametrize("name", LOADS)
def test_a_seed_gives_the_same_traffic_again_and_another_seed_does_not(name):
    first, again, other = (load(name).draw(5, seed, steps=200) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.arrivals, again.arrivals)
    np.testing.assert_array_equal(first.intensity, again.intensity)
    assert not np.array_equal(first.arrivals, other.arrivals)


@pytest.mark.parametrize("name", LOADS)
def test_traffic_has_one_row_per_interval_and_one_column_per_run(name):
    traffic = load(name).draw(3, seed=1, steps=70)
    assert (traffic.steps, traffic.runs) == (70, 3)
    assert traffic.arrivals.shape == traffic.intensity.shape == (70, 3)
    assert traffic.arrivals.dtype == np.float64
    assert (traffic.arrivals >= 0.0).all()


@pytest.mark.parametrize("name", LOADS)
def test_runs_differ_from_one_another(name):
    arrivals = load(name).arrivals(2, seed=1)
    assert not np.array_equal(arrivals[:, 0], arrivals[:, 1])


@pytest.mark.parametrize("name", LOADS)
def test_arrivals_fluctuate_about_the_intensity(name):
    traffic = load(name).draw(200, seed=3)
    assert traffic.arrivals.mean() == pytest.approx(traffic.intensity.mean(), rel=0.02)


@pytest.mark.parametrize("name", sorted(set(LOADS) - {"heavy_tail"}))
def test_the_noise_is_that_of_a_poisson_count(name):
    traffic = load(name).draw(100, seed=4)
    residual = (traffic.arrivals - traffic.intensity) ** 2
    assert residual.sum() == pytest.approx(traffic.intensity.sum(), rel=0.02)


def test_two_loads_do_not_share_their_random_numbers():
    steady = load("steady")
    alike = type(steady)("other", steady.stands_for, steady.generator)
    assert not np.array_equal(steady.arrivals(2, seed=1), alike.arrivals(2, seed=1))


def test_bursts_last_and_fill_as_long_as_the_chances_say():
    traffic = load("bursts").draw(400, seed=5)
    burst = traffic.intensity == 36.0
    assert set(np.unique(traffic.intensity)) == {14.0, 36.0}
    assert burst.mean() == pytest.approx(0.01 / 0.09, rel=0.05)
    starts = (burst[1:] & ~burst[:-1]).sum()
    assert burst[1:].sum() / starts == pytest.approx(1 / 0.08, rel=0.05)
    # The telegraph process forgets at the rate of both chances together.
    assert autocorrelation(traffic.intensity, 10) == pytest.approx((1 - 0.09) ** 10, abs=0.03)


def test_the_periodic_load_repeats_itself_and_keeps_its_mean():
    traffic = load("periodic").draw(200, seed=6)
    assert traffic.arrivals.mean() == pytest.approx(55.0, rel=0.02)
    assert autocorrelation(traffic.intensity, 120) > 0.9
    assert autocorrelation(traffic.intensity, 60) < -0.8


def test_a_period_has_the_shape_of_its_formula():
    phase = np.linspace(0.0, 2.0 * np.pi, 10_000)
    shape = 55.0 * (1.0 + 0.73 * np.sin(phase) + 0.15 * np.sin(2.0 * phase + 1.0))
    intensity = load("periodic").draw(100, seed=6).intensity
    assert intensity.max() == pytest.approx(shape.max(), rel=1e-3)
    assert intensity.min() == pytest.approx(shape.min(), rel=1e-2)


def test_the_period_wanders_as_far_as_it_was_told_to():
    still = load("periodic").vary(period_drift=0.0, phase_drift=0.0).draw(50, seed=7)
    restless = load("periodic").vary(period_drift=0.05, phase_drift=0.05).draw(50, seed=7)
    late = 1200  # ten periods
    np.testing.assert_allclose(still.intensity[late:], still.intensity[:-late])
    assert autocorrelation(restless.intensity, late) < 0.5


def test_steps_hold_their_levels_for_the_dwelling_time():
    traffic = load("steps").draw(400, seed=8)
    changes = (np.diff(traffic.intensity, axis=0) != 0.0).sum()
    assert traffic.intensity[1:].size / changes == pytest.approx(180.0, rel=0.05)
    assert traffic.intensity.min() >= 20.0
    assert traffic.intensity.max() <= 200.0
    assert np.log(traffic.intensity).mean() == pytest.approx(np.log(np.sqrt(20.0 * 200.0)), rel=0.02)


def test_job_sizes_have_the_tail_that_was_asked_for():
    one_job = generators.heavy_tail(
        np.random.default_rng(1), 2000, 100, rate=0.05, tail=1.5, smallest=2.0, largest=200.0
    )
    # At this rate an interval with anything in it nearly always holds one job.
    jobs = one_job.arrivals[one_job.arrivals > 0.0]
    assert jobs.min() >= 2.0
    for size in (4.0, 20.0, 100.0):
        assert (jobs > size).mean() == pytest.approx((2.0 / size) ** 1.5, rel=0.1, abs=0.002)
    assert (jobs == 200.0).mean() == pytest.approx((2.0 / 200.0) ** 1.5, rel=0.5)


def test_heavy_tailed_arrivals_are_far_more_restless_than_counts():
    traffic = load("heavy_tail").draw(100, seed=9)
    assert traffic.arrivals.var() > 20.0 * traffic.arrivals.mean()
    assert abs(autocorrelation(traffic.arrivals, 1)) < 0.02


def test_a_flash_crowd_peaks_soon_and_decays_slowly():
    rare = load("flash_crowd").vary(every=3000.0).draw(400, seed=10)
    alone = rare.intensity[:, (rare.intensity.max(axis=0) > 150.0) & (rare.intensity.max(axis=0) <= 200.0)]
    assert alone.shape[1] > 20
    assert rare.intensity.min() == 20.0
    # The maximum of the continuous shape falls between two intervals.
    assert alone.max() == pytest.approx(200.0, rel=0.01)
    crowd = alone[:, alone.argmax(axis=0) < 1000][:, 0] - 20.0
    top = int(crowd.argmax())
    # With 4 intervals of rise and 40 of decay: ln(10)·160/36 intervals to the top.
    assert top - int((crowd > 0.0).argmax()) == pytest.approx(np.log(10.0) * 160.0 / 36.0, abs=1.5)
    assert crowd[top + 80] / crowd[top + 40] == pytest.approx(np.exp(-1.0), rel=0.01)


def test_ramps_are_straight_between_their_ends():
    intensity = load("ramps").draw(100, seed=11).intensity
    bends = np.abs(np.diff(intensity, n=2, axis=0)) > 1e-9
    # A bend touches two second differences; ramps last 80 intervals on average.
    assert bends.mean() < 1.5 / 80
    assert intensity.min() >= 15.0
    assert intensity.max() <= 120.0
    assert np.abs(np.diff(intensity, axis=0)).max() <= 105.0


def test_nights_are_quiet_and_days_are_not():
    traffic = load("quiet_nights").draw(50, seed=12)
    assert traffic.intensity.min() == pytest.approx(0.3, rel=1e-3)
    assert traffic.intensity.max() == pytest.approx(60.0, rel=1e-3)
    assert (traffic.arrivals == 0.0).mean() > 0.2


def test_the_default_length_holds_a_dozen_periods():
    assert STEPS / 120 >= 12


def test_a_load_can_be_varied_without_touching_the_registry():
    busier = load("steady").vary(mean=200.0)
    assert busier.arrivals(10, seed=1).mean() == pytest.approx(200.0, rel=0.02)
    assert load("steady").arrivals(10, seed=1).mean() == pytest.approx(50.0, rel=0.02)


def test_an_unknown_load_is_answered_with_the_nearest_one():
    with pytest.raises(ConfigError, match="did you mean 'bursts'"):
        load("burst")
