"""Coherent feedback: Kalman filter and linear-quadratic regulator, with a price on movement.

Coherent controllers process a system's output without measuring it away; their
quantum advantage has no classical counterpart. What carries over is the
optimal pair behind them (Kalman + LQR, as in Magrini et al., Nature 595, 373,
2021): the estimator's spread sets a dead band in which moving would only pass
noise on, and outside of it the regulator takes the gain that its movement
price asks for,

    F·dt = k·x,   k = (-1 + sqrt(1 + 4·rho))/(2·rho),   x = ln(edge/u)

    x      distance from the size to the *nearest edge* of the rest interval, 0 inside
    rho    price of movement against deviation; k -> 1 as rho -> 0

k solves the scalar Riccati equation of the integrator x' = x - F·dt with cost
x² + rho·(F·dt)². Squeezing is meant literally: fluctuations are let run in the
quadrature that costs nothing (demand inside the band) and kept out of the one
that is paid for (movement of the size).
"""

from __future__ import annotations

from math import sqrt
from typing import Self

from quantum_control.core.estimation import AGILITY, JUMP
from quantum_control.core.physics import Objective
from quantum_control.core.resource import ResourceState
from quantum_control.physics.base import StaffedModel
from quantum_control.physics.staffing import Staffing

MOVEMENT_PRICE = 0.2
"""rho; k = 0.85."""

SQUEEZING = 1.5
"""Width of the dead band over the interval in which not moving is cheapest for one step: demand
that leaves it by less tends to come back by itself."""


def movement_gain(price: float) -> float:
    """LQ gain k of an integrator in steps for a movement price rho > 0 (1 for rho = 0)."""
    return (-1.0 + sqrt(1.0 + 4.0 * price)) / (2.0 * price) if price > 0.0 else 1.0


class Coherent(StaffedModel):
    """For low latency and high precision with the least movement.

    Parameters
    ----------
    movement_price
        rho, 0 or more: the larger, the slower the size follows.
    squeezing
        Width of the dead band over the interval that the prices ask for; 0 tracks every change.
    """

    name = "coherent"

    def __init__(
        self,
        staffing: Staffing | None = None,
        *,
        objective: Objective | None = None,
        agility: float = AGILITY,
        jump: float = JUMP,
        movement_price: float = MOVEMENT_PRICE,
        squeezing: float = SQUEEZING,
    ) -> None:
        super().__init__(staffing, objective=objective, agility=agility, jump=jump)
        self.gain = movement_gain(movement_price)
        if staffing is None:
            self.staffing = Staffing(self.staffing.headroom, self.staffing.slack * squeezing)

    def candidate(self, staffing: Staffing) -> Self:
        """As the base's, with the law's own dead band on top of the candidate's."""
        slack = staffing.slack + self.staffing.slack
        return super().candidate(Staffing(staffing.headroom, slack))

    def calculate_force(self, state: ResourceState) -> float:
        """LQ gain times the distance to the edge of the dead band; 1/s."""
        return self.gain * self.staffing.deviation(state) / state.interval
