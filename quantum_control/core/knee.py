"""The size past which throughput no longer grows: learnt by trial, never crossed by a law."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, log, nan

from quantum_control.core.elasticity import (
    BRIEF,
    CLEAR,
    ENOUGH,
    NEAR,
    WELL_BELOW,
    Arm,
    Reach,
    compare,
    contrast,
)
from quantum_control.core.errors import ConfigError
from quantum_control.core.saturation import Saturation
from quantum_control.core.trial import DITHER, LONG, LONGER, Search, Trial

GROWTH = 4.0
"""Factor beyond what has worked by which a size may grow at a time: from 10 to 500 in three."""

AT_KNEE = 0.85
"""Share of the ceiling from which on a size is at the knee."""

MEMORY = 192
"""Intervals of evidence at the size kept, somewhat more than a trial lasts; with few completions,
those that hold 6·ENOUGH of them."""

PATIENCE = 24
"""Intervals without an answer, of actuator or sensor, after which a trial or the way back is given up."""


class Knee:
    """Learns the size past which throughput no longer grows, and keeps a law from crossing it.

    While the pool is saturated (`core.saturation`) a smaller and then a larger
    size are tried in turns with the one in force, and the larger is kept if
    its elasticity of throughput is above 0.03 (`core.elasticity`). The ratio
    of the sizes goes from 4 to 1.09 as far as noise lets them be told apart.
    The search starts anew when throughput at the size kept shifts, and else
    after 16 to 64 intervals (up to 256 while no knee is known).
    """

    name = "knee"
    """Under which it is remembered."""

    def __init__(self) -> None:
        self.ceiling: float = inf
        """Largest size that the evidence supports, as size; inf while no knee is known."""
        self._pool = Saturation()
        self._reach = Reach()
        self._base = Arm()  # evidence at the size kept
        self._recent = Arm()  # its last four intervals: has the work changed?
        self._stay = Arm()  # evidence since the last move, where neither kept nor on trial
        self._trial: Trial | None = None
        self._verdict = Arm(), Arm()  # the sizes last told apart, smaller first
        self._search = Search()
        self._home = 0.0  # size to come back to from a trial: until then there is no evidence
        self._gap = inf  # how far it still was, as a logarithm
        self._patience = 0  # intervals to wait for that; 0 if nowhere to come back to
        self._blind = 0  # calls of limit() since there was last anything to learn from
        self._limiting = ""  # what the last limit() kept to
        self._useful = inf  # the most of use, where it kept to that

    def observe(self, size: float, demand: float, throughput: float, interval: float) -> None:
        """Learn from an interval; one with values that make no sense is ignored.

        Parameters
        ----------
        size
            In force during it.
        demand
            At its end, as size.
        throughput
            Completions per second in it: no moving average, which would hide what a change of size did.
        interval
            Seconds.
        """
        if not (
            1e-9 < size < 1e18 and 0.0 <= demand < 1e18 and 0.0 <= throughput < 1e18 and 1e-6 < interval < 1e9
        ):
            return
        self._blind = 0
        pool = self._pool
        count = throughput * interval
        if self._trial:
            self._trial.stalled += 1
            if demand < size or self._trial.stalled > PATIENCE:
                self._conclude(self._trial, None)
        self._reach.observe(min(size, demand), count, interval, pool.dispersion)
        self._reach.proven = self._reach.proven or size
        if self._trial and size != pool.size and (size - pool.size) * (self._trial.goal - size) >= 0.0:
            self._trial.stalled = 0  # on its way, if slowly
        worth = count / (ENOUGH * pool.dispersion)
        saturated = pool.observe(size, demand, count, interval)
        if pool.fresh:
            self._stay = Arm()
        if not saturated:
            if demand < size:
                self._patience = 0
            return
        self._search.hold -= min(1.0, worth)
        if self._trial:
            self._judge(self._trial, size, count, interval)
        else:
            self._follow(size, count, interval)

    def limit(self, size: float, wanted: float, useful: float = nan) -> float:
        """Return what the evidence supports of the `wanted` size, `size` being in force.

        Call it once an interval, also where nothing was measured: what is known still holds.
        `useful` is the largest size that the resource itself tells it can make use of now (inf: any;
        nan: it cannot tell): growth need not feel its way up to there, and ends there.
        """
        self._blind += 1
        if self._trial and self._blind > PATIENCE:
            self._conclude(self._trial, None)
        cap, self._limiting = self.ceiling, "ceiling"
        if self._trial:
            cap, self._limiting = self._trial.goal, "trial"
        proven = self._reach.proven
        untried = max(GROWTH * proven, size)
        if useful > 0.0:
            if useful < cap:
                cap, self._limiting = useful, "useful"
                self._useful = useful
        elif proven and untried < cap:
            cap, self._limiting = untried, "untried"
        if wanted > cap:
            return cap
        self._limiting = ""
        return wanted

    @property
    def reason(self) -> str:
        """Why the last `limit()` allowed less than was wanted; empty if it did not."""
        if self._limiting == "untried":
            return f"knee: {self._reach.proven:.6g} is the most that is known to work"
        if self._limiting == "useful":
            return f"knee: {self._useful:.6g} is the most that the resource can make use of"
        if self._limiting == "trial" and self._trial:
            return f"knee: comparing {self._trial.target:.6g} with {self._trial.home:.6g}"
        if not self._limiting:
            return ""
        if not self._verdict[0].seconds:
            return f"knee: before a restart, nothing above {self.ceiling:.6g} was better"
        (small, slow), (large, fast) = ((arm.size, arm.count / arm.seconds) for arm in self._verdict)
        how = "below" if fast < slow else ("hardly above" if small <= self.ceiling < large else "above")
        return f"knee: throughput at {large:.6g} ({fast:.4g}/s) is {how} that at {small:.6g} ({slow:.4g}/s)"

    def learned(self) -> dict[str, object]:
        """The ceiling and the largest size that has worked; empty while no knee is known."""
        if self.ceiling == inf:
            return {}
        return {"ceiling": self.ceiling, "proven": self._reach.proven}

    def recall(self, learned: Mapping[str, object]) -> None:
        """Go on from what `learned()` returned; the ceiling is tried anew as soon as the pool is saturated.

        Raises
        ------
        ConfigError
            It is not what `learned()` returns.
        """
        ceiling, proven = learned.get("ceiling"), learned.get("proven")
        for value in (ceiling, proven):
            if not isinstance(value, float | int) or not 0.0 <= value < inf:
                raise ConfigError(f"a ceiling of {ceiling!r} and a proven size of {proven!r} are recorded")
        self.ceiling, self._reach.proven = float(str(ceiling)), float(str(proven))

    def _compare(self, rival: Arm) -> tuple[bool | None, float, float]:
        return compare(self._base, rival, self._pool.dispersion, self._pool.flushed)

    def _keep(self, arm: Arm) -> None:
        """Go on from the size of `arm`, or from none."""
        self._base, self._recent, self._stay = arm, Arm(), Arm()

    def _follow(self, size: float, count: float, interval: float) -> None:
        """Learn at a size that the law chose."""
        gap = abs(log(size / self._home)) if self._patience else 0.0
        if gap > NEAR:
            self._patience = PATIENCE if gap < self._gap else self._patience - 1
            self._gap = min(gap, self._gap)
            return
        self._patience, base = 0, self._base
        if base.intervals and log(size) > base.log_size + NEAR:
            self._stay.add(size, count, interval)
            larger, _, _ = self._compare(self._stay)
            if larger is not None:
                self._search.widen()
                self._conclude(Trial(base.size, size, True, self._stay), larger)
            elif self._stay.intervals >= (LONG if size > 1.5 * base.size else BRIEF):
                self._keep(self._stay)
        elif self._pool.flushed:
            if not base.intervals or log(size) < base.log_size - NEAR:
                self._keep(Arm())
            if not self._shifted(size, count, interval):
                self._plan(self._base)

    def _shifted(self, size: float, count: float, interval: float) -> bool:
        """Add to the evidence at the size kept; start over if throughput there has shifted."""
        self._recent.add(size, count, interval, 4)
        if self._base.intervals >= BRIEF and self._recent.intervals >= 3:
            gap, error = contrast(self._base, self._recent, self._pool.dispersion)
            if abs(gap) > max(WELL_BELOW, CLEAR * error):
                self._keep(Arm())
                self._trial = None
                self._search.restart()
                return True
        self._base.add(size, count, interval, MEMORY, 6.0 * ENOUGH * self._pool.dispersion)
        return False

    def _plan(self, base: Arm) -> None:
        """Start a trial once one is due, what it is compared with is known and a backlog feeds it.

        None where the resource itself has told that more is of no use.
        """
        lasting = self._pool.run >= (BRIEF if self._pool.demand >= 1.5 * base.size else 2 * BRIEF)
        known = base.intervals >= 3 and base.count >= ENOUGH * self._pool.dispersion
        told = self._limiting == "useful"  # the resource has answered already
        if self._search.hold > 0.0 or not lasting or not known or told:
            return
        trial = self._trial = self._search.trial(base.size, base.size >= AT_KNEE * self.ceiling)
        if trial.target < 1.0:
            self._conclude(trial, None)

    def _judge(self, trial: Trial, size: float, count: float, interval: float) -> None:
        """Learn during a trial: compare, change sides at the end of a turn, cut short what stays open."""
        flushed = self._pool.flushed
        rival = trial.rival if flushed else self._stay
        span = abs(log(trial.target / trial.home))
        there = abs(log(size / trial.target)) <= 0.3 * span
        if not there and abs(log(size / trial.home)) > min(0.3 * span, 0.1):
            return
        if there == trial.away:
            trial.stalled = 0
            trial.left -= flushed
        if there and (flushed or trial.away):
            rival.add(size, count, interval)
        elif not flushed or self._shifted(size, count, interval) or not rival.intervals:
            return
        larger, excess, error = self._compare(rival)
        if larger is None and trial.left <= 0:
            wide = span > 1.5 * DITHER
            if trial.away or rival.intervals < (LONG if wide else LONGER):
                trial.swap(rival.intervals)
                return
            # Cut short; where noise hides what a wide ratio does, the smaller size will do.
            larger = excess > (error if wide else 0.0)
            self._search.blurred |= not trial.up
        if larger is not None:
            trial.rival = rival
            self._conclude(trial, larger)

    def _conclude(self, trial: Trial, larger: bool | None) -> None:
        """End a trial (None: a draw) and go on: same direction, the other one, a finer ratio, or rest."""
        self._trial = None
        small, large = (self._base, trial.rival) if trial.up else (trial.rival, self._base)
        if larger is not None:
            self._verdict = small, large
        if larger:
            self._reach.proven = max(self._reach.proven, large.size)
            self.ceiling = max(self.ceiling, large.size)
        elif larger is False:
            self.ceiling = min(self.ceiling, small.size)
        if larger is trial.up:
            self._keep(trial.rival)
            self._search.won(known=self.ceiling < inf)
            return
        self._home, self._gap, self._patience = trial.home, inf, PATIENCE
        self._search.failed(trial.up, self._base.size, self._base.size >= AT_KNEE * self.ceiling)
