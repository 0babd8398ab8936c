"""The phase lock finds a period, says when there is none, and comes in without a bump."""

import numpy as np
import pytest

from quantum_control.core.estimation import Estimator
from quantum_control.core.resource import ResourceState
from quantum_control.physics.parametric import Parametric
from quantum_control.physics.phaselock import EVERY, LOCK, PHASE_GAIN, SHORTEST, WINDOW, PhaseLock
from quantum_control.simulation.loads import LOADS

ROWS = 80
PERIODS = (24.0, 40.0, 60.0, 120.0)


def steady_rhythm(period):
    """The periodic load, neither its phase nor its period drifting."""
    return LOADS["periodic"].vary(period=period, period_drift=0.0, phase_drift=0.0)


@pytest.fixture(scope="module")
def locks():
    """Share of detections that ended in a lock, and the periods at last, of ROWS runs of each load."""
    loads = {name: LOADS[name] for name in ("steady", "bursts", "heavy_tail", "steps", "ramps", "periodic")}
    loads |= {f"period {period:g}": steady_rhythm(period) for period in PERIODS}
    arrivals = {name: load.arrivals(ROWS, 21, WINDOW) for name, load in loads.items()}
    arrivals["constant"] = np.full((WINDOW, ROWS), 50.0)
    pulse = arrivals["steady"].copy()
    pulse[200:230] *= 3.0
    arrivals["one pulse"] = pulse
    lock = PhaseLock()
    seen = []
    for row in np.sqrt(np.concatenate(list(arrivals.values()), axis=1)):
        lock.advance(row)
        if lock._count >= WINDOW // 2 and lock._count % EVERY == 0:
            seen.append(lock.locked)
    share = np.mean(seen, axis=0).reshape(-1, ROWS)
    period = lock.period.reshape(-1, ROWS)
    return {name: (share[index], period[index]) for index, name in enumerate(arrivals)}


@pytest.mark.parametrize("period", PERIODS)
def test_a_rhythm_is_found_and_its_period_is_right_within_5_percent(figure, locks, period):
    _, found = locks[f"period {period:g}"]
    right = np.mean(np.abs(found / period - 1.0) < 0.05)
    figure(f"periods right within 5 %, period {period:g}", formula=1.0, computed=right, abs=0.02)


def test_a_rhythm_that_drifts_is_found_too(figure, locks):
    """The load of the benchmark: phase and period wander by 1 % a period."""
    _, found = locks["periodic"]
    right = np.mean(np.abs(found / 120.0 - 1.0) < 0.1)
    figure("drifting periods right within 10 %", formula=1.0, computed=right, abs=0.05)


FALSE_LOCKS = {
    "constant": 0.0,
    "steady": 0.01,
    "heavy_tail": 0.01,
    "bursts": 0.05,
    "one pulse": 0.05,
    "steps": 0.1,
    "ramps": 0.2,
}
"""Share of detections that may take for a rhythm what is none, by load."""


@pytest.mark.parametrize("load", FALSE_LOCKS)
def test_where_there_is_no_rhythm_there_is_no_lock(figure, locks, load):
    share, _ = locks[load]
    figure(f"false locks, {load}", formula=0.0, computed=share.mean(), abs=FALSE_LOCKS[load])


def rhythm(steps, period=48.0, noise=0.0):
    time = np.arange(steps)
    swing = 8.0 + 2.0 * np.sin(2.0 * np.pi * time / period) + 0.4 * np.sin(4.0 * np.pi * time / period + 1.0)
    return swing + noise * np.random.default_rng(5).standard_normal(steps)


