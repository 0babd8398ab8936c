"""The contract of a control law."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from quantum_control.core.errors import ConfigError
from quantum_control.core.estimation import AGILITY, JUMP
from quantum_control.core.resource import ResourceState

MAX_EXPONENT = 50.0
"""Cap on F·interval: beyond any slew limit, and far from overflow."""


class PhysicsModel(ABC):
    """A control law: given a state, the force on the size.

    A law knows no clock, no thread and no server. It may keep a memory of the
    states that it was given, in order, one per interval.
    """

    name: str = "custom"
    agility: float = AGILITY
    """How fast the estimator before the law follows: process over measurement variance. Unit 1."""
    jump: float = JUMP
    """Normalised innovation squared past which it believes a burst at once. Unit 1."""
    phase: int = 0
    """Intervals by which what a law does now and then only is done earlier: where many are stepped together,
    not all need do so in the same interval."""
    delay: int = 0
    """Intervals that an order takes to be in force, beyond the sampling itself; set by whoever steps the law,
    before `anticipate`."""

    @classmethod
    def create(cls, objective: Objective) -> Self:  # noqa: ARG003 - for those that price their headroom
        """Make the law as it is chosen by name; override to use the prices of `objective`."""
        return cls()

    def tuned(self, objective: Objective) -> PhysicsModel:  # noqa: ARG002 - as above
        """Wrap the law so that its parameters are learnt online by the prices of `objective`.

        Raises
        ------
        ConfigError
            The law has no parameters that could be learnt.
        """
        raise ConfigError(
            f"the law {self.name!r} ({type(self).__name__}) cannot be tuned; "
            "use auto_tune=False, or override PhysicsModel.tuned()"
        )

    @abstractmethod
    def calculate_force(self, state: ResourceState) -> float:
        """Signed rate of relative size change d(ln u)/dt in 1/s; positive grows.

        The controller turns it into the size u·exp(F·interval).
        """

    @abstractmethod
    def predict_next_state(self, current: ResourceState) -> ResourceState:
        """State expected one interval later, if the size stays as it is."""

    def predict_demand(self, current: ResourceState) -> float:
        """Demand of the state that `predict_next_state` expects, as size: what is scored at every step.

        Override it where the demand is known for less than a whole state costs.
        """
        return self.predict_next_state(current).demand

    def setpoint(self, state: ResourceState) -> float:  # noqa: ARG002 - for those that override it
        """Position at which the law wants to rest; negative is headroom. Unit 1."""
        return 0.0

    def anticipate(self, amplitude: float) -> tuple[float, float]:  # noqa: ARG002 - as above
        """Say what the law knows of demand beforehand, given the amplitude sqrt(flow) of this interval.

        Returns the part of this interval's amplitude that was known before it,
        and the part known of the interval in which the next size acts, both in
        sqrt(size). Called once per interval, before `calculate_force`.
        """
        return 0.0, 0.0

    def missed(self, intervals: int) -> None:  # noqa: B027 - a law without a memory has nothing to move on
        """Let `intervals` pass that were not measured; called before `anticipate` of the next that is."""

    def learned(self) -> dict[str, object]:
        """What was learnt, to be seen and for `recall`: a JSON object; empty if the law does not learn."""
        return {}

    def recall(self, learned: Mapping[str, object]) -> None:  # noqa: B027 - a law that does not learn ignores it
        """Go on from what `learned()` returned before a restart; called before the first state.

        Raises
        ------
        ConfigError
            It was learnt in a way that this version does not understand.
        """


@dataclass(frozen=True, slots=True)
class Objective:
    """Prices by which tuning, selection and roll-back judge, per interval.

    One unit of backlog for one interval costs `waiting`, one unit of size for
    one interval `size`, one unit of change of size `change`.
    """

    waiting: float = 3.0
    size: float = 1.0
    change: float = 0.3

    def __post_init__(self) -> None:
        for name in ("waiting", "size", "change"):
            price = getattr(self, name)
            if not 0.0 <= price < float("inf"):
                raise ConfigError(f"Objective({name}={price!r}): a price is a finite number, 0 or more")
        if self.waiting <= 0.0:
            raise ConfigError(
                "Objective(waiting=0): if waiting is free the best size is none; give it a price"
            )

    def cost(self, backlog: float, size: float, change: float) -> float:
        """Cost of one interval; arguments as size, `change` signed or not."""
        return self.waiting * backlog + self.size * size + self.change * abs(change)
