from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum_control.core.numeric import ARRAY, SCALAR, ops_for

numbers = st.floats(-1e6, 1e6)
positive = st.floats(1e-6, 1e6)


@pytest.mark.parametrize("number", [1, 1.0, np.float64(1.0), True])
def test_numbers_are_scalars(number: object) -> None:
    assert ops_for(number) is SCALAR


def test_arrays_are_arrays() -> None:
    assert ops_for(np.array([1.0])) is ARRAY


def same(name: str, *arguments: Any) -> None:
    rows = [np.array([each]) for each in arguments]
    np.testing.assert_allclose(getattr(ARRAY, name)(*rows), [getattr(SCALAR, name)(*arguments)], rtol=1e-14)


@given(numbers, numbers, positive, st.floats(-50.0, 50.0), st.booleans())
def test_both_number_systems_agree(a: float, b: float, c: float, small: float, choice: bool) -> None:
    same("exp", small)
    same("log", c)
    same("sqrt", c)
    same("maximum", a, b)
    same("minimum", a, b)
    same("where", choice, a, b)
    same("sign", a)
    same("rint", a)
