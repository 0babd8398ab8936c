"""Whether a pool's figures tell of a failure instead of the load."""

from __future__ import annotations

from math import inf

from quantum_control.resources.connection_figures import done
from quantum_control.resources.reading import PoolReading

STORM = 0.1
"""Share of failures among the check-outs of an interval from which on they tell of the failure
and not of the load."""

SHORTAGE_SECONDS = 1.0
"""Seconds without a new connection after which the missing ones are not taken for being opened:
a few times what it takes over a network with TLS."""


class Trouble:
    """Watches one pool, from reading to reading."""

    def __init__(self) -> None:
        self._short = (inf, 0)  # since when no more connections have come than these while clients wait

    def observe(self, last: PoolReading, now: PoolReading) -> str:
        """Why these figures tell of a failure instead of the load; empty if they do not."""
        completed, failed = done(last, now)
        if failed and failed >= STORM * (completed + failed):
            return f"{failed} of {completed + failed} check-outs failed"
        if not (last.waiting and last.alive < last.size and now.waiting and now.alive < now.size):
            self._short = (inf, 0)
            return ""
        if self._short[0] == inf:
            self._short = (last.time, last.alive)
        if now.alive > self._short[1]:  # they are still being opened
            self._short = (now.time, now.alive)
        since, _ = self._short
        if completed and now.time - since < SHORTAGE_SECONDS:
            return ""
        return f"{now.waiting} wait while the server gives {now.alive} connections of {now.size}"
