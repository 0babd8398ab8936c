"""When throughput tells of the size rather than of the load, and how much it fluctuates."""

from __future__ import annotations

from math import log

from quantum_control.core.elasticity import BRIEF, NEAR

CARRY = 50
"""Intervals after which a move has worked through at the latest: where completions are so rare that
they cannot tell, waiting longer would stop the search."""

AT_ONCE = 8.0
"""An interval with that many completions per unit of size contains its own transient."""

BRIDGE = 3.0
"""Backlogs a·b at both ends, over φN, past which it was empty in between with exp(-3) = 5 % at most."""

SAMPLES = 50.0
"""Intervals over which the dispersion is averaged."""

PRIOR = 4.0
"""Intervals that the dispersion 1, of a Poisson process, stands for at first."""

LEAST_DISPERSION = 1e-4
"""Completions this regular count for all; a pool that is all constants must not divide by zero."""


class Saturation:
    """Tells whether a pool is saturated, whether the last move has worked through, and the dispersion.

    Throughput is the capacity of the size only while work waits throughout the
    interval. After a move the jobs then in service still complete as the old
    size lets them: it has worked through once as many have completed as fit in.
    """

    def __init__(self) -> None:
        self.size = 0.0
        """In force; 0 before the first interval."""
        self.demand = 0.0
        """At the end of the last interval."""
        self.run = 0
        """Intervals saturated since there was last slack."""
        self.flushed = True
        """Whether the last move has worked through."""
        self.fresh = False
        """Whether this interval is the first after a move, or the first after one has worked through."""
        self.dispersion = 1.0
        """φ, variance over mean of the completions of an interval; 1 is Poisson."""
        self._samples = PRIOR
        self._previous = -1.0  # completions of the interval before; negative if not comparable
        self._seconds = 0.0  # its length
        self._turnover = 0.0  # completions that work a move through
        self._passed = 0.0  # completions since the move
        self._age = 0  # intervals since the move
        self._streak = 0  # intervals in a row that ended full

    def observe(self, size: float, demand: float, count: float, seconds: float) -> bool:
        """Take in an interval of `count` completions, `demand` at its end; tell whether it was saturated."""
        self.fresh = False
        if size != self.size:
            self._move(size)
        flushed = self._passed >= self._turnover or self._age >= CARRY or count >= AT_ONCE * self._turnover
        self.fresh = self.fresh or flushed > self.flushed
        self.flushed = flushed
        self._passed += count
        self._age += 1
        full = demand >= size
        self._streak = self._streak + 1 if full else 0
        # Full at both ends may be empty in between: a Brownian bridge of variance 2φN from backlog a to b is
        # zero once with probability exp(-ab/φN). A run of full snapshots settles it, too.
        bridged = (self.demand - size) * (demand - size) >= BRIDGE * self.dispersion * count
        self.demand = demand
        if self._streak < (2 if bridged else BRIEF):
            self._previous = -1.0
            if not full:
                self.run = 0
            return False
        self.run += 1
        if flushed:
            self._disperse(count, seconds)
        return True

    def _move(self, size: float) -> None:
        """Start a stay at `size`: at first throughput is neither that of the old size nor of the new."""
        if self.size and abs(log(size / self.size)) > NEAR:
            self._turnover = max(size, self.size)
            self._passed = 0.0
            self._age = 0
            self.flushed = False
            self.fresh = True
        self.size = size
        self._previous = -1.0

    def _disperse(self, count: float, seconds: float) -> None:
        """Learn φ from two successive intervals.

        N completions in t and M in s seconds, of one rate r = (N + M)/(t + s),
        differ in their rates by a variance of φ·r·(1/t + 1/s).
        """
        before, self._previous = self._previous, count
        length, self._seconds = self._seconds, seconds
        if before >= 0.0 and count + before > 0.0:
            difference = count / seconds - before / length
            rate = (count + before) / (seconds + length)
            sample = difference * difference / (rate * (1.0 / seconds + 1.0 / length))
            self._samples = min(self._samples + 1.0, SAMPLES)
            phi = self.dispersion + (sample - self.dispersion) / self._samples
            self.dispersion = max(phi, LEAST_DISPERSION)
