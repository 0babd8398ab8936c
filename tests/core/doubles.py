"""Stand-ins for what surrounds the controller: a clock, a resource and laws that do as they are told."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from quantum_control import PhysicsModel, QuantumController, Resource, ResourceState
from quantum_control.core.decision import Decision


class Clock:
    """Seconds that pass when told to."""

    def __init__(self, now: float = 100.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def tick(self, seconds: float = 1.0) -> None:
        self.now += seconds


class Pool(Resource):
    """A resource with a demand of `demand` units, whose size acts `delay` measurements after it was ordered.

    Whatever is put in `broken_*` is raised by that method.
    """

    def __init__(
        self,
        size: float = 10,
        demand: float = 8.0,
        *,
        least: int = 1,
        most: int | None = None,
        delay: int = 0,
    ) -> None:
        self.min_size = least
        self.max_size = most
        self.size = size
        self.demand = demand
        self.metrics: dict[str, float] = {}
        self.applied: list[int] = []
        self.broken_measuring: BaseException | None = None
        self.broken_metrics: BaseException | None = None
        self.broken_applying: BaseException | None = None
        self._under_way = deque([size] * (delay + 1) if delay else [])

    def measure_state(self) -> ResourceState:
        if self.broken_measuring is not None:
            raise self.broken_measuring
        if self._under_way:
            self._under_way.append(self._under_way[-1])
            self.size = self._under_way.popleft()
        return ResourceState.from_demand(self.demand, size=self.size)

    def get_metrics(self) -> dict[str, float]:
        if self.broken_metrics is not None:
            raise self.broken_metrics
        return self.metrics

    def apply_control(self, new_size: int) -> None:
        if self.broken_applying is not None:
            raise self.broken_applying
        self.applied.append(new_size)
        if self._under_way:
            self._under_way[-1] = new_size
        else:
            self.size = new_size


class Pushes(PhysicsModel):
    """A law whose force is whatever it is told; exceptions are raised."""

    name = "pushes"

    def __init__(self, *forces: object) -> None:
        self._forces: Iterator[object] = iter(forces)
        self._force: object = 0.0
        self.seen: list[ResourceState] = []

    def calculate_force(self, state: ResourceState) -> float:
        self.seen.append(state)
        self._force = next(self._forces, self._force)
        if isinstance(self._force, BaseException):
            raise self._force
        return self._force  # type: ignore[return-value]

    def predict_next_state(self, current: ResourceState) -> ResourceState:
        return current


def controlled(
    resource: Resource, law: str | PhysicsModel = "optomechanical", **settings: object
) -> tuple[QuantumController, Callable[..., Decision]]:
    """A controller on a clock of its own, and what takes one step of it a second later."""
    clock = Clock()
    controller = QuantumController(resource, law, clock=clock, **settings)  # type: ignore[arg-type]

    def step(seconds: float = 1.0, **changes: float) -> Decision:
        for name, value in changes.items():
            setattr(resource, name, value)
        clock.tick(seconds)
        return controller.optimize()

    return controller, step
