"""A member of a budget: a resource that asks before it takes a size."""

from __future__ import annotations

import threading
from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING

from quantum_control.core.errors import ActuatorError
from quantum_control.core.resource import Resource, ResourceState

if TYPE_CHECKING:
    from quantum_control.core.budget import Budget

BUSY_SECONDS = 0.2
"""For which an order waits for a measurement under way: far longer than most take. A member whose measurement
hangs costs the others their growth, and little time."""


ON_ITS_WAY = 12
"""Measurements in a row, none of them above the one before, after which a growth that was ordered is not
expected any more: as long as the controller itself waits for one, at the longest delay that there is."""


class Share(Resource):
    """A resource within a budget; made by `Budget.share`.

    Other members may have it cut, on their threads: what is done to the
    resource is done under `lock`.
    """

    def __init__(self, budget: Budget, resource: Resource, weight: float, found: int) -> None:
        self.resource = resource
        """What is steered in the end."""
        self.lock = threading.RLock()
        """Held while the resource is measured or set; never while the budget is asked."""
        self.weight = weight
        self.pools = _pools(resource)
        """How many pools have its size each."""
        self.granted = found * self.pools
        """What it was given, or was found to have. All its pools together, as are the following."""
        self._coming = 0  # what it will have when a growth that was ordered is there; 0 if none was
        self._seen = self.granted
        self._waited = 0  # measurements in a row without growth
        self.still = _still(resource)
        """What it holds at most, granted or not, where its resource tells."""
        self.wanted = self.granted
        """What it asked for last."""
        self.kept: Callable[[], bool] = lambda: False
        """Asked whether somebody wants its size as it is."""
        self.tell: Callable[[int], object] = lambda _: None
        """Told each size that is ordered, which may be less than what was asked for, or asked by nobody
        here; by any thread. As size of one of its pools."""
        self.closed = False
        """Whether it takes no more orders; set by `close`."""
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

    @property
    def fixed(self) -> bool:
        """Whether it is to stay as it is, as far as the budget allows."""
        return self.closed or self.kept()

    @property
    def claim(self) -> int:
        """What it lays claim to: what it asked for last or, where that is to stay, what it was given."""
        return self.granted if self.fixed else self.wanted

    def order(self, most: int) -> None:
        """Have it hold `most`; what it held before counts until it is measured again.

        Raises
        ------
        ActuatorError
            The resource did not take the size, does not come back from a
            measurement, or is being put back.
        """
        if not self.lock.acquire(timeout=BUSY_SECONDS):
            raise ActuatorError(f"{self.resource!r} is still being measured")
        try:
            if self.closed:
                raise ActuatorError(f"{self.resource!r} is being put back")
            size = most // self.pools
            self.tell(size)
            self.resource.apply_control(size)
            if self.still is not None:
                self.still = self.held
            self.granted = size * self.pools
            self._coming, self._waited = (self.granted if self.granted > self._seen else 0), 0
        finally:
            self.lock.release()

    def found(self, size: int) -> None:
        """Take what it was measured to have for what it was given; a growth on its way counts whole."""
        self._waited = 0 if size > self._seen else self._waited + 1
        self._seen = size
        if size >= self._coming or self._waited >= ON_ITS_WAY:
            self._coming = 0
        self.granted = max(size, self._coming)

    @property
    def found_anew(self) -> int:
        """How often the resource has come upon another original."""
        return int(getattr(self.resource, "found_anew", 0))

    def measure_state(self) -> ResourceState:
        """Measure the resource."""
        with self.lock:
            state = self.resource.measure_state()
            still = _still(self.resource)
            self.pools = _pools(self.resource)
        self._budget.measured(self, max(1, round(state.size)) * self.pools, still)
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
        with self.lock:
            return self.resource.get_metrics() | own

    def close(self) -> None:
        """Take no more orders, so that it can be put back; it counts as held until `leave`."""
        with self.lock:
            self.closed = True

    def leave(self) -> None:
        """Leave the budget."""
        self._budget.leave(self)

    def __repr__(self) -> str:
        return f"<Share of {self.resource!r}: {self.held} held, {self.wanted} wanted>"


def _pools(resource: Resource) -> int:
    return max(1, int(resource.get_metrics().get("pools", 1.0)))


def _still(resource: Resource) -> int | None:
    held = resource.get_metrics().get("held")
    return None if held is None else int(held)
