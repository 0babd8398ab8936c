"""Resources that are looked at and not touched."""

from __future__ import annotations

from quantum_control.core.errors import SafetyError
from quantum_control.core.resource import Resource, ResourceState


class Observed(Resource):
    """A resource that is only measured."""

    def __init__(self, resource: Resource) -> None:
        self.resource = resource
        self.min_size, self.max_size, self.unit = resource.min_size, resource.max_size, resource.unit
        self.real: ResourceState | None = None
        """What was measured last."""

    def measure_state(self) -> ResourceState:
        """Measure the resource."""
        self.real = self.resource.measure_state()
        return self.real

    def apply_control(self, new_size: int) -> None:
        """Refuse.

        Raises
        ------
        SafetyError
            Always.
        """
        raise SafetyError(f"size {new_size} is not applied: this resource is only observed")

    def get_metrics(self) -> dict[str, float]:
        """Metrics of the resource."""
        return self.resource.get_metrics()


class Shadow(Observed):
    """A twin that gets the demand of the real thing and has a size of its own.

    A fluid queue: its backlog is max(0, backlog + flow - size), where the flow
    is what newly came to the real one. That is as good as the assumption that
    the flow would have been the same.
    """

    def __init__(self, resource: Resource) -> None:
        super().__init__(resource)
        self.size = 0
        """Size of the twin; 0 before the first measurement."""
        self._carried = 0.0  # backlog that the real one carried into this interval
        self._backlog = 0.0  # backlog that the twin carries into the next

    def measure_state(self) -> ResourceState:
        """Measure the resource, and say how the twin would be."""
        self.real = real = self.resource.measure_state()
        if not self.size:
            self.size = max(1, round(real.size))
        flow = max(real.demand - self._carried, 0.0)
        self._carried = max(real.demand - real.size, 0.0)
        demand = self._backlog + flow
        self._backlog = max(demand - self.size, 0.0)
        return ResourceState.from_demand(demand, size=self.size, time=real.time)

    def apply_control(self, new_size: int) -> None:
        """Give the twin another size."""
        self.size = new_size

    def get_metrics(self) -> dict[str, float]:
        """Metrics of the resource but its throughput, which the size of the twin does not explain."""
        metrics = dict(self.resource.get_metrics())
        metrics.pop("throughput", None)
        return metrics
