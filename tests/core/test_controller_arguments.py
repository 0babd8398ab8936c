"""What a controller is made of, and what it refuses to be made of."""

from math import inf, nan
from typing import Any

import pytest
from doubles import Pool, Pushes

from quantum_control import ConfigError, QuantumController


@pytest.mark.parametrize("interval", [0.0, -1.0, nan, inf, 1e300])
def test_an_interval_is_a_positive_number_of_seconds(interval: float) -> None:
    with pytest.raises(ConfigError, match="interval="):
        QuantumController(Pool(), interval=interval)


@pytest.mark.parametrize("count", [0, -1, 2.5, True, None])
def test_the_number_of_failures_is_a_positive_integer(count: Any) -> None:
    with pytest.raises(ConfigError, match="max_failures"):
        QuantumController(Pool(), max_failures=count)


@pytest.mark.parametrize(
    ("least", "most", "message"),
    [
        (5, 4, "minimum size 5 is above maximum size 4"),
        (0, 4, "minimum size is 0"),
        (1, 0, "maximum size is 0"),
        (1.5, 4, "minimum size is 1.5"),
        (1, "many", "maximum size is 'many'"),
    ],
)
def test_bounds_of_a_resource_that_make_no_sense_are_refused(least: Any, most: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        QuantumController(Pool(least=least, most=most))


def test_an_unknown_law_is_refused_and_the_nearest_suggested() -> None:
    with pytest.raises(ConfigError, match="did you mean 'parametric'"):
        QuantumController(Pool(), "parametrik")


def test_a_law_is_given_by_instance_too() -> None:
    law = Pushes(0.0)
    assert QuantumController(Pool(), law).physics is law


def test_a_law_that_cannot_be_tuned_is_not() -> None:
    with pytest.raises(ConfigError, match="cannot be tuned"):
        QuantumController(Pool(), Pushes(), auto_tune=True)
