"""Every peer gives the same sizes on floats and on arrays; the windows do what loops would."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantum_control.core.numeric import SCALAR
from quantum_control.core.resource import ResourceState
from quantum_control.simulation.peers import LIMITERS, PROVISIONERS, HoltWinters
from quantum_control.simulation.peers.base import ceil, floor, round_trip, whole_log10
from quantum_control.simulation.peers.windows import SlidingMaximum, SlidingMean
from quantum_control.simulation.plants import FluidQueue, TimeoutServer, UslPool

LAWS = {**PROVISIONERS, **LIMITERS, "holt_winters": lambda: HoltWinters(period=7)}


def sizes_of(law, plant, arrivals, size):
    """Sizes that a law sets on one run, with states of whatever kind `size` is."""
    carried, sizes = 0.0 * size, []
    for came in arrivals:
        reading = plant.step(size, came)
        state = reading.state(time=plant.time, interval=plant.interval, commanded=size)
        backlog = reading.left
        state = replace(state, flow=state.demand - carried, backlog=backlog)
        carried = backlog
        # Bounded, because past the knee a law that follows demand runs away.
        size = np.clip(size * np.exp(law.calculate_force(state)), 1.0, 500.0)
        size = float(size) if isinstance(came, float) else size
        sizes.append(size)
    return sizes


@pytest.mark.parametrize("make_plant", [FluidQueue, UslPool, TimeoutServer])
@pytest.mark.parametrize("name", sorted(set(LAWS) - {"vegas"}))  # draws its jitter per run, see below
@settings(max_examples=8, deadline=None)
@given(
    arrivals=st.lists(st.integers(0, 200), min_size=40, max_size=40),
    start=st.integers(2, 60),
)
def test_floats_and_arrays_give_the_same_sizes(name, make_plant, arrivals, start):
    runs = np.array(arrivals, dtype=float)[:, None] * np.array([1.0, 0.5, 0.1])
    together = sizes_of(LAWS[name](), make_plant(), list(runs), np.full(3, float(start)))
    for column in range(3):
        alone = sizes_of(LAWS[name](), make_plant(), [float(one) for one in runs[:, column]], float(start))
        np.testing.assert_allclose([rows[column] for rows in together], alone, rtol=1e-6)


@given(st.lists(st.integers(0, 200), min_size=60, max_size=60), st.integers(1, 60))
@settings(max_examples=10, deadline=None)
def test_a_single_run_of_vegas_is_the_same_on_an_array_of_one(arrivals, start):
    came = [float(one) for one in arrivals]
    alone = sizes_of(LAWS["vegas"](), TimeoutServer(), came, float(start))
    rows = sizes_of(
        LAWS["vegas"](), TimeoutServer(), [np.array([one]) for one in came], np.array([float(start)])
    )
    np.testing.assert_allclose([row[0] for row in rows], alone)


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=60), st.integers(1, 12))
def test_sliding_windows_are_what_slices_would_give(values, length):
    largest, mean = SlidingMaximum(length), SlidingMean(length)
    for index, value in enumerate(values):
        window = values[max(0, index + 1 - length) : index + 1]
        assert largest.push(value) == max(window)
        assert mean.push(value) == pytest.approx(np.mean(window), abs=1e-6)


def test_sliding_windows_slide_over_each_row_by_itself():
    rows = np.random.default_rng(1).uniform(size=(50, 4))
    largest = SlidingMaximum(7)
    for index, row in enumerate(rows):
        np.testing.assert_array_equal(largest.push(row), rows[max(0, index - 6) : index + 1].max(axis=0))


def test_whole_numbers_survive_their_way_through_logarithms():
    assert ceil(20.000000000001) == 20.0
    assert floor(19.9999999999999) == 20.0
    assert (ceil(20.1), floor(20.9)) == (21.0, 20.0)
    assert [whole_log10(x, SCALAR) for x in (1.0, 99.0, 100.0, 1000.0)] == [1.0, 1.0, 2.0, 3.0]


def test_latency_that_is_not_measured_is_read_off_the_demand():
    assert round_trip(ResourceState(0.5, size=10.0)) == 1.5
    assert round_trip(ResourceState(-0.5, size=10.0)) == 1.0
    assert round_trip(ResourceState(0.5, size=10.0, wait_seconds=0.2, service_seconds=0.1)) == pytest.approx(
        0.3
    )
    rows = ResourceState(
        np.array([0.5, 0.5]),
        size=np.array([10.0, 10.0]),
        wait_seconds=np.array([np.nan, 0.2]),
        service_seconds=np.array([0.1, 0.1]),
    )
    np.testing.assert_allclose(round_trip(rows), [1.5, 0.3])
