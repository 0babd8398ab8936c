"""A plant as a resource, so that the very same controller steers it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from quantum_control.core.errors import ActuatorError, ConfigError, SensorError
from quantum_control.core.resource import Resource, ResourceState
from quantum_control.simulation.plants.base import Plant, Reading


class PlantResource(Resource):
    """Scalar plant under a load, behind the three methods of `Resource`.

    Each measurement runs one interval, so that stepping the controller steps
    the simulation:

        plant = FluidQueue()
        resource = PlantResource(plant, LOADS["bursts"].arrivals(1, seed=1)[:, 0], size=40)
        controller = QuantumController(resource=resource, clock=plant.clock)
        for _ in range(1000):
            controller.optimize()

    Parameters
    ----------
    plant
        What is simulated.
    arrivals
        Work of each interval.
    size
        Size at the start.
    min_size, max_size
        Bounds of the size; None is unbounded.
    """

    unit = "units"

    def __init__(
        self,
        plant: Plant,
        arrivals: Iterable[float],
        size: int,
        *,
        min_size: int = 1,
        max_size: int | None = None,
    ) -> None:
        if size < 1:
            raise ConfigError(f"size={size!r}: a size is a positive whole number")
        self.plant = plant
        self.min_size = min_size
        self.max_size = max_size
        self.size = size
        """Size last ordered."""
        self.reading: Reading | None = None
        """The last interval; None before the first."""
        self._arrivals: Iterator[float] = iter(arrivals)

    def clock(self) -> float:
        """Seconds simulated so far; the plant's own clock."""
        return self.plant.clock()

    def measure_state(self) -> ResourceState:
        """Run one interval and report it.

        Raises
        ------
        SensorError
            The arrivals are used up.
        """
        arrivals = next(self._arrivals, None)
        if arrivals is None:
            raise SensorError("the simulated load has ended; give the plant more arrivals")
        # Plain floats: a numpy scalar would make every later formula ten times slower.
        self.reading = reading = self.plant.step(float(self.size), float(arrivals))
        return reading.state(time=self.plant.time, interval=self.plant.interval)

    def apply_control(self, new_size: int) -> None:
        """Order a size; it acts after the plant's delay."""
        if new_size < 1:
            raise ActuatorError(f"size {new_size} ordered; a plant needs a positive size")
        self.size = new_size

    def get_metrics(self) -> dict[str, float]:
        """Throughput, wait, service, drops and errors of the last interval, as far as they have a meaning."""
        if self.reading is None:
            return {}
        named = {
            name: getattr(self.reading, name)
            for name in ("throughput", "wait_seconds", "service_seconds", "drops", "errors")
        }
        return {name: value for name, value in named.items() if value == value}
