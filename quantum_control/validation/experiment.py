"""The experiment: a plan becomes blocks, in an order drawn anew for each pair, and the blocks become data."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from quantum_control.core.errors import QuantumControlError
from quantum_control.validation.bed import PILOT, RUN, WARM_UP, Bed, Turn
from quantum_control.validation.calibration import calibrated
from quantum_control.validation.machine import add_start
from quantum_control.validation.pilot import PILOT_FOLDER, pilot_power, power_told
from quantum_control.validation.plan import DEFAULT, UNSTEERED, WATCHED, Metric, Plan, ResourcePlan
from quantum_control.validation.records import Failure, Records, Row, Sample, by_pair
from quantum_control.validation.sequential import ConfidenceSequence, Interval
from quantum_control.validation.tables import write

ATTEMPTS = 3
"""Times that a pair is played if one of its blocks fails."""

CALIBRATION, PLAN = "calibration.json", "plan.toml"

Tell = Callable[[str], object]


class BlockFailedError(QuantumControlError):
    """A block failed again and again."""


class EndedEarlyError(QuantumControlError):
    """The experiment must not go on; the block under way is not repeated."""


class _AttemptError(Exception):
    """A block of an arm failed."""

    def __init__(self, arm: str, error: Exception) -> None:
        super().__init__(arm)
        self.arm, self.error = arm, error


@dataclass
class Watch:
    """How the primary metric stands, at every moment; for people who look early."""

    metric: Metric
    sequence: ConfidenceSequence
    _stretch: int = -1
    _values: list[float] = field(default_factory=list)
    dropped: int = 0
    """Pairs that had no value."""

    def take(self, stretch: int, ours: float, other: float) -> None:
        """Take one pair; a stretch counts once it is over."""
        if stretch != self._stretch and self._values:
            self.sequence.take(float(np.mean(self._values)))
            self._values = []
        self._stretch = stretch
        value = self.metric.difference(ours, other)
        if isfinite(value):
            self._values.append(value)
        else:
            self.dropped += 1

    def interval(self) -> Interval:
        """Interval that holds at every moment, as a ratio if the metric is compared by one."""
        return shown(self.metric, self.sequence.interval())


def shown(metric: Metric, found: Interval) -> Interval:
    """Interval of what is averaged as people read it: as a ratio if the metric is compared by one."""
    if metric.scale == "difference":
        return found
    with np.errstate(over="ignore"):
        return Interval(float(np.exp(found.low)), float(np.exp(found.high)))


@dataclass(frozen=True, slots=True)
class Mode:
    """What a run compares."""

    name: str
    ours: str
    others: Sequence[str] = ()
    """Of which each stretch of pairs has one, in turns."""
    base: str = DEFAULT
    """What all are compared with."""

    def arms(self, stretch: int) -> list[str]:
        """Arms of the pairs of one stretch."""
        other = [self.others[stretch % len(self.others)]] if self.others else []
        return [self.base, self.ours, *other]

    @property
    def all(self) -> list[str]:
        """Every arm once."""
        return list(dict.fromkeys([self.base, self.ours, *self.others]))


def mode(plan: ResourcePlan, *, aa: bool = False, overhead: bool = False) -> Mode:
    """Choose what a run compares."""
    if aa:
        return Mode("aa", plan.again, base=plan.base)
    if overhead:
        return Mode("overhead", WATCHED, base=UNSTEERED)
    return Mode("run", plan.ours, plan.others, plan.base)


class Experiment:
    """Plays pairs to the arms of a bed, and keeps the data.

    Parameters
    ----------
    plan
        All that is fixed.
    resource
        Which of its resources.
    mode
        What is compared.
    bed
        The real part, open.
    folder
        Where the data go; what is there already is not played again.
    look
        Is shown the blocks of each pair, at first those that are there already,
        and may raise `EndedEarlyError`.
    failed
        Is told each failure, at first those that are there already, and may raise it too.
    text
        Of the plan, to be kept with the data.
    """

    def __init__(
        self,
        plan: Plan,
        resource: str,
        mode: Mode,
        bed: Bed,
        folder: Path,
        look: Callable[[Sequence[Row]], object] = lambda _: None,
        failed: Callable[[Failure], object] = lambda _: None,
        text: str | None = None,
    ) -> None:
        self.plan = plan
        self.of = plan.of(resource)
        self._mode = mode
        self._seed = plan.seed_of(resource)
        self._bed = bed
        self._folder = folder
        self._look = look
        self._failed = failed
        self._text = text
        inputs = bed.inputs()
        self._settings: dict[str, Any] = {
            "resource": resource,
            "mode": mode.name,
            "others": list(mode.others),
            "plan": plan.fingerprint(resource),
            **({"inputs": inputs} if inputs else {}),
        }

    def run(self, pairs: int, tell: Tell) -> Records:
        """Play what is missing of so many pairs.

        Raises
        ------
        BlockFailedError
            A pair failed `ATTEMPTS` times.
        EndedEarlyError
            The bed, or who looks at the pairs, says that it must not go on. What is there is kept.
        ConfigError
            The folder has data of something else.
        UnwritableError
            The data cannot be written.
        """
        records = self._records(self._folder, self._mode)
        missing = [pair for pair in range(pairs) if pair not in records.pairs]
        if not missing:
            return records
        if self._text is not None and not (self._folder / PLAN).exists():
            write(self._folder / PLAN, self._text)
        self._look(records.rows)
        for failure in records.failures:
            self._failed(failure)
        add_start(self._folder, self._bed.versions())
        searched = pairs if self._bed.SEARCHED.intersection(self._mode.all) else 0
        turns = [self._turn(RUN, pair) for pair in range(searched)]
        known = calibrated(self._folder / CALIBRATION, self._bed, turns, tell, begun=bool(records.rows))
        self._bed.prepare(known, self._mode.all)
        for number in range(self.plan.warm_up):
            # Each of another stretch, to every arm: else some would meet their first conditions in the run.
            self._tried(self._turn(WARM_UP, number * self.of.stretch), self._mode.all)
        pilot = self.plan.pilot_pairs(self._settings["resource"])
        if self._mode.name == "run" and pilot and not records.rows:
            alone = replace(self._mode, others=())
            before = self._records(self._folder / PILOT_FOLDER, alone)
            self._play(before, alone, PILOT, range(pilot), tell)
            tell(power_told(pilot_power(by_pair(before.rows), self.plan, self.of), pilot, self.plan, self.of))
        self._play(records, self._mode, RUN, missing, tell)
        return records

    def _records(self, folder: Path, mode: Mode) -> Records:
        settings = self._settings | {"others": list(mode.others)}
        return Records(folder, self.of, settings, len(mode.arms(0)))

    def _turn(self, stream: int, pair: int) -> Turn:
        return Turn.of(self._seed, stream, pair, self.of.stretch)

    def _play(self, records: Records, mode: Mode, stream: int, pairs: Sequence[int], tell: Tell) -> None:
        planned = self.plan.pairs // self.of.stretch
        watch = Watch(self.of.primary, ConfidenceSequence(self.plan.alpha, planned))
        name = self.of.primary.name
        for arms in by_pair(records.rows).values():
            ours, base = arms[mode.ours], arms[mode.base]
            watch.take(ours.stretch, ours.metrics[name], base.metrics[name])
        began = time.monotonic()
        for done, pair in enumerate((each for each in pairs if each not in records.pairs), 1):
            turn = self._turn(stream, pair)
            rows, samples = self._tried(turn, mode.arms(turn.stretch), records)
            records.add(rows, samples if pair % self.plan.trajectories == 0 else [])
            by_arm = {row.arm: row.metrics[name] for row in rows}
            watch.take(rows[0].stretch, by_arm[self._mode.ours], by_arm[self._mode.base])
            left = (time.monotonic() - began) / done * (len(pairs) - done)
            now = watch.interval()
            what = "pilot" if stream == PILOT else "pair"
            tell(
                f"{what} {pair + 1} of {pairs[-1] + 1}, {left / 60.0:.0f} min left; {name} of"
                f" {self._mode.ours} against {self._mode.base}: [{now.low:.3g}, {now.high:.3g}]"
                f" at every moment{f', {watch.dropped} pairs without a value' if watch.dropped else ''}"
            )
            if stream == RUN:
                self._look(rows)

    def _tried(
        self, turn: Turn, arms: Sequence[str], records: Records | None = None
    ) -> tuple[list[Row], list[Sample]]:
        """Play one turn to all of the arms, again if a block fails; who keeps records keeps the failures."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._blocks(turn, arms)
            except _AttemptError as failed:
                error = failed.error
                failure = Failure(turn.pair, failed.arm, time.time(), type(error).__name__, str(error))
                if records is not None:
                    records.fail(failure)
                    self._failed(failure)
                if attempt == ATTEMPTS:
                    raise BlockFailedError(
                        f"pair {turn.pair} failed {ATTEMPTS} times, at last: {error}; those before it are"
                        " kept, and the same command goes on after them"
                    ) from error
        raise AssertionError  # the loop returns or raises

    def _blocks(self, turn: Turn, arms: Sequence[str]) -> tuple[list[Row], list[Sample]]:
        rows, samples = [], []
        for place, index in enumerate(turn.order().permutation(len(arms)).tolist()):
            arm = arms[index]
            began, clock = time.time(), time.monotonic()
            try:
                block = self._bed.run(arm, turn)
            except EndedEarlyError:
                raise
            except (OSError, QuantumControlError) as error:
                raise _AttemptError(arm, error) from error
            seconds = time.monotonic() - clock
            rows.append(
                Row(
                    turn.pair,
                    turn.stretch,
                    arm,
                    place,
                    began,
                    seconds,
                    block.late,
                    block.control_cpu,
                    block.steps,
                    block.metrics,
                    block.control_memory,
                    block.phase,
                )
            )
            samples += [Sample(turn.pair, arm, *each) for each in block.course]
        return rows, samples
