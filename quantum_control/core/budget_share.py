"""A member of a budget: a resource that asks before it takes a size."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from quantum_control.core.resource import Resource, ResourceState

if TYPE_CHECKING:
    from quantum_control.core.budget import Budget


class Share(Resource):
    """A resource within a budget; made by `Budget.share`."""

    def __init__(self, budget: Budget, resource: Resource, weight: float, found: int) -> None:
        self.resource = resource
        """What is steered in the end."""
        self.weight = weight
        self.pools = _pools(resource)
        """How many pools have its size each."""
        self.granted = found * self.pools
        """What it was given, or was found to have. All its pools together, as are the following."""
        self.still: int | None = None
        """What it holds at most, granted or not, where its resource tells."""
        self.wanted = self.granted
        """What it asked for last."""
        self.min_size = resource.min_size
        most = inf if resource.max_size is None else resource.max_size
        self.max_size = int(min(most, budget.most))
        self.unit = resource.unit
        self._budget = budget

    @property
    def held(self) -> int:
        """What it takes of the budget."""
        return max(self.granted, self.still or 0)

    @property
    def floor(self) -> int:
        """What it needs at least."""
        return self.min_size * self.pools

    def order(self, most: int) -> None:
        """Have it hold `most`; what it held before counts until it is measured again."""
        size = most // self.pools
        self.resource.apply_control(size)
        if self.still is not None:
            self.still = self.held
        self.granted = size * self.pools

    def measure_state(self) -> ResourceState:
        """Measure the resource."""
        state = self.resource.measure_state()
        held = self.resource.get_metrics().get("held")
        self.pools = _pools(self.resource)
        size = max(1, round(state.size)) * self.pools
        self._budget.measured(self, size, None if held is None else int(held))
        return state

    def apply_control(self, new_size: int) -> None:
        """Ask for a size; what is in force afterwards is what the budget has granted.

        Raises
        ------
        SafetyError
            It has left the budget.
        ActuatorError
            The resource did not take the size.
        """
        self._budget.request(self, new_size * self.pools)

    def get_metrics(self) -> dict[str, float]:
        """Metrics of the resource, with `budget_held` and `budget_wanted`."""
        own = {"budget_held": float(self.held), "budget_wanted": float(self.wanted)}
        return self.resource.get_metrics() | own

    def __repr__(self) -> str:
        return f"<Share of {self.resource!r}: {self.held} held, {self.wanted} wanted>"


def _pools(resource: Resource) -> int:
    return max(1, int(resource.get_metrics().get("pools", 1.0)))
