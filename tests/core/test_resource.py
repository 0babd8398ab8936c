from copy import deepcopy
from dataclasses import FrozenInstanceError, replace
from math import inf, isnan, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum_control import Resource, ResourceState, SensorError
from quantum_control.core.resource import quick_state


def test_three_numbers_make_a_state() -> None:
    state = ResourceState(0.1, 0.2, 0.3)
    assert (state.position, state.velocity, state.acceleration) == (0.1, 0.2, 0.3)
    assert isnan(state.size)
    assert isnan(state.throughput)


def test_the_rest_is_given_by_name_only() -> None:
    with pytest.raises(TypeError):
        ResourceState(0.1, 0.2, 0.3, 10.0)  # type: ignore[misc]


@given(st.floats(0.0, 1e18), st.floats(1.0, 1e18))
def test_demand_and_position_say_the_same(demand: float, size: float) -> None:
    state = ResourceState.from_demand(demand, size=size)
    assert state.position >= -1.0
    assert state.demand == pytest.approx(demand, rel=1e-14, abs=size * 1e-15)


def test_no_demand_is_a_position_of_exactly_minus_one() -> None:
    assert ResourceState.from_demand(0.0, size=3).position == -1.0


@pytest.mark.parametrize("size", [0, -1, nan, inf])
def test_without_a_positive_finite_size_there_is_no_position(size: float) -> None:
    with pytest.raises(SensorError, match="positive, finite size"):
        ResourceState.from_demand(1.0, size=size)


def test_a_state_does_not_change() -> None:
    for state in (ResourceState(0.1), quick_state(0.1)):
        with pytest.raises(FrozenInstanceError):
            state.position = 0.2  # type: ignore[misc]
        with pytest.raises((AttributeError, TypeError)):
            state.unheard_of = 1.0  # type: ignore[attr-defined]


def test_a_state_made_quickly_is_like_any_other() -> None:
    quick = quick_state(0.1, 0.2, 0.3, size=4.0, snr=5.0)
    assert quick == ResourceState(0.1, 0.2, 0.3, size=4.0, snr=5.0)
    assert type(quick) is ResourceState
    assert repr(quick) == repr(ResourceState(0.1, 0.2, 0.3, size=4.0, snr=5.0))
    assert replace(quick, size=5.0).size == 5.0
    assert deepcopy(quick) == quick
    with pytest.raises(TypeError):
        quick_state(0.1, 0.2, 0.3, 10.0)  # type: ignore[misc]


def test_bounds_and_unit_have_defaults() -> None:
    assert (Resource.min_size, Resource.max_size, Resource.unit) == (1, None, "")


def test_a_resource_without_its_three_methods_cannot_be_made() -> None:
    class Half(Resource):
        def measure_state(self) -> ResourceState:
            return ResourceState(0.0, size=1.0)

    with pytest.raises(TypeError, match="apply_control"):
        Half()  # type: ignore[abstract]
