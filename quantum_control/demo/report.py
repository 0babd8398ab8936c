"""From what was played to the table: medians, 99th percentiles, and their confidence intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from math import floor, isnan, log10, nan
from typing import Any

import numpy as np
import numpy.typing as npt

from quantum_control.core.physics import Objective
from quantum_control.demo.load import FloatArray, Load
from quantum_control.demo.run import Played
from quantum_control.demo.sweep import measured_cost
from quantum_control.terminal import plain

RESAMPLES = 1000
"""Of the bootstrap over segments."""

WAIT_TARGET = 5.0
"""The 99th percentile of the wait in bursts is to be so many times below that of Python's default size."""

THREADS_TARGET = 1.0
"""The thread-seconds are to be no more than so many times those of the best fixed size."""

BEST = "best fixed"
"""What the baseline is called if it is the best of all fixed sizes."""

LEAST_PLAYED = "least cost of those played"
"""What it is called if that one was not played."""

IntArray = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure and its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Measure:
    """Something that is reported of each arm."""

    label: str
    unit: str
    scale: float = 1.0
    """From SI to the unit in which people read it."""


MEASURES: Mapping[str, Measure] = {
    "wait_median_seconds": Measure("wait, median", "ms", 1e3),
    "wait_p99_seconds": Measure("wait, p99", "ms", 1e3),
    "burst_wait_p99_seconds": Measure("burst wait, p99", "ms", 1e3),
    "throughput": Measure("throughput", "tasks/s"),
    "thread_seconds": Measure("thread-seconds", "thread·s"),
    "cost": Measure("cost", "thread·s"),
    "control_cpu_share": Measure("control's CPU", "% core", 1e2),
}


