"""What is steered: the three-method contract and the state that passes through the loop."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import KW_ONLY, dataclass
from math import inf, nan

from quantum_control.core.errors import SensorError
from quantum_control.core.quick import quickly_made


@dataclass(frozen=True, slots=True)
class ResourceState:
    """One resource at one instant.

    An adapter fills in `position` and `size` (or calls `from_demand`); the
    estimator fills in the rest before a model sees it. `nan` means "not
    measured". Simulations put arrays, one row a resource, where a float is
    announced: every formula of the loop is written for both.
    """

    position: float
    """Demand over size, less one: negative is slack, positive is backlog. Unit 1."""
    velocity: float = 0.0
    """Rate of change of the position caused by demand, own moves of the size taken out. Unit 1/s."""
    acceleration: float = 0.0
    """Rate of change of the velocity. Unit 1/s²."""
    _: KW_ONLY
    size: float = nan
    """Size in force while this was measured, in the resource's own unit."""
    time: float = nan
    """Seconds on the controller's clock."""
    interval: float = 1.0
    """Nominal seconds between states: how long a force acts before there is the next."""
    commanded: float = nan
    """Size last ordered, with the fraction of a unit that forces have added up to since; differs
    from `size` while a change is under way."""
    flow: float = nan
    """New demand of the last interval, apart from backlog carried into it. As size."""
    forecast: float = nan
    """Flow expected in the interval in which the next size acts. As size."""
    spread: float = 0.0
    """Standard deviation of the forecast's amplitude, shot noise included. Unit sqrt(size)."""
    backlog: float = 0.0
    """Work that will wait when the next size acts, commands in flight allowed for. As size."""
    temperature: float = 1.0
    """Variance of the innovation in amplitude sqrt(flow), in units of the shot noise (1 is Poisson)."""
    snr: float = 0.0
    """Velocity over its own standard error: how far the motion stands out of the noise."""
    throughput: float = nan
    """Completions per second."""
    wait_seconds: float = nan
    """Mean wait before service."""
    service_seconds: float = nan
    """Mean time in service."""
    errors: float = nan
    """Failures per second."""
    drops: float = nan
    """Rejections per second."""

    @staticmethod
    def from_demand(demand: float, *, size: float, time: float = nan) -> ResourceState:
        """State of a resource of `size` that holds `demand` (in use + waiting, in units of size).

        Raises
        ------
        SensorError
            `size` is not a positive number, so that no position exists.
        """
        if not 0.0 < size < inf:
            raise SensorError(f"a state needs a positive, finite size; got {size!r}")
        return quick_state(demand / size - 1.0, size=size, time=time)

    @property
    def demand(self) -> float:
        """In use + waiting: the size that would be exactly full. As size."""
        return self.size * (1.0 + self.position)


quick_state = quickly_made(ResourceState)


class Resource(ABC):
    """Something whose size can be measured and set.

    These three methods are all that a resource must have; `min_size`,
    `max_size` and `unit` may be overridden on the class or the instance.
    """

    min_size: int = 1
    """Smallest size that the controller may set."""
    max_size: int | None = None
    """Largest size that the controller may set; None is unbounded."""
    unit: str = ""
    """What one unit of size is, for people: "threads", "bytes", ..."""

    @abstractmethod
    def measure_state(self) -> ResourceState:
        """Measure now. Position and size suffice; raise `SensorError` if it cannot be measured."""

    @abstractmethod
    def apply_control(self, new_size: int) -> None:
        """Set the size. On failure raise `ActuatorError` and leave the resource as it was found."""

    @abstractmethod
    def get_metrics(self) -> dict[str, float]:
        """Any figures worth exporting.

        Used by the controller where present: `throughput` (completions per
        second), `wait_seconds`, `service_seconds`, `errors` and `drops` (per
        second). `throughput` is what lets the knee be found. A resource that
        knows by other means how far it can make use of more size says so in
        `useful_size`: it is not let past that, and not made to feel its way
        up to it.
        """
