"""What the scaler's background tells the process that answers the calls."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Report:
    """What is known of some targets, as columns."""

    numbers: list[int]
    replicas: list[float]
    """Wanted at the last point; nan before the first measurement."""
    value: list[float]
    """Of the query, when it was last measured."""
    waiting: list[float]
    """Of the backlog, likewise."""
    seen: list[int]
    """Point of the grid at which it was last measured; -1 for never."""
    trouble: dict[int, Exception]
    """Why there is no newer measurement, by number."""


@dataclass(slots=True)
class Counts:
    """What has happened, for the metrics."""

    steps: int = 0
    warmed: int = 0
    failures: int = 0
    round_seconds: float = 0.0
    """How long the last round took."""
