"""The scaler's law learns of each load how fast to follow it and how much to keep in hand."""

import numpy as np
import pytest

from quantum_control.fleet.scaler_law import TOLERANCE, Sizing
from quantum_control.fleet.scaler_target import LawKey
from quantum_control.simulation.plants.queues import FluidQueue

DELAY = 4
POINTS = 1000
NAN = float("nan")


def sizing(rows=1, least=1.0, most=np.inf, model="coherent"):
    key = LawKey(model, waiting=3.0, pod=1.0, change=0.3, interval=15.0, delay=DELAY)
    return Sizing(key, np.full(rows, least), np.full(rows, most))


def scaled(flow, law=None):
    """Replicas ordered at each point, and what waits then, when the pods serve what they are given."""
    points, rows = flow.shape
    law, plant = law or sizing(rows), FluidQueue(delay=DELAY, interval=15.0)
    order = np.full(rows, 30.0)
    replicas, waits = np.zeros_like(flow), np.zeros_like(flow)
    for point in range(points):
        left = plant.step(order, flow[point]).left + np.zeros(rows)
        replicas[point] = order = law.step(flow[point], left, np.ones(rows, dtype=bool))
        waits[point] = left
    return replicas, waits


def lumps(rows=3):
    """Twenty on average, each point for itself, with nine times the variance of a Poisson load."""
    rng = np.random.default_rng(1)
    return rng.poisson(rng.gamma(2.5, 8.0, (POINTS, rows))).astype(float)


def bursts():
    """Ten, and for half of the time, at intervals of some minutes, sixty."""
    level = np.where(np.arange(POINTS) // 40 % 2, 60.0, 10.0)
    return np.random.default_rng(2).poisson(level[:, None], (POINTS, 3)).astype(float)


def test_what_comes_in_lumps_is_not_run_after():
    replicas, waits = scaled(lumps())
    late = slice(POINTS // 2, None)
    changes = (np.diff(replicas[late], axis=0) != 0.0).sum(axis=0)
    assert (changes < POINTS // 2 * 0.1).all()
    assert (waits[late].mean(axis=0) < 20.0).all()


def test_a_burst_that_lasts_is_believed_at_once_and_let_go_of_when_it_is_over():
    replicas, waits = scaled(bursts())
    point = np.arange(POINTS)
    settled = (point > POINTS // 2) & (point % 40 > DELAY + 2)
    high = settled & (point // 40 % 2 == 1)
    assert waits[high].mean() < 2.0
    assert replicas[settled & ~high].mean() < 25.0


def test_rows_do_not_know_of_each_other():
    flow = np.hstack([lumps(), bursts()])
    together, _ = scaled(flow)
    for row in range(flow.shape[1]):
        alone, _ = scaled(flow[:, [row]])
        np.testing.assert_array_equal(alone[:, 0], together[:, row])


@pytest.mark.parametrize("model", ["coherent", "optomechanical", "parametric", "auto"])
def test_bounds_and_the_tolerance_of_the_autoscaler_hold(model):
    flow = bursts()[:300]
    replicas, _ = scaled(flow, sizing(3, least=12.0, most=50.0, model=model))
    assert replicas.min() >= 12.0
    assert replicas.max() <= 50.0
    steps = np.abs(np.diff(replicas, axis=0)) / replicas[:-1]
    assert (steps[steps > 0.0] > TOLERANCE).all()


def test_a_point_that_was_not_measured_changes_nothing():
    law = sizing(2)
    flow = lumps(2)
    for point in range(50):
        before = law.step(flow[point], np.zeros(2), np.array([True, True]))
    after = law.step(flow[49] * 5.0, np.zeros(2), np.array([False, True]))
    assert after[0] == before[0]
    assert after[1] != before[1]


def test_where_nobody_measures_what_waits_the_headroom_is_learnt_all_the_same():
    law, flow = sizing(1), lumps(1)
    for point in range(POINTS):
        replicas = law.step(flow[point], np.array([NAN]), np.array([True]))
    assert 22.0 < replicas[0] < 60.0


def test_a_rhythm_is_met_when_the_replicas_are_there():
    """Ordered now, they serve five intervals on."""
    point = np.arange(700)
    flow = (12.0 + 4.0 * np.sin(2.0 * np.pi * point / 40.0))[:, None] ** 2
    replicas, waits = scaled(flow, sizing(1, model="parametric"))
    ordered = replicas[450:690, 0]
    met, early = (np.corrcoef(ordered, flow[450 + ahead : 690 + ahead, 0])[0, 1] for ahead in (DELAY + 1, 1))
    assert met > early
    assert waits[450:690].mean() < 0.05 * flow.mean()