def test_it_says_nothing_before_it_has_seen_enough():
    lock = PhaseLock()
    assert {lock.advance(value) for value in rhythm(WINDOW // 2 - 1)} == {(0.0, 0.0)}
    assert (lock.locked, lock.period) == (0.0, 0.0)


def test_it_predicts_the_next_interval():
    """What is coming leaves nothing of the rhythm unexplained; what was known is what had been announced."""
    lock = PhaseLock()
    amplitudes = rhythm(900)
    known, coming = np.transpose([lock.advance(value) for value in amplitudes])
    assert lock.period == pytest.approx(48.0, rel=0.005)
    assert lock.quality > 0.9
    settled = slice(400, 899)
    left = amplitudes[401:900] - coming[settled]
    assert np.std(left) < 0.05 * np.std(amplitudes[401:900])
    # Between detections nothing but the weight's ease and the small correction lies between the two.
    between = [step for step in range(400, 899) if (step + 2) % EVERY > 1]
    assert np.abs(known[1:][between] - coming[between]).max() < 0.03


@pytest.mark.parametrize("delay", [1, 2, 5])
def test_it_predicts_the_interval_in_which_a_late_order_acts(delay):
    lock = PhaseLock()
    amplitudes = rhythm(900)
    coming = np.array([lock.advance(value, 0, delay)[1] for value in amplitudes])
    acts = slice(401 + delay, 900)
    left = amplitudes[acts] - coming[400 : 899 - delay]
    assert np.std(left) < 0.05 * np.std(amplitudes[acts])


def test_between_detections_the_phasors_follow_what_they_did_not_explain():
    """z <- z + 2 g e takes up the share g n of a change of the rhythm within n intervals."""
    usual, grown = PhaseLock(), PhaseLock()
    wave = np.sin(2.0 * np.pi * np.arange(WINDOW + EVERY - 1) / 48.0)
    ahead = []
    for step, value in enumerate(wave):
        more = 0.5 * value if step >= WINDOW else 0.0
        ahead.append(grown.advance(8.0 + 2.0 * value + more)[1] - usual.advance(8.0 + 2.0 * value)[1])
    late, coming = np.array(ahead[-25:-1]), 0.5 * wave[-24:]
    taken_up = late @ coming / (coming @ coming)
    assert taken_up == pytest.approx(PHASE_GAIN * (EVERY - 13), rel=0.2)


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_a_lock_comes_and_goes_without_a_bump(noise):
    """The feed-forward moves by the rhythm's own slope and a tenth of its height an interval, no more."""
    lock = PhaseLock()
    ends = np.concatenate([rhythm(700, noise=noise), np.full(700, 8.0)])
    ends[700:] += 0.5 * np.random.default_rng(6).standard_normal(700)
    coming = np.array([lock.advance(value)[1] for value in ends])
    assert np.ptp(coming[:700]) > 3.0
    assert lock.locked == 0.0
    assert abs(coming[-1]) < 0.1
    slope = 2.0 * np.pi / 48.0 * (2.0 + 2.0 * 0.4)
    assert np.abs(np.diff(coming)).max() < slope + 0.1 * 2.4 + 3.0 * noise * 0.2


def test_rows_do_what_each_does_alone():
    amplitudes = np.stack([rhythm(600, 48.0, 0.5), rhythm(600, 30.0), np.full(600, 7.0)], axis=1)
    amplitudes[:, 2] += 0.5 * np.random.default_rng(7).standard_normal(600)
    rows, alone = PhaseLock(), [PhaseLock() for _ in range(3)]
    for row in amplitudes:
        together = [np.broadcast_to(part, 3) for part in rows.advance(row)]
        single = np.array([lock.advance(float(value)) for lock, value in zip(alone, row, strict=True)])
        # Many rows remember in single precision.
        np.testing.assert_allclose(together, single.T, atol=1e-6)


def test_the_shortest_period_is_found_as_well():
    lock = PhaseLock()
    for value in rhythm(WINDOW, SHORTEST + 1.0, 0.3):
        lock.advance(value)
    assert lock.quality > LOCK
    assert lock.period == pytest.approx(SHORTEST + 1.0, rel=0.01)


def swing(step):
    return 8.0 + 2.0 * np.sin(2.0 * np.pi * np.asarray(step) / 24.0)


@pytest.mark.parametrize("missed", [1, 12, 100])
def test_a_gap_does_not_put_it_out_of_step(missed):
    """Half a period that is not measured would leave it in antiphase."""
    law = Parametric()
    estimator = Estimator(anticipate=law.anticipate, missed=law.missed, delay=0)
    steps = [*range(319), *range(319 + missed, 360 + missed)]
    error = []
    for step in steps:
        state = estimator.update(ResourceState.from_demand(swing(step) ** 2, size=200.0), float(step))
        error.append(abs(np.sqrt(state.forecast) - swing(step + 1)))
    assert law.lock.locked
    assert np.mean(error[319:350]) < 0.3


@pytest.mark.parametrize("every", [2, 8])
def test_a_rhythm_is_found_where_only_every_few_intervals_are_measured(every):
    """As of a resource whose steps take longer than the interval; a detection may fall due in between."""
    lock = PhaseLock()
    for step in range(0, WINDOW, every):
        lock.advance(swing(step))
        lock.skip(every - 1)
    assert lock.locked
    assert lock.period == pytest.approx(24.0, rel=0.02)


def test_rows_go_on_through_a_gap_as_each_does_alone():
    rows, alone = PhaseLock(), [PhaseLock() for _ in range(2)]
    amplitudes = np.stack([swing(np.arange(400)), np.full(400, 7.0)], axis=1)
    amplitudes += 0.5 * np.random.default_rng(8).standard_normal((400, 2))
    for step, row in enumerate(amplitudes):
        if step == 330:
            for lock in (rows, *alone):
                lock.skip(5)
        together = [np.broadcast_to(part, 2) for part in rows.advance(row)]
        single = np.array([lock.advance(float(value)) for lock, value in zip(alone, row, strict=True)])
        np.testing.assert_allclose(together, single.T, atol=1e-6)
    assert rows.locked.tolist() == [1.0, 0.0]


def test_nothing_is_left_of_what_lay_beyond_once_orders_act_at_once():
    lock = PhaseLock()
    for step in range(330):
        lock.advance(swing(step), delay=3)
    assert lock.beyond != 0.0
    lock.advance(swing(330))
    assert lock.beyond == 0.0


def test_after_a_gap_of_a_whole_window_it_begins_anew():
    lock = PhaseLock()
    for step in range(400):
        lock.advance(swing(step))
    lock.skip(WINDOW)
    assert lock.locked == 0.0
    assert lock.advance(8.0) == (0.0, 0.0)


def test_the_next_demand_is_predicted_though_an_order_acts_later():
    law = Parametric()
    law.delay = 3
    estimator = Estimator(anticipate=law.anticipate, delay=3)
    for step in range(400):
        state = estimator.update(ResourceState.from_demand(swing(step) ** 2, size=200.0), float(step))
    assert np.sqrt(state.forecast) == pytest.approx(swing(403), abs=0.1)
    assert np.sqrt(law.predict_demand(state)) == pytest.approx(swing(400), abs=0.1)