@dataclass(frozen=True, slots=True)
class ArmReport:
    """One arm over the whole load."""

    name: str
    size: int | None
    """Size if it is a fixed one."""
    tasks: int
    failed: int
    dropped: int
    figures: dict[str, Figure]
    replayed_cost: float | None
    """What a replay of its own service times says that a fixed size costs."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A ratio, and its target if there is one."""

    text: str
    ratio: Figure
    least: float | None = None
    """It is to be no less."""
    most: float | None = None
    """It is to be no more."""

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None if there is none, or nothing to judge by."""
        if (self.least is None and self.most is None) or isnan(self.ratio.value):
            return None
        return self._holds(self.ratio.value)

    @property
    def sure(self) -> bool:
        """Whether both ends of the interval say the same as the ratio."""
        return self._holds(self.ratio.low) == self._holds(self.ratio.value) == self._holds(self.ratio.high)

    def _holds(self, ratio: float) -> bool:
        return (self.least is None or ratio >= self.least) and (self.most is None or ratio <= self.most)


class Statistics:
    """Figures of one arm, of any selection of its segments.

    Parameters
    ----------
    load
        What was played.
    played
        What became of each segment, in their order.
    objective
        The controller's prices.
    """

    def __init__(self, load: Load, played: Sequence[Played], objective: Objective) -> None:
        self._played = list(played)
        self._bursts = [segment.burst for segment in load.segments]
        self._objective = objective

    def figure(self, name: str, chosen: IntArray) -> float:
        """One of `MEASURES` over the chosen segments, which may be repeated; nan if there is nothing."""
        played = [self._played[index] for index in chosen]
        seconds = sum(each.seconds for each in played)
        match name:
            case "wait_median_seconds":
                return _quantile([each.waits for each in played], 50.0)
            case "wait_p99_seconds":
                return _quantile([each.waits for each in played], 99.0)
            case "burst_wait_p99_seconds":
                return _quantile([self._played[index].waits[self._bursts[index]] for index in chosen], 99.0)
            case "throughput":
                return float(sum(each.throughput * each.seconds for each in played) / seconds)
            case "thread_seconds":
                return float(sum(each.thread_seconds for each in played))
            case "cost":
                return measured_cost(played, self._objective)
            case _:
                return float(sum(each.control_cpu for each in played) / seconds)

    def report(self, name: str, size: int | None, replayed: float | None) -> ArmReport:
        """All figures."""
        figures = {
            measure: with_interval(partial(self.figure, measure), len(self._played)) for measure in MEASURES
        }
        return ArmReport(
            name,
            size,
            tasks=sum(each.waits.size for each in self._played),
            failed=sum(each.failed for each in self._played),
            dropped=sum(each.dropped for each in self._played),
            figures=figures,
            replayed_cost=replayed,
        )


def with_interval(figure: Callable[[IntArray], float], segments: int) -> Figure:
    """A figure over all segments, and its 95 % percentile interval by bootstrap over segments."""
    rng = np.random.default_rng(0)
    value = figure(np.arange(segments))
    if isnan(value):
        return Figure(nan, nan, nan)
    again = [figure(rng.integers(0, segments, segments)) for _ in range(RESAMPLES)]
    low, high = np.nanpercentile(again, (2.5, 97.5))
    return Figure(value, float(low), float(high))


def claims(
    default: Statistics, baseline: Statistics, steered: Statistics, segments: int, named: str = BEST
) -> list[Claim]:
    """Compare the steered arm with the targets; paired by segment, since the load is the same.

    That for the thread-seconds is for a `baseline` that is `named` the best of all fixed sizes.
    """

    def wait(chosen: IntArray) -> float:
        name = "burst_wait_p99_seconds"
        return default.figure(name, chosen) / steered.figure(name, chosen)

    def threads(chosen: IntArray) -> float:
        return steered.figure("thread_seconds", chosen) / baseline.figure("thread_seconds", chosen)

    def cost(chosen: IntArray) -> float:
        return steered.figure("cost", chosen) / baseline.figure("cost", chosen)

    shorter, fewer, cheaper = (with_interval(ratio, segments) for ratio in (wait, threads, cost))
    return [
        Claim("p99 burst wait, default / steered", shorter, least=WAIT_TARGET),
        Claim(f"thread-seconds, steered / {named}", fewer, most=THREADS_TARGET if named == BEST else None),
        Claim(f"cost, steered / {named}", cheaper),
    ]


def table(arms: Sequence[ArmReport], width: float) -> str:
    """All arms side by side, or one below the other where `width` columns are too few for that."""
    rows = [["", "", *(arm.name for arm in arms)]]
    for name, measure in MEASURES.items():
        rows.append([measure.label, measure.unit, *(_cell(name, arm) for arm in arms)])
    for label in ("failed", "dropped"):
        counts = [getattr(arm, label) for arm in arms]
        if any(counts):
            rows.append([label, "tasks", *map(str, counts)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    if len(arms) > 1 and max(map(len, lines)) > width:
        return "\n\n".join(table([arm], width) for arm in arms)
    return "\n".join(lines)


def sentence(claim: Claim) -> str:
    """One claim in one line."""
    if isnan(claim.ratio.value):
        return f"{claim.text}: nothing to compare, for want of tasks or waits"
    said = f"{claim.text}: {_with_ends(claim.ratio)}"
    if claim.met is None:
        return said
    target = f"at least {claim.least:g}" if claim.least is not None else f"at most {claim.most:g}"
    doubt = "" if claim.sure else ", but the interval reaches past it"
    return f"{said}; target {target}: {'met' if claim.met else 'MISSED'}{doubt}"


def as_json(arms: Sequence[ArmReport], judged: Sequence[Claim]) -> dict[str, Any]:
    """All of it for programs; SI units, null for what there is not."""
    return {
        "arms": [plain(asdict(arm)) for arm in arms],
        "claims": [plain({**asdict(claim), "met": claim.met}) for claim in judged],
    }


def _cell(name: str, arm: ArmReport) -> str:
    if name == "control_cpu_share" and arm.size is not None:
        return "-"
    figure, scale = arm.figures[name], MEASURES[name].scale
    return _with_ends(Figure(*(end * scale for end in (figure.value, figure.low, figure.high))))


def _with_ends(figure: Figure) -> str:
    """Figure and interval in three digits each, or in as many as are before the point."""
    if isnan(figure.value):
        return "-"
    value, low, high = (
        f"{each:.{min(2, max(0, 2 - floor(log10(each)))) if each > 0.0 else 0}f}"
        for each in (figure.value, figure.low, figure.high)
    )
    return f"{value} [{low}–{high}]"


def _quantile(waits: Sequence[FloatArray], percent: float) -> float:
    pooled = np.concatenate(waits)
    return float(np.percentile(pooled, percent)) if pooled.size else nan
