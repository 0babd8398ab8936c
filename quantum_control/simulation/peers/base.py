"""What the peers share: they name a size, the force follows from it."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from math import inf, log

from quantum_control.core.errors import ConfigError
from quantum_control.core.numeric import SCALAR, Ops, ops_for
from quantum_control.core.physics import PhysicsModel
from quantum_control.core.resource import ResourceState

SMALLEST = 1e-9
"""Floor of a wanted size, so that its logarithm exists. Far below any resource's own minimum."""

ROUNDING = 1e-9
"""What a whole number may have lost on its way through logarithm and exponential, or in log10(1000)."""


class Peer(PhysicsModel):
    """A published law, written as the size that it wants.

    Peers are given the same states as our laws but read only what their
    originals could measure: size, demand, flow and backlog, throughput and
    latency; never forecast, spread or temperature, which are our estimator's.
    Memory starts with the first state and takes its shape: a float, or an
    array of one row a run.
    """

    @abstractmethod
    def wanted_size(self, state: ResourceState) -> float:
        """Size that the law asks for after having seen `state`, in the resource's own unit."""

    def calculate_force(self, state: ResourceState) -> float:
        """F = ln(wanted/ordered)/interval, so that ordered·exp(F·interval) is the size wanted; 1/s."""
        wanted = self.wanted_size(state)
        xp = ops_for(wanted - state.size)
        return xp.log(xp.maximum(wanted, SMALLEST) / ordered(state)) / state.interval

    def predict_next_state(self, current: ResourceState) -> ResourceState:
        """Return the state itself, one interval later: none of the peers publishes a forecast."""
        return replace(current, time=current.time + current.interval)


def ordered(state: ResourceState) -> float:
    """Size last ordered; the size in force where that is not known."""
    commanded = state.commanded
    if ops_for(commanded) is SCALAR and commanded != commanded:
        return state.size
    return commanded


def round_trip(state: ResourceState) -> float:
    """Latency as a client sees it: wait plus service.

    Where it is not measured, in units of the service time: max(1, w/u), which
    is what a queue served in order makes of demand above the size.
    """
    measured = state.wait_seconds + state.service_seconds
    xp = ops_for(state.position + measured)
    return xp.where(measured == measured, measured, xp.maximum(1.0, 1.0 + state.position))


def in_flight(state: ResourceState, xp: Ops) -> float:
    """Part of the demand that is in use. As size."""
    return xp.minimum(state.demand, state.size)


def floor(x: float) -> float:
    """Largest whole number not above x, of a float or of each of an array."""
    return (x + ROUNDING) // 1.0


def ceil(x: float) -> float:
    """Smallest whole number not below x, of a float or of each of an array."""
    return -((ROUNDING - x) // 1.0)


def whole_log10(x: float, xp: Ops) -> float:
    """max(1, floor(log10 x)), the step of Netflix's limits."""
    return xp.maximum(1.0, floor(xp.log(xp.maximum(x, 1.0)) / log(10.0)))


def require(law: str, **ranges: tuple[float, float, float]) -> None:
    """Check that each parameter (value, lowest, highest) lies in its range, ends included."""
    for name, (value, lowest, highest) in ranges.items():
        if not lowest <= value <= highest:
            top = "" if highest == inf else f" and {highest} at most"
            raise ConfigError(f"{law}({name}={value!r}): {lowest} at least{top}")
