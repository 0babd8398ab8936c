from math import inf, isnan, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum_control.core.errors import SensorError
from quantum_control.core.queueing import mean_service, offered_load

counts = st.floats(0.0, 1e6)
seconds = st.floats(1e-6, 1e6)


def test_nothing_waiting_is_what_is_in_use() -> None:
    assert offered_load(3.5, 0.0, 0.01, 1.0) == 3.5


def test_short_jobs_that_wait_need_a_fraction_of_a_worker_each() -> None:
    assert offered_load(4.0, 1000.0, 0.001, 1.0) == pytest.approx(5.0)


def test_jobs_longer_than_the_interval_need_a_whole_worker_each() -> None:
    assert offered_load(4.0, 6.0, 30.0, 1.0) == 10.0
    assert offered_load(4.0, 6.0, inf, 1.0) == 10.0


def test_heads_are_counted_while_the_service_time_is_unknown() -> None:
    assert offered_load(4.0, 6.0, nan, 1.0) == 10.0


def test_it_is_the_offered_load_of_littles_law() -> None:
    arrivals, service = 200.0, 0.05
    assert offered_load(arrivals * service, 0.0, service, 1.0) == pytest.approx(10.0)


@given(counts, counts, seconds, seconds)
def test_it_lies_between_those_in_use_and_the_heads(
    busy: float, waiting: float, service: float, interval: float
) -> None:
    assert busy <= offered_load(busy, waiting, service, interval) <= busy + waiting


@given(counts, counts, seconds, seconds, st.floats(1.0, 100.0))
def test_slower_service_never_lowers_it(
    busy: float, waiting: float, service: float, interval: float, factor: float
) -> None:
    slower = offered_load(busy, waiting, service * factor, interval)
    assert slower >= offered_load(busy, waiting, service, interval)


def test_rows_of_an_array_are_resources_of_their_own() -> None:
    loads = offered_load(
        np.array([4.0, 4.0, 4.0]),  # type: ignore[arg-type]
        np.array([1000.0, 6.0, 6.0]),  # type: ignore[arg-type]
        np.array([0.001, 30.0, nan]),  # type: ignore[arg-type]
        1.0,
    )
    np.testing.assert_allclose(loads, [5.0, 10.0, 10.0])


@pytest.mark.parametrize("interval", [0.0, -1.0, nan])
def test_no_load_is_offered_over_no_time(interval: float) -> None:
    with pytest.raises(SensorError, match="positive interval"):
        offered_load(1.0, 0.0, 1.0, interval)


def test_mean_service_counts_the_time_of_jobs_still_running() -> None:
    assert mean_service(12.0, 4.0) == 3.0


def test_a_service_that_finishes_nothing_takes_for_ever() -> None:
    assert mean_service(12.0, 0.0) == inf


def test_mean_service_is_unknown_where_nothing_ran() -> None:
    assert isnan(mean_service(0.0, 0.0))
