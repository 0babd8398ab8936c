"""The record of one step: what was seen, what was wanted, what was allowed, why."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import nan

from quantum_control.core.quick import quickly_made
from quantum_control.core.resource import ResourceState


class Outcome(StrEnum):
    """How a step ended."""

    CHANGED = "changed"
    """A new size was applied."""
    HELD = "held"
    """The size was left as it is."""
    FAILED = "failed"
    """The resource could not be measured or set, or the law gave no answer; the size was left as it is."""
    SUSPENDED = "suspended"
    """Too many failures: the original size is put back, and only measurements are taken."""


@dataclass(frozen=True, slots=True)
class Decision:
    """One step of the loop."""

    time: float
    """Seconds on the controller's clock."""
    outcome: Outcome
    state: ResourceState | None
    """What was seen; None if nothing could be measured."""
    force: float
    """What the law answered, 1/s; 0 if it was not asked or gave no answer."""
    setpoint: float
    """Position at which the law wants to rest; 0 likewise."""
    wanted: float
    """Size that the force asked for, in fractions of a unit too; the size that was kept if there was none."""
    allowed: int
    """Size ordered at the end of the step: what the guard let through, or the old one if the step
    failed; 0 while no size is known."""
    reasons: tuple[str, ...] = ()
    """Why `allowed` is not `wanted`, or why the step failed; empty if nothing intervened."""

    @staticmethod
    def standing(
        time: float,
        outcome: Outcome,
        size: int,
        why: str,
        state: ResourceState | None = None,
        *,
        force: float = 0.0,
        wanted: float = nan,
    ) -> Decision:
        """Record a step that left the `size` alone, with as much as it had come to know."""
        wanted = size if wanted != wanted else wanted
        return quick_decision(time, outcome, state, force, 0.0, wanted, size, (why,))

    def __str__(self) -> str:
        """One line for a person: outcome, what was seen, wanted and allowed, and why."""
        seen = "" if self.state is None else f"demand {self.state.demand:.4g} at size {self.state.size:.4g}, "
        why = f": {'; '.join(self.reasons)}" if self.reasons else ""
        return (
            f"{self.outcome}: {seen}force {self.force:+.3g}/s, wanted {self.wanted:.4g}, "
            f"allowed {self.allowed}{why}"
        )


quick_decision = quickly_made(Decision)
