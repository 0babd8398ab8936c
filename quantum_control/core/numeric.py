"""The two number systems in which every formula of the loop runs.

A live resource is one row, and Python's own floats are ten times faster there
than arrays of one element; tuning and simulation step hundreds or thousands of
rows at once with numpy. Estimator, laws and guard are therefore written once,
against the few functions below, and take whichever their input is.
"""

from __future__ import annotations

import math
from typing import Any, Protocol, cast

import numpy as np


class Ops(Protocol):
    """Elementary functions on floats or on arrays (announced as float)."""

    def exp(self, x: float, /) -> float: ...  # noqa: D102 - numpy's own names
    def log(self, x: float, /) -> float: ...  # noqa: D102
    def sqrt(self, x: float, /) -> float: ...  # noqa: D102
    def maximum(self, a: float, b: float, /) -> float: ...  # noqa: D102
    def minimum(self, a: float, b: float, /) -> float: ...  # noqa: D102
    def where(self, condition: bool, a: float, b: float, /) -> float: ...  # noqa: D102
    def sign(self, x: float, /) -> float: ...  # noqa: D102
    def rint(self, x: float, /) -> float: ...  # noqa: D102


class _Scalar:
    exp = staticmethod(math.exp)
    log = staticmethod(math.log)
    sqrt = staticmethod(math.sqrt)

    # Conditional expressions are several times faster than the built-ins max() and min().
    @staticmethod
    def maximum(a: float, b: float) -> float:
        return a if a >= b else b

    @staticmethod
    def minimum(a: float, b: float) -> float:
        return a if a <= b else b

    @staticmethod
    def where(condition: bool, a: float, b: float) -> float:
        return a if condition else b

    @staticmethod
    def sign(x: float) -> float:
        return 1.0 if x > 0.0 else (-1.0 if x < 0.0 else 0.0)

    @staticmethod
    def rint(x: float) -> float:
        return float(round(x))


SCALAR: Ops = cast(Ops, _Scalar)
ARRAY: Ops = cast(Ops, np)


def ops_for(value: Any) -> Ops:
    """Choose the number system that `value` belongs to."""
    return ARRAY if isinstance(value, np.ndarray) else SCALAR
