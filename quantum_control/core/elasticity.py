"""Whether a larger size brings more throughput: counts at two sizes, and a sequential test of them.

Two sizes u_a < u_b with throughput X_a and X_b are compared by the elasticity

    e = ln(X_b/X_a) / ln(u_b/u_a)

that is, by how many per cent throughput grows where the size grows by one. On
the Universal Scalability Law X(n) = λn/(1 + σ(n - 1) + κn(n - 1)) (N. Gunther,
"Guerrilla Capacity Planning", 2007, ch. 4; λ rate of one, σ contention, κ
coherency)

    e = (1 - σ - κn²) / (1 + σ(n - 1) + κn(n - 1))

about 1 far below, 0 at the peak n* = sqrt((1 - σ)/κ), negative past it. On a
plateau e = 0. Nothing here assumes that curve or another.

N_a and N_b completions have a log ratio of variance φ(1/N_a + 1/N_b) (delta
method), φ being their dispersion, variance over mean: 1 for Poisson. Wald's
sequential probability ratio test (A. Wald, Ann. Math. Stat. 16, 117, 1945)
between e0 = GAIN - WIDTH/2 and e1 = GAIN + WIDTH/2 for a normal estimate e with
standard error s decides as soon as

    WIDTH·|e - GAIN| / s² > ln((1 - α)/α)
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, log, sqrt

GAIN = 0.03
"""Elasticity above which the larger size is worth having: at 1 % of throughput for 33 % of size most
of what a pool can do is had, and every unit costs memory and waits of its own."""

WIDTH = 0.1
"""Elasticities this far apart, about GAIN, are told apart; in between either answer will do. Half of
it would take four times the completions."""

BOUND = log(99.0)
"""Wald's ln((1 - α)/α) for α = 1 % to either side."""

CLEAR = 4.0
"""Standard errors at which a difference is plain at once, however wide the ratio of sizes. Looked at
150 times, as a trial is at most, noise alone gets there in 1 % of all trials at most."""

FLOOR = 1e-6
"""Variance, (0.1 %)², below which no log ratio is known: plants without noise prove nothing by rounding."""

NEAR = 0.04
"""Sizes within 4 % are one size: less than half of the finest ratio that is tried."""

ENOUGH = 64.0
"""Completions, in units of φ, that tell something: their rate is then known to 1/8. A trial of too
small a size loses some 40, so that probing costs a few per cent even where completions are rare."""

BRIEF = 8
"""Intervals after which a state lasts, rather than being chance."""

FADING = 1.02
"""The best throughput seen is forgotten by 2 % a window: halved in 35, some minutes at one second each."""

WELL_BELOW = 0.2
"""Log ratio, -18 %, past which throughput is no longer that of before: less is common drift."""


@dataclass(slots=True)
class Arm:
    """What was counted at one size, or at several about their geometric mean."""

    log_size: float = 0.0
    """Mean logarithm of the size."""
    size: float = 0.0
    """The latest."""
    count: float = 0.0
    """Completions."""
    seconds: float = 0.0
    intervals: int = 0

    def add(self, size: float, count: float, seconds: float, memory: int = 10**9, least: float = 0.0) -> None:
        """Add one interval; those before fade once there are `memory` of them and `least` completions."""
        fade = 1.0
        if self.intervals >= memory and self.count > least:
            fade -= 1.0 / memory
        else:
            self.intervals += 1
        self.log_size += (log(size) - self.log_size) / self.intervals
        self.size = size
        self.count = fade * self.count + count
        self.seconds = fade * self.seconds + seconds


def contrast(a: Arm, b: Arm, dispersion: float) -> tuple[float, float]:
    """Log ratio of the rate of `b` to that of `a`, and its standard error.

    Half a (dispersed) completion is added to either count, so that none has a
    logarithm. The error is taken from the smaller of the count seen and the one
    expected if both rates were equal: a count that is low by chance would
    otherwise claim little, and one that is high much, precision.
    """
    half = 0.5 * dispersion
    pooled = (a.count + b.count) / (a.seconds + b.seconds)
    n_a = min(a.count, pooled * a.seconds) + half
    n_b = min(b.count, pooled * b.seconds) + half
    ratio = (b.count + half) * a.seconds / ((a.count + half) * b.seconds)
    return log(ratio), sqrt(dispersion * (1.0 / n_a + 1.0 / n_b) + FLOOR)


def compare(a: Arm, b: Arm, dispersion: float, settled: bool) -> tuple[bool | None, float, float]:
    """Is the larger of two sizes better (None: open), its elasticity beyond GAIN, and the error of that.

    Before a move has worked through (not `settled`) throughput at `b` lies
    between that of the old size and of the new: only what is plain already,
    and can only get plainer, counts.
    """
    gap, error = contrast(a, b, dispersion)
    width = b.log_size - a.log_size
    excess = gap / width - GAIN
    error /= abs(width)
    plainly_not = (excess if settled else excess + GAIN) < -CLEAR * error
    told = settled and WIDTH * abs(excess) > BOUND * error * error
    if plainly_not or told or excess > CLEAR * error:
        return excess > 0.0, excess, error
    return None, excess, error


class Reach:
    """The largest concurrency that is known to work, saturated or not."""

    def __init__(self) -> None:
        self.proven = 0.0
        """As size; 0 before anything was seen."""
        self._best = Arm()  # the window of the highest throughput
        self._window = Arm()  # the latest intervals, at whatever concurrency
        self._occupied = 0.0  # that concurrency times seconds

    def observe(self, concurrency: float, count: float, seconds: float, dispersion: float) -> None:
        """Take the concurrency of one interval as one that works unless throughput is well below its best."""
        best, window = self._best, self._window
        window.count += count
        window.seconds += seconds
        window.intervals += 1
        self._occupied += concurrency * seconds
        if window.count < ENOUGH * dispersion and window.intervals < BRIEF:
            return
        gap, error = contrast(best, window, dispersion) if best.intervals else (inf, 0.0)
        if gap > -max(WELL_BELOW, error):
            # The arithmetic mean, as throughput's is: by Little's law the two go together, idle or not.
            self.proven = max(self.proven, self._occupied / window.seconds)
        best.seconds *= FADING
        self._best = window if gap > 0.0 else best
        self._window = Arm()
        self._occupied = 0.0
