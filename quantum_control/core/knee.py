"""The size past which throughput no longer grows."""

from __future__ import annotations

from math import inf


class Knee:
    """Placeholder until the search for the knee is in: knows no knee, limits nothing."""

    ceiling: float = inf
    reason: str = ""

    def observe(self, size: float, demand: float, throughput: float, interval: float) -> None:
        """Learn from one interval."""

    def limit(self, size: float, wanted: float) -> float:  # noqa: ARG002
        """Return the allowed part of `wanted`."""
        return wanted
