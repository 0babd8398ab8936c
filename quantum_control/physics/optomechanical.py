"""Optomechanical cooling: a stiff trap, and a radiation-pressure kick against bursts.

An optomechanical cavity damps a mirror because the light's force follows the
mirror's motion (Aspelmeyer, Kippenberg & Marquardt, Rev. Mod. Phys. 86, 1391,
2014). Here the mirror is the size u, in s = ln u, and the light is the demand:

    F·dt = x·clip(DAMPING + eta·q/x, 0, kappa)     the trap DAMPING·x plus eta·q, passive
    q = sgn(v)·v²·(1 + sgn(v)·a)_+                the force F = v²(1 + a), made odd

    x      ln(rest/u), distance from the size to the rest interval
    v, a   velocity and acceleration of demand per interval (v·dt, a·dt²)

The quadratic force acts on a burst as quadratic drag does on motion, v' = -c·v·|v|,
v(t) = v0/(1 + c·v0·t): strong where motion is fast, nothing where it is slow.
A velocity made of noise would be squared into force out of nothing, so that it
acts only where it stands out of its own noise by GATE standard deviations.
Clipped to between 0 and kappa·x, F takes energy out and never puts any in: for
exogenous demand the map x -> x - F·dt contracts for every kappa <= 1, at any
delay, as x is measured from the size already ordered.

The trap is a must: q(v=0) = 0 would never return from a steady deviation.
DAMPING 0.8 is the share of the deviation taken out per interval. As a damping
ratio of an oscillator 0.8 is slightly under-damped (1.5 % overshoot;
critical is 1); in this first-order trap it cannot overshoot.
"""

from __future__ import annotations

from quantum_control.core.estimation import AGILITY, JUMP
from quantum_control.core.numeric import ops_for
from quantum_control.core.physics import Objective
from quantum_control.core.resource import ResourceState
from quantum_control.physics.base import StaffedModel
from quantum_control.physics.staffing import Staffing

DAMPING = 0.8
"""Share of the deviation that the trap takes out per interval."""

GATE = 2.0
"""Standard deviations by which the velocity must stand out of its noise before it is squared."""


class Optomechanical(StaffedModel):
    """For bursty demand of high variance; the default.

    Parameters
    ----------
    damping
        Share of the deviation taken out per interval, in (0, 1].
    burst
        eta, the weight of v²(1 + a). 0 leaves the trap alone.
    ceiling
        kappa, the largest share of the deviation taken out at once, in (0, 1].
    """

    name = "optomechanical"

    def __init__(
        self,
        staffing: Staffing | None = None,
        *,
        objective: Objective | None = None,
        agility: float = AGILITY,
        jump: float = JUMP,
        damping: float = DAMPING,
        burst: float = 1.0,
        ceiling: float = 1.0,
    ) -> None:
        super().__init__(staffing, objective=objective, agility=agility, jump=jump)
        self.damping = damping
        self.burst = burst
        self.ceiling = ceiling

    def calculate_force(self, state: ResourceState) -> float:
        """Trap plus gated burst force, passive; 1/s."""
        deviation = self.staffing.deviation(state)
        step = state.interval
        share, gate = self.damping, abs(state.snr) > GATE
        if gate is not False:  # nothing to compute where one resource is not in a burst, as is the rule
            velocity = state.velocity * step
            xp = ops_for(velocity)
            direction = xp.sign(velocity)
            drag = xp.maximum(1.0 + direction * state.acceleration * step * step, 0.0)
            kick = self.burst * direction * velocity * velocity * drag * gate
            # At rest there is nothing to take out, whatever the motion: x = 0 makes F = 0.
            share += kick / (deviation + (deviation == 0.0))
        xp = ops_for(deviation)
        return deviation * xp.minimum(xp.maximum(share, 0.0), self.ceiling) / step
