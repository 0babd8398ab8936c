"""What a controller counts for whoever watches it: decisions, interventions, roll-backs, time, cost."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from quantum_control.core.physics import Objective
from quantum_control.core.resource import ResourceState


@dataclass(slots=True)
class Tally:
    """Counts since the start; read from any thread, written by the one that steps."""

    held: int = 0
    """Steps that left the size as it was."""
    changed: int = 0
    """Steps that applied a new size."""
    failed: int = 0
    """Steps that failed while the resource was steered."""
    suspended: int = 0
    """Steps taken while the resource was handed back."""
    interventions: dict[str, int] = field(default_factory=dict)
    """Steps at which a size was held back or replaced, by who did that: a limit of the guard ("maximum",
    "slew limit", ...), "knee", or the type of a link ("hold off", "quiet hours", ...)."""
    handed_back: int = 0
    """Times that failures made the controller put the original size back."""
    put_back: int = 0
    """Times that `stop()` put the original size back."""
    seconds: float = 0.0
    """Time that all steps took, with the answers of the resource."""
    cost: float = 0.0
    """Waiting, size and changes of all intervals, in the objective's prices."""
    cost_at_original: float = 0.0
    """Estimate of what `cost` would be at the size found at the start: that of a fluid queue with the
    same flow, b = max(0, b + flow - size), which supposes that the flow does not depend on the size."""
    _backlog: float = 0.0  # of that queue
    _size: float = 0.0  # in force at the last charge; 0 before it

    @property
    def outcomes(self) -> dict[str, int]:
        """Steps by `Outcome`."""
        return {
            "changed": self.changed,
            "held": self.held,
            "failed": self.failed,
            "suspended": self.suspended,
        }

    @property
    def saving(self) -> float:
        """Part of the cost at the original size that was saved, estimated; negative is a loss. Unit 1."""
        return 1.0 - self.cost / self.cost_at_original if self.cost_at_original else 0.0

    def intervened(self, who: str) -> None:
        """Count an intervention of `who`, of which there are to be few different ones."""
        self.interventions[who] = self.interventions.get(who, 0) + 1

    def charge(self, state: ResourceState, original: int, prices: Objective) -> None:
        """Charge the interval that `state` ended, and what it would have cost at size `original`."""
        size, waiting = state.size, prices.waiting
        backlog = size * state.position
        if backlog < 0.0:
            backlog = 0.0
        if self._size:
            moved = size - self._size
            left = self._backlog + state.flow - original
            if left < 0.0:
                left = 0.0
        else:
            moved, left = 0.0, backlog
        self._size, self._backlog = size, left
        self.cost += waiting * backlog + prices.size * size + prices.change * abs(moved)
        self.cost_at_original += waiting * left + prices.size * original


def kind_of(link: object) -> str:
    """Name under which the interventions of a link are counted: its type's, in words."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", type(link).__name__.strip("_")).lower()
