import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantum_control.core.errors import ConfigError
from quantum_control.tuning.ladder import RUNGS, Ladder

QUARTILES = np.array([0.25, 0.5, 0.75])


def fed(amplitudes: np.ndarray) -> Ladder:
    ladder = Ladder(amplitudes.shape[1])
    for row in amplitudes:
        ladder.update(row)
    return ladder


def bursts(steps: int, rows: int, seed: int) -> np.ndarray:
    """Amplitudes of a process that hops between 20 and 80, staying 20 intervals on average."""
    rng = np.random.default_rng(seed)
    high = rng.random(rows) < 0.5
    flows = np.empty((steps, rows))
    for step in range(steps):
        flows[step] = rng.poisson(np.where(high, 80.0, 20.0))
        high ^= rng.random(rows) < 0.05
    return np.sqrt(flows)


def test_quantiles_of_steady_demand_are_those_of_its_noise():
    rng = np.random.default_rng(0)
    ladder = fed(np.sqrt(rng.poisson(50.0, (2000, 20))))
    low, median, high = ladder.quantiles(QUARTILES).mean(axis=1)
    assert median == pytest.approx(np.sqrt(50.0), abs=0.15)
    # A normal of standard deviation 1/2, widened by half a rung on either side.
    assert 0.55 < high - low < 1.0


def test_it_predicts_the_level_that_demand_is_on_and_its_hops():
    amplitudes = bursts(3000, 20, seed=1)
    ladder = fed(amplitudes[:-1])
    now = amplitudes[-2]
    upper = ladder.quantiles(np.array([0.97]))[0]
    on_low = now < 6.0
    # Hops come once in 20 intervals: the 97 % quantile of the quiet rows is up on the other level.
    assert upper[on_low].mean() > 7.5
    assert ladder.quantiles(np.array([0.5]))[0][on_low].mean() < 6.0


def test_the_further_ahead_the_more_hops_are_foreseen():
    amplitudes = bursts(3000, 20, seed=1)
    ladder = fed(amplitudes)
    on_low = amplitudes[-1] < 6.0
    soon, later, much_later = (ladder.quantiles(np.array([0.8]), delay)[0] for delay in (0, 5, 200))
    assert soon[on_low].mean() < 6.0 < later[on_low].mean()
    # In the end the level that demand is on now says nothing more.
    assert much_later[on_low].mean() == pytest.approx(much_later[~on_low].mean(), abs=0.3)


def test_predictions_err_on_the_wide_side_but_not_by_far():
    """Hops between neighbouring rungs are never quite unlearnt, so the middle half holds more than half."""
    amplitudes = bursts(3000, 40, seed=2)
    ladder = Ladder(40)
    below = []
    for step, row in enumerate(amplitudes):
        if step > 1000:
            below.append(row <= ladder.quantiles(QUARTILES))
        ladder.update(row)
    low, median, high = np.mean(below, axis=(0, 2))
    assert median == pytest.approx(0.5, abs=0.05)
    assert 0.5 < high - low < 0.8


@settings(max_examples=30)
@given(st.lists(st.floats(0.0, 1e5), min_size=1, max_size=150))
def test_quantiles_are_ordered_finite_and_not_negative_whatever_comes(amplitudes):
    ladder = Ladder(1)
    for amplitude in amplitudes:
        ladder.update(np.array([amplitude]))
        quantiles = ladder.quantiles(QUARTILES)[:, 0]
        assert np.isfinite(quantiles).all()
        assert quantiles[0] >= 0.0
        assert (np.diff(quantiles) >= -1e-9).all()


def test_rows_do_not_know_of_each_other():
    amplitudes = bursts(400, 3, seed=3)
    together = fed(amplitudes).quantiles(QUARTILES)
    for row in range(3):
        alone = fed(amplitudes[:, row : row + 1]).quantiles(QUARTILES)
        assert alone[:, 0] == pytest.approx(together[:, row])


def test_what_was_learnt_survives_a_restart_through_json():
    amplitudes = bursts(500, 1, seed=4)
    ladder = fed(amplitudes)
    again = Ladder(1)
    again.recall(json.loads(json.dumps(ladder.learned())))
    assert again.quantiles(QUARTILES) == pytest.approx(ladder.quantiles(QUARTILES), rel=1e-6)


@pytest.mark.parametrize(
    "damage",
    [
        {},
        {"low": [[0.0]]},
        {"hops": [[[float("nan")] * RUNGS] * RUNGS]},
        {"hops": [[[-1.0] * RUNGS] * RUNGS]},
        {"hops": [[[0.0] * RUNGS] * (RUNGS - 1) + [[0.0]]]},
        {"belief": [["x"] * RUNGS]},
        {"belief": [[0.0] * RUNGS]},
        {"visits": [[0.0] * RUNGS]},
        {"high": [[0.0]], "low": [[9.0]]},
        {"high": [[5.0]], "low": [[5.0]]},
        {"high": {"of": 5.0}},
    ],
)
def test_what_does_not_fit_is_refused(damage):
    ladder = fed(bursts(100, 1, seed=5))
    learned = {**ladder.learned(), **damage} if damage else {}
    if damage == {"low": [[0.0]]}:
        learned["belief"] = [[1.0]]
    with pytest.raises(ConfigError, match="levels"):
        Ladder(1).recall(learned)
