"""What the three laws share: the rest interval, the prediction, candidates for tuning."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from typing import Self, cast

from quantum_control.core.estimation import AGILITY, JUMP
from quantum_control.core.numeric import ops_for
from quantum_control.core.physics import Objective, PhysicsModel
from quantum_control.core.plugins import load
from quantum_control.core.resource import ResourceState
from quantum_control.physics.staffing import Staffing


class StaffedModel(PhysicsModel):
    """A law that pulls the size towards the rest interval of a `Staffing`.

    Parameters
    ----------
    staffing
        Headroom and slack; by default what the prices of `objective` ask for.
    agility, jump
        Settings of the estimator's filter, see `core.estimation.AmplitudeFilter`.
    """

    def __init__(
        self,
        staffing: Staffing | None = None,
        *,
        objective: Objective | None = None,
        agility: float = AGILITY,
        jump: float = JUMP,
    ) -> None:
        self.staffing = staffing or Staffing.for_objective(objective or Objective())
        self.agility = agility
        self.jump = jump

    @classmethod
    def create(cls, objective: Objective) -> Self:
        """The law with the headroom that the prices of `objective` ask for."""
        return cls(objective=objective)

    @property
    def regime(self) -> float:
        """Changes when the law begins, or ceases, to know something that makes old experience count less."""
        return 0.0

    def candidate(self, staffing: Staffing) -> Self:
        """The same law, with its own memory left out, around another rest interval (rows of them too)."""
        law = copy(self)
        law.staffing = staffing
        return law

    def tuned(self, objective: Objective) -> PhysicsModel:
        """The same law with headroom, agility and jump learnt online; the slack is fixed."""
        return cast(PhysicsModel, load("tuning", "online")(self, objective))

    def setpoint(self, state: ResourceState) -> float:
        """Position at which the law wants to rest; negative is headroom. Unit 1."""
        return self.staffing.setpoint(state)

    def predict_next_state(self, current: ResourceState) -> ResourceState:
        """State one interval on at the size already ordered: the forecast of the flow plus what waits now.

        Its velocity is the change that this means, its acceleration that of the velocity.
        """
        if current.forecast != current.forecast:
            # A bare state: all that is known is its motion.
            step = current.interval
            velocity = current.velocity + current.acceleration * step
            return replace(
                current,
                position=current.position
                + current.velocity * step
                + current.acceleration * step * step / 2.0,
                velocity=velocity,
                time=current.time + step,
            )
        size, step, forecast = current.commanded, current.interval, self._next_flow(current)
        demand = self.predict_demand(current)
        velocity = (forecast - current.flow) / (step * size)
        return ResourceState(
            demand / size - 1.0,
            velocity,
            (velocity - current.velocity) / step,
            size=size,
            time=current.time + step,
            interval=step,
            commanded=size,
            flow=forecast,
            forecast=forecast,
            spread=current.spread,
            backlog=ops_for(demand).maximum(demand - size, 0.0),
            temperature=current.temperature,
        )

    def predict_demand(self, current: ResourceState) -> float:
        """Forecast of the flow plus what waits now, as size.

        The backlog of the state is what will wait when the next size acts, which may be later.
        """
        if current.forecast != current.forecast:
            return super().predict_demand(current)
        waiting = current.size * current.position
        return self._next_flow(current) + ops_for(waiting).maximum(waiting, 0.0)

    def _next_flow(self, current: ResourceState) -> float:
        """Flow expected in the next interval: by most laws as when the next size acts."""
        return current.forecast
