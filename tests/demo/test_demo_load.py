"""What arrives in the demonstration, and when."""

import os

import numpy as np
import pytest

from quantum_control.core.errors import ConfigError
from quantum_control.demo import load as loads
from quantum_control.demo.load import daily, default_size, recorded


@pytest.fixture
def machine(monkeypatch):
    """Give a function that sets the number of cores."""
    return lambda cores: monkeypatch.setattr(os, "cpu_count", lambda: cores)


@pytest.fixture
def trace(tmp_path):
    """Give a function that writes counts into a file."""

    def write(*counts):
        path = tmp_path / "trace.csv"
        path.write_text("count\n" + "".join(f"{count}\n" for count in counts))
        return path

    return write


@pytest.mark.parametrize(("cores", "size"), [(None, 5), (1, 5), (2, 6), (8, 12), (64, 32)])
def test_the_default_size_is_the_standard_librarys(machine, cores, size):
    machine(cores)
    assert default_size() == size


def test_the_same_seed_gives_the_same_day_and_another_seed_another():
    first, again, other = daily(10.0, 3), daily(10.0, 3), daily(10.0, 4)
    assert [segment.due.tolist() for segment in first.segments] == [
        segment.due.tolist() for segment in again.segments
    ]
    assert first.demand.tolist() != other.demand.tolist()


def test_arrivals_come_in_order_within_their_segment_and_some_of_them_compute():
    load = daily(24.0, 1)
    for segment in load.segments:
        assert np.all(np.diff(segment.due) >= 0.0)
        assert 0.0 <= segment.due[0] <= segment.due[-1] <= segment.seconds
    waits = np.concatenate([segment.waits for segment in load.segments])
    assert np.mean(waits == 0.0) == pytest.approx(loads.CPU_SHARE, abs=0.02)
    assert waits[waits > 0.0].min() >= load.waits[0]
    assert waits.max() <= load.waits[1]


def test_every_segment_has_a_burst_of_several_times_the_default_size(machine):
    machine(2)
    load = daily(24.0, 1)
    assert load.seconds == pytest.approx(24.0, rel=0.05)
    for segment, demand in zip(load.segments, np.split(load.demand, len(load.segments)), strict=True):
        assert segment.burst.any()
        assert not segment.burst.all()
        assert demand.max() > 2.0 * default_size()


def test_the_mean_demand_is_less_than_the_default_size_can_serve(machine):
    machine(2)
    assert daily(24.0, 1).demand.mean() < default_size()


def test_on_a_larger_machine_tasks_are_longer_not_more_frequent(machine):
    machine(2)
    small = daily(24.0, 1)
    machine(64)
    large = daily(24.0, 1)
    assert large.demand / default_size() == pytest.approx(small.demand / 6)
    assert large.tasks == pytest.approx(small.tasks, rel=0.1)


def test_arrivals_times_service_time_are_the_demand():
    load = daily(240.0, 1)
    assert load.tasks / load.seconds * load.service == pytest.approx(load.demand.mean(), rel=0.05)


def test_a_trace_is_played_in_its_order_and_scaled_to_a_small_pool(machine, trace):
    machine(2)
    load = recorded(trace(*[1] * 30, *[5] * 30), 6.0, 1)
    assert load.demand.mean() == pytest.approx(loads.MEAN_DEMAND, rel=0.01)
    half = load.demand.size // 2
    assert load.demand[-1] == pytest.approx(5.0 * load.demand[0])
    assert np.all(load.demand[: half - 1] == load.demand[0])


def test_no_peak_of_a_trace_is_more_than_can_be_sent(machine, trace):
    machine(2)
    load = recorded(trace(*[1] * 100, 10_000, *[1] * 100), 6.0, 1)
    assert load.demand.max() == pytest.approx(loads.MOST_DEMAND)


def test_of_a_long_trace_a_stretch_is_played_in_which_something_arrives(trace):
    load = recorded(trace(*[0] * 5000, *[7] * 10, *[0] * 5000), 4.0, 1)
    assert load.tasks > 0
    assert "of 10010" in load.source


def test_an_even_trace_has_no_bursts(trace):
    load = recorded(trace(4, 4, 4), 4.0, 1)
    assert not any(segment.burst.any() for segment in load.segments)


def test_a_trace_in_which_nothing_arrives_is_refused(trace):
    with pytest.raises(ConfigError, match="nothing arrives"):
        recorded(trace(0, 0, 0), 4.0, 1)
