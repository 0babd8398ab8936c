from math import inf, nan

import pytest
from doubles import Pushes

from quantum_control import ConfigError, Objective, ResourceState


def test_a_law_of_two_methods_has_the_rest() -> None:
    law = Pushes(0.5)
    state = ResourceState(0.1, size=10.0)
    assert law.setpoint(state) == 0.0
    assert law.anticipate(3.0) == (0.0, 0.0)
    assert isinstance(Pushes.create(Objective()), Pushes)


def test_a_law_that_cannot_be_tuned_says_so() -> None:
    with pytest.raises(ConfigError, match=r"'pushes' \(Pushes\) cannot be tuned; use auto_tune=False"):
        Pushes().tuned(Objective())


def test_the_objective_charges_backlog_size_and_change_in_either_direction() -> None:
    prices = Objective(waiting=3.0, size=1.0, change=0.5)
    assert prices.cost(backlog=2.0, size=10.0, change=-4.0) == 2 * 3.0 + 10.0 + 4 * 0.5
    assert prices.cost(backlog=2.0, size=10.0, change=4.0) == prices.cost(2.0, 10.0, -4.0)


@pytest.mark.parametrize("name", ["waiting", "size", "change"])
@pytest.mark.parametrize("price", [-0.1, nan, inf])
def test_a_price_is_finite_and_not_negative(name: str, price: float) -> None:
    with pytest.raises(ConfigError, match=f"{name}="):
        Objective(**{name: price})


def test_waiting_must_have_a_price() -> None:
    with pytest.raises(ConfigError, match="give it a price"):
        Objective(waiting=0.0)
