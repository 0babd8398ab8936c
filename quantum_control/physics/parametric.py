"""Parametric: locks onto the rhythm of demand, moves before it does, and stiffens against the motion.

A parametric drive acts on an oscillator through its stiffness. With the
stiffness modulated by x·v it cools without a probe of its own (Gieseler,
Deutsch, Quidant & Novotny, PRL 109, 103603, 2012):

    F·dt = k·(1 + eta·x·v)·x,   k/2 <= k·(1 + eta·x·v) <= ceiling

    x      ln(rest/u), distance from the size to the rest interval
    v      velocity of demand per interval: with eta, the trap is stiffer while
           demand runs away from the size and softer while it comes back
    k      stiffness: 1 without a lock, down to `stiffness` at full coherence,
           as what is left after the rhythm is taken out is mostly noise

For the oscillator x'' + w²x + eta·w·x²·x' = 0 this means the energy decay
E(t) = E0/(1 + eta·E0·t/(2w)). For sizing the rhythm itself does the work: a
phase lock (`phaselock`) predicts the periodic part of the amplitude for the
interval in which the next size acts, and the filter tracks only the rest.
"""

from __future__ import annotations

from quantum_control.core.estimation import AGILITY, JUMP
from quantum_control.core.numeric import ops_for
from quantum_control.core.physics import Objective
from quantum_control.core.resource import ResourceState
from quantum_control.physics.base import StaffedModel
from quantum_control.physics.phaselock import PhaseLock
from quantum_control.physics.staffing import Staffing

STIFFNESS = 0.9
"""k at full coherence."""

MODULATION = 1.0
"""eta."""

SOFTEST = 0.5
"""Least share of the stiffness that modulation leaves: a trap that lets go altogether would not hold."""


class Parametric(StaffedModel):
    """For periodic, predictable demand.

    Parameters
    ----------
    stiffness
        k at full coherence of the lock, in (0, 1].
    modulation
        eta, feedback of x·v on the stiffness; 0 leaves it constant.
    ceiling
        Largest stiffness; 1 takes out the whole deviation in one interval.
    """

    name = "parametric"

    def __init__(
        self,
        staffing: Staffing | None = None,
        *,
        objective: Objective | None = None,
        agility: float = AGILITY,
        jump: float = JUMP,
        stiffness: float = STIFFNESS,
        modulation: float = MODULATION,
        ceiling: float = 1.0,
    ) -> None:
        super().__init__(staffing, objective=objective, agility=agility, jump=jump)
        self.stiffness = stiffness
        self.modulation = modulation
        self.ceiling = ceiling
        self.lock = PhaseLock()

    def anticipate(self, amplitude: float) -> tuple[float, float]:
        """Periodic part of the amplitude now and when the next size acts, in sqrt(size); 0 without a lock."""
        return self.lock.advance(amplitude, self.phase, self.delay)

    def missed(self, intervals: int) -> None:
        """Let the rhythm go on through `intervals` that were not measured."""
        self.lock.skip(intervals)

    @property
    def regime(self) -> float:
        """1 while a rhythm is locked onto, else 0."""
        locked: float = self.lock.locked
        return locked

    def _next_flow(self, current: ResourceState) -> float:
        """As forecast, with the rhythm of the next interval in place of that when the next size acts."""
        if not self.delay:
            return current.forecast
        xp = ops_for(current.forecast)
        amplitude = xp.maximum(xp.sqrt(current.forecast) - self.lock.beyond, 0.0)
        return amplitude * amplitude

    def calculate_force(self, state: ResourceState) -> float:
        """Modulated stiffness times the distance to the rest interval; 1/s."""
        deviation = self.staffing.deviation(state)
        xp = ops_for(deviation)
        soft = 1.0 - (1.0 - self.stiffness) * self.lock.locked * self.lock.quality
        modulated = 1.0 + self.modulation * deviation * state.velocity * state.interval
        return xp.minimum(soft * xp.maximum(modulated, SOFTEST), self.ceiling) * deviation / state.interval
