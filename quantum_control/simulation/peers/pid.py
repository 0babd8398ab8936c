"""PID on the logarithm of the size."""

from __future__ import annotations

from math import inf

from quantum_control.core.numeric import ops_for
from quantum_control.core.resource import ResourceState
from quantum_control.simulation.peers.base import Peer, ordered, require

PROPORTIONAL = 0.2
INTEGRAL = 0.5
DERIVATIVE = 0.0
TARGET = 0.9
"""Tuned once, on the mean over bursts, periods, steps and heavy tails; one setting for all."""

LEAST_PRESSURE = 0.05
"""Floor of w/(target·u): an idle interval has no logarithm, and is not evidence of ever less."""


class Pid(Peer):
    """Incremental PID with the error e = ln(w/(target·u)), u being the size in force.

        ln u <- ln u + Kp·(e_t - e_(t-1)) + Ki·e_t + Kd·(e_t - 2·e_(t-1) + e_(t-2))

    The increment is added to the size that was really ordered, not to an
    integral of its own, so that a bound, a slew limit or a rounding cannot
    wind it up. The plant's gain from ln u to e is -1 for every resource, which
    is why one tuning fits all sizes.

    References
    ----------
    K. Åström and T. Hägglund, PID Controllers: Theory, Design and Tuning, 2nd
    ed. (1995), sec. 3.5 (wind-up, velocity algorithms).
    """

    name = "pid"

    def __init__(
        self,
        proportional: float = PROPORTIONAL,
        integral: float = INTEGRAL,
        derivative: float = DERIVATIVE,
        target: float = TARGET,
    ) -> None:
        require(
            "Pid",
            proportional=(proportional, 0.0, inf),
            integral=(integral, 0.0, inf),
            derivative=(derivative, 0.0, inf),
            target=(target, 1e-9, inf),
        )
        self.proportional = proportional
        self.integral = integral
        self.derivative = derivative
        self.target = target
        self._last: float | None = None  # e of the interval before; None before the first state
        self._before: float = 0.0  # e of the one before that

    def wanted_size(self, state: ResourceState) -> float:
        """Next size."""
        pressure = (1.0 + state.position) / self.target
        xp = ops_for(pressure)
        error = xp.log(xp.maximum(pressure, LEAST_PRESSURE))
        last, before = (error, error) if self._last is None else (self._last, self._before)
        self._last, self._before = error, last
        move = (
            self.proportional * (error - last)
            + self.integral * error
            + self.derivative * (error - 2.0 * last + before)
        )
        return ordered(state) * xp.exp(move)
