"""The experiment: a plan becomes blocks, in an order drawn anew for each pair, and the blocks become data."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from math import isfinite, log, nan
from pathlib import Path
from typing import Any

import numpy as np

from quantum_control.core.errors import QuantumControlError
from quantum_control.validation.bed import PILOT, RUN, WARM_UP, Bed, Turn
from quantum_control.validation.plan import DEFAULT, UNSTEERED, WATCHED, Metric, Plan, ResourcePlan
from quantum_control.validation.records import Records, Row, Sample, by_pair
from quantum_control.validation.sequential import ConfidenceSequence, Interval

ATTEMPTS = 3
"""Times that a pair is played if one of its blocks fails."""

CALIBRATION = "calibration.json"

LIBRARIES = ("quantum-control", "numpy", "scipy", "statsmodels")

Tell = Callable[[str], object]


class BlockFailedError(QuantumControlError):
    """A block failed again and again."""


class EndedEarlyError(QuantumControlError):
    """The experiment must not go on; the block under way is not repeated."""


def machine() -> dict[str, Any]:
    """Say what an experiment runs on."""
    model = "unknown"
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    except OSError:
        pass
    found: dict[str, Any] = {
        "processor": model,
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
    }
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            found[library] = "not installed"
    return found


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
        value = difference(self.metric, ours, other)
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


def difference(metric: Metric, ours: float, other: float) -> float:
    """What is averaged over pairs: the logarithm of the ratio, or the difference; nan if there is none."""
    if metric.floor > 0.0:  # without one a difference may be of figures below 0
        ours, other = max(ours, metric.floor), max(other, metric.floor)
    if metric.scale == "difference":
        return ours - other
    return log(ours / other) if ours > 0.0 and other > 0.0 else nan


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
    """

    def __init__(
        self,
        plan: Plan,
        resource: str,
        mode: Mode,
        bed: Bed,
        folder: Path,
        look: Callable[[Sequence[Row]], object] = lambda _: None,
    ) -> None:
        self.plan = plan
        self.of = plan.of(resource)
        self._mode = mode
        self._seed = plan.seed_of(resource)
        self._bed = bed
        self._folder = folder
        self._look = look
        self._settings = {
            "resource": resource,
            "mode": mode.name,
            "others": list(mode.others),
            "plan": plan.fingerprint(resource),
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
        """
        records = self._records(self._folder)
        missing = [pair for pair in range(pairs) if pair not in records.pairs]
        if not missing:
            return records
        self._look(records.rows)
        (self._folder / "machine.json").write_text(json.dumps(machine(), indent=1) + "\n")
        self._bed.prepare(self._calibration(pairs, tell), self._mode.all)
        for pair in range(self.plan.warm_up):
            self._pair(self._turn(WARM_UP, pair), pair)
        if self._mode.name == "run" and self.plan.pilot and not records.rows:
            self._play(self._records(self._folder / "pilot"), PILOT, range(self.plan.pilot), tell)
        self._play(records, RUN, missing, tell)
        return records

    def _records(self, folder: Path) -> Records:
        return Records(folder, self.of, self._settings, len(self._mode.arms(0)))

    def _turn(self, stream: int, pair: int) -> Turn:
        return Turn.of(self._seed, stream, pair, self.of.stretch)

    def _calibration(self, pairs: int, tell: Tell) -> dict[str, Any]:
        path = self._folder / CALIBRATION
        if path.exists():
            kept: dict[str, Any] = json.loads(path.read_text())
            return kept
        found = self._bed.calibrate([self._turn(RUN, pair) for pair in range(pairs)], tell)
        path.write_text(json.dumps(found, indent=1) + "\n")
        return found

    def _play(self, records: Records, stream: int, pairs: Sequence[int], tell: Tell) -> None:
        watch = Watch(
            self.of.primary, ConfidenceSequence(self.plan.alpha, self.plan.pairs // self.of.stretch)
        )
        for early, late in _both(records.rows, self._mode):
            watch.take(early.stretch, early.metrics[self.of.primary.name], late.metrics[self.of.primary.name])
        began = time.monotonic()
        for done, pair in enumerate((each for each in pairs if each not in records.pairs), 1):
            rows, samples = self._pair(self._turn(stream, pair), pair)
            keeps = pair % self.plan.trajectories == 0
            records.add(rows, samples if keeps else [])
            name = self.of.primary.name
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

    def _pair(self, turn: Turn, pair: int) -> tuple[list[Row], list[Sample]]:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._blocks(turn, pair)
            except EndedEarlyError:
                raise
            except (OSError, QuantumControlError) as error:
                if attempt == ATTEMPTS:
                    raise BlockFailedError(
                        f"pair {pair} failed {ATTEMPTS} times, at last: {error}; those before it are kept,"
                        " and the same command goes on after them"
                    ) from error
        raise AssertionError  # the loop returns or raises

    def _blocks(self, turn: Turn, pair: int) -> tuple[list[Row], list[Sample]]:
        rows, samples = [], []
        arms = self._mode.arms(turn.stretch)
        for place, index in enumerate(turn.order().permutation(len(arms)).tolist()):
            arm = arms[index]
            began, clock = time.time(), time.monotonic()
            block = self._bed.run(arm, turn)
            seconds = time.monotonic() - clock
            rows.append(
                Row(
                    pair,
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
                )
            )
            samples += [Sample(pair, arm, *each) for each in block.course]
        return rows, samples


def _both(rows: Sequence[Row], mode: Mode) -> Iterator[tuple[Row, Row]]:
    """Blocks of ours and of the base, by pairs."""
    for arms in by_pair(rows).values():
        yield arms[mode.ours], arms[mode.base]
