"""Whether a pool's figures tell of a failure instead of the load."""

from __future__ import annotations

from math import exp, inf, sqrt

from quantum_control.resources.connection_figures import done
from quantum_control.resources.reading import PoolReading

STORM = 0.1
"""Share of failures among the check-outs of an interval from which on they tell of the failure
and not of the load, however usual it is."""

TOLERATED = 0.01
"""Share of failures that is borne in any case: a connection dies now and then."""

USUAL_SECONDS = 3600.0
"""Seconds over which the usual share of failures is averaged: a storm of minutes does not become usual."""

CONFIDENCE = 3.0
"""Standard deviations (of a Poisson number) above what is usual that are no chance."""

SHORTAGE_SECONDS = 1.0
"""Seconds without a new connection after which the missing ones are not taken for being opened:
a few times what it takes over a network with TLS."""


SILENCE = 7.0
"""Check-outs that were due to end and did not: exp(-7) is below one in a thousand."""

PACE_SECONDS = 10.0
"""Seconds over which the pace at which check-outs end is averaged."""


class Trouble:
    """Watches one pool, from reading to reading.

    Failures are a storm from a share of STORM on, and below it while there are
    more than twice the usual share and TOLERATED would bring, by CONFIDENCE. A
    server stalls while connections are in use and none comes back in a time in
    which SILENCE were due.
    """

    def __init__(self) -> None:
        self._short = (inf, 0)  # since when no more connections have come than these while clients wait
        self._usual = 0.0  # share of failures
        self._pace = 0.0  # check-outs ended per second, while there are any
        self._silent = 0.0  # seconds in which connections were in use and none came back

    def observe(self, last: PoolReading, now: PoolReading) -> str:
        """Why these figures tell of a failure instead of the load; empty if they do not."""
        troubles = (self._failures(last, now), self._shortage(last, now), self._stall(last, now))
        return next(filter(None, troubles), "")

    def _failures(self, last: PoolReading, now: PoolReading) -> str:
        completed, failed = done(last, now)
        count = completed + failed
        if not count:
            return ""
        borne = count * (2.0 * self._usual + TOLERATED)
        many = failed >= STORM * count or failed > borne + CONFIDENCE * sqrt(borne)
        usual = self._usual
        self._usual += (1.0 - exp(-(now.time - last.time) / USUAL_SECONDS)) * (failed / count - usual)
        if not (failed and many):
            return ""
        return f"{failed} of {count} check-outs failed, where {usual:.1%} is usual"

    def _shortage(self, last: PoolReading, now: PoolReading) -> str:
        completed, _ = done(last, now)
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

    def _stall(self, last: PoolReading, now: PoolReading) -> str:
        elapsed = now.time - last.time
        ended = sum(done(last, now))
        if ended:
            since = self._silent + elapsed
            weight = 1.0 - exp(-since / PACE_SECONDS) if self._pace else 1.0
            self._pace += weight * (ended / since - self._pace)
        if ended or not (last.busy and now.busy):
            self._silent = 0.0
            return ""
        self._silent += elapsed
        if self._silent * self._pace < SILENCE:
            return ""
        return f"no connection came back for {self._silent:.1f} s, where {self._pace:.3g} a second are usual"
