"""Who may take part in a set of servers: out on errors or silence, back on trial, never all out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import sqrt

from quantum_control.core.errors import ConfigError

MAX_OUT = 0.5
"""Largest part of the set that may be out. Past it the trouble is likely not in the servers, and the
rest could not carry the load (Envoy's panic threshold is the same half)."""

HOLD = 10
"""Intervals for which a server is out the first time; doubled each further time."""

LONGEST_HOLD = 320
"""Intervals for which a server is out at most before it is tried again."""

CONFIDENCE = 3.0
"""Standard deviations by which a failure ratio has to stand out."""

TOLERATED = 0.05
"""Failure ratio that no server is ejected for."""

FEWEST_FAILURES = 2.5
"""Recent failures below which nothing is concluded; three in one interval are enough."""

SILENCE = 7.0
"""Answers that were due and did not come: exp(-7) is below one in a thousand."""

PILE_UP = 5.0
"""Standard deviations above its mean at which the number under way speaks for a stall."""

FEWEST_HELD = 2.0
"""Requests under way below which silence may be one slow request."""

PASSED = 2
"""Answers without a failure after which a trial is passed."""

IMPATIENCE = 2
"""Intervals that a request on trial may stay without an answer."""

RECENT = 0.5
"""Weight, per interval, with which past failures and answers count."""


@dataclass(frozen=True, slots=True)
class Observation:
    """One server over one interval."""

    rate: float
    """Requests sent to it per second."""
    ended: float
    """Requests that ended there, well or badly, per second."""
    failures: float
    """Of these, the ones that failed, per second."""
    in_flight: float
    """Requests under way there, at the end of the interval or averaged over it."""
    up: bool = True
    """Whether the balancer itself takes it for usable."""


class Standing(StrEnum):
    """How far a server takes part."""

    IN = "in"
    DOWN = "down"
    """The balancer itself has taken it for unusable."""
    OUT = "out"
    """Drained: it gets nothing."""
    TRIAL = "trial"
    """It gets a trickle, to see whether it is well again."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """A standing and why."""

    standing: Standing
    reason: str = ""
    """Why it is not IN; or why it would not be, where it stays for want of another or by the cap."""


class _Record:
    """One server's recent past."""

    __slots__ = (
        "ended",
        "failed",
        "held",
        "hold",
        "in_flight",
        "offences",
        "passed",
        "reason",
        "silent",
        "standing",
        "well",
    )

    def __init__(self) -> None:
        self.standing = Standing.IN
        self.reason = ""
        self.ended = 0.0  # recent answers, discounted
        self.failed = 0.0  # recent failures, discounted
        self.held = 0.0  # under way at the end of the last interval
        self.in_flight = -1.0  # usual number under way; below 0 is unknown
        self.silent = 0.0  # seconds with requests under way and none answered
        self.hold = 0  # intervals left to be out
        self.offences = 0  # times it was put out, forgotten after as long as it would be out
        self.passed = 0.0  # answers of the trial under way
        self.well = 0  # intervals since it came back

    def eject(self, reason: str) -> None:
        self.standing = Standing.OUT
        self.reason = reason
        self.hold = min(HOLD * 2**self.offences, LONGEST_HOLD)
        self.offences += 1
        self.ended = self.failed = self.silent = self.passed = 0.0
        self.in_flight = -1.0
        self.well = 0


class Ejection:
    """Ejects servers that fail or fall silent, within a cap, and tries them again.

    A server is out when its failure ratio is above twice that of the others
    by more than TOLERATED, with CONFIDENCE (Wilson's lower bound, J. Am.
    Stat. Assoc. 22, 1927); when all fail alike nobody is. Or when it holds
    requests and answered none for an interval in which SILENCE answers were
    due, or in which they piled up.

    Parameters
    ----------
    max_out
        Largest part of the set that may be out, those counted that the
        balancer itself has taken down. In [0, 1]. One server that is up stays
        in whatever this says.

    Raises
    ------
    ConfigError
        `max_out` is not in [0, 1].
    """

    def __init__(self, max_out: float = MAX_OUT) -> None:
        if not 0.0 <= max_out <= 1.0:
            raise ConfigError(f"max_out={max_out!r}: the part of the servers that may be out, 0 to 1")
        self.max_out = max_out
        self._records: dict[str, _Record] = {}

    def step(
        self, seen: Mapping[str, Observation], interval: float, capacities: Mapping[str, float]
    ) -> dict[str, Ruling]:
        """Rule on each server, given what was seen in `interval` seconds and μ (1/s) where it is known."""
        self._records = records = {name: self._records.get(name) or _Record() for name in seen}
        suspects: list[tuple[float, str, str]] = []
        for name, one in seen.items():
            record = records[name]
            if record.standing is Standing.OUT:
                self._wait(record, one.up)
                continue
            self._note(record, one, interval)
            if record.standing is Standing.TRIAL:
                self._try(record, one, interval)
        pool_ended = sum(record.ended for record in records.values() if record.standing is Standing.IN)
        pool_failed = sum(record.failed for record in records.values() if record.standing is Standing.IN)
        for name, one in seen.items():
            record = records[name]
            if record.standing is not Standing.IN or not one.up:
                continue
            stall = _stalled(record, one, capacities.get(name, 0.0))
            if stall:
                suspects.append((2.0, name, stall))
            else:
                others = (pool_failed - record.failed) / max(pool_ended - record.ended, 1.0)
                excess = _lower_bound(record.failed, record.ended) - TOLERATED - 2.0 * others
                if record.failed >= FEWEST_FAILURES and excess > 0.0:
                    ratio = record.failed / record.ended
                    suspects.append((excess, name, f"{ratio:.0%} failed; {others:.0%} elsewhere"))
            # Learnt last, so that what is judged is not yet part of the measure.
            if not stall:
                record.in_flight = (
                    one.in_flight
                    if record.in_flight < 0.0
                    else record.in_flight + 0.1 * (one.in_flight - record.in_flight)
                )
        self._put_out(sorted(suspects, reverse=True), seen)
        if not any(one.up and records[name].standing is Standing.IN for name, one in seen.items()):
            self._readmit(seen)
        kept = {name: reason for _, name, reason in suspects if records[name].standing is Standing.IN}
        return {
            name: Ruling(record.standing, record.reason or kept.get(name, ""))
            for name, record in records.items()
        }

    def _readmit(self, seen: Mapping[str, Observation]) -> None:
        """With nobody else left, a server that is sick is better than none."""
        for name, one in seen.items():
            if one.up:
                self._records[name].standing = Standing.IN
                self._records[name].reason = ""

    def _put_out(self, suspects: list[tuple[float, str, str]], seen: Mapping[str, Observation]) -> None:
        standing = {
            name for name, one in seen.items() if one.up and self._records[name].standing is Standing.IN
        }
        allowed = int(self.max_out * len(seen)) - (len(seen) - len(standing))
        for _, name, reason in suspects[: max(0, allowed)]:
            if standing == {name}:
                return
            standing.discard(name)
            self._records[name].eject(reason)

    @staticmethod
    def _wait(record: _Record, up: bool) -> None:
        record.hold = max(0, record.hold - 1)
        if record.hold == 0 and up:
            record.standing = Standing.TRIAL
            record.reason = f"on trial; was out: {record.reason.removeprefix('on trial; was out: ')}"

    @staticmethod
    def _note(record: _Record, one: Observation, interval: float) -> None:
        record.ended = record.ended * RECENT + one.ended * interval
        record.failed = record.failed * RECENT + one.failures * interval
        # Only what was under way at the beginning too has waited for the whole of the interval.
        held = min(one.in_flight, record.held)
        record.held = one.in_flight
        record.silent = record.silent + interval if one.ended <= 0.0 < held else 0.0
        record.well += 1
        if record.offences and record.well > HOLD * 2**record.offences:
            record.offences = 0

    @staticmethod
    def _try(record: _Record, one: Observation, interval: float) -> None:
        record.passed += one.ended * interval
        if one.failures > 0.0:
            record.eject("failed its trial")
        elif record.silent > IMPATIENCE * interval:
            record.eject("did not answer on trial")
        elif record.passed >= PASSED:
            record.standing = Standing.IN
            record.reason = ""
            record.well = 0


def _stalled(record: _Record, one: Observation, capacity: float) -> str:
    """Why the server is taken for stalled; empty if it is not."""
    if record.silent <= 0.0:
        return ""
    usual = record.in_flight
    piled = usual >= 0.0 and one.in_flight > usual + PILE_UP * sqrt(usual * (1.0 + usual)) + FEWEST_HELD
    if piled or (one.in_flight >= FEWEST_HELD and capacity * record.silent >= SILENCE):
        return f"no answer for {record.silent:.3g} s with {one.in_flight:.0f} under way"
    return ""


def _lower_bound(failed: float, ended: float) -> float:
    """Wilson's lower bound of a ratio of counts at CONFIDENCE; 0 where there is none."""
    if ended <= 0.0:
        return 0.0
    failed, squared = min(failed, ended), CONFIDENCE * CONFIDENCE
    spread = CONFIDENCE * sqrt(failed * (1.0 - failed / ended) + squared / 4.0)
    return (failed + squared / 2.0 - spread) / (ended + squared)
