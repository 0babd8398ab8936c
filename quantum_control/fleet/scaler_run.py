"""A law run over the points of a grid in absolute time, so that all who run it agree.

The grid is n·interval for whole n, and EPOCH points of it are an epoch. The answer at a point of epoch k is
that of a law which has seen all points from the beginning of epoch k - 1 on, and none before: whoever is
asked, and since whenever it has been there, the same points give the same answer. Who lives long therefore
runs two laws, that of the last epoch, which answers, and that of this one, which will in the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import nan

import numpy as np
from numpy.typing import NDArray

from quantum_control.fleet.scaler_law import Sizing
from quantum_control.fleet.scaler_target import LawKey, Target

Array = NDArray[np.float64]

EPOCH = 480
"""Points: two hours at the usual 15 s. The filters remember 50, the parametric law looks back 512."""


@dataclass(slots=True, eq=False)
class Tracked:
    """A target, and what is known of it."""

    target: Target
    asked: float
    """When somebody last asked for it, in seconds of the monotonic clock."""
    replicas: float = nan
    """Wanted at the last point; nan before the first measurement."""
    value: float = nan
    """Of the query, when it was last measured."""
    waiting: float = 0.0
    """Of the backlog, likewise."""
    seen: int = -1
    """Point of the grid at which it was last measured."""
    trouble: Exception | None = None
    """Why there is no newer measurement."""
    streams: int = 0
    """Calls of StreamIsActive under way."""

    @property
    def known(self) -> bool:
        """Whether it was asked for with any outcome."""
        return self.seen >= 0 or self.trouble is not None

    @property
    def active(self) -> bool:
        """Whether there is any work."""
        return self.value > self.target.activation or self.waiting > 0.0


@dataclass(slots=True)
class Points:
    """Measurements of some targets, shape (points, targets); nan where there is none."""

    flow: Array
    """In the unit of the query."""
    waiting: Array
    """Of the backlog; nan as well where it is not asked for."""

    def pods(self, targets: Sequence[Tracked]) -> Points:
        """The same in pods, and for the backlog in pods that serve it in one interval."""
        per_pod = np.array([each.target.per_pod for each in targets])
        interval = np.array([each.target.law.interval for each in targets])
        return Points(self.flow / per_pod, self.waiting / (per_pod * interval))


class Run:
    """Targets of one kind, from the first point at which all were measured."""

    def __init__(self, key: LawKey, targets: Sequence[Tracked]) -> None:
        self.targets = list(targets)
        self._sizing = Sizing(
            key,
            np.array([float(each.target.smallest) for each in targets]),
            np.array([each.target.largest for each in targets]),
        )
        self._flow: Array = np.zeros(len(targets))
        self._measured = np.array([bool(each.target.backlog) for each in targets])
        self._waiting: Array = np.zeros(len(targets))

    def step(self, flow: Array, waiting: Array) -> Array:
        """Take one point, in pods; what is not measured is as it was. The replicas wanted."""
        real = ~np.isnan(flow)
        self._flow = np.where(real, flow, self._flow)
        self._waiting = np.where(np.isnan(waiting), self._waiting, waiting)
        backlog = np.where(self._measured, self._waiting, np.nan)
        return self._sizing.step(self._flow, backlog, real)


@dataclass(slots=True)
class Runs:
    """Both laws of each target of one grid."""

    done: dict[int, list[Run]] = field(default_factory=dict)
    """By the epoch in which they began."""
    pending: dict[int, list[Tracked]] = field(default_factory=dict)
    """Without a measurement since the beginning of their epoch."""

    def warm(self, targets: Sequence[Tracked], points: Points, first: int) -> None:
        """Take up new targets with what was measured from `first`, the beginning of an epoch, until now."""
        last = first + len(points.flow) - 1
        for epoch in (first // EPOCH, first // EPOCH + 1):
            self.pending.setdefault(epoch, [])
            begin = epoch * EPOCH - first
            missing = np.isnan(points.flow[begin:])
            starts = np.where(missing.all(axis=0), -1, missing.argmin(axis=0))
            for start in np.unique(starts):
                chosen = np.flatnonzero(starts == start)
                rows = [targets[i] for i in chosen.tolist()]
                if start < 0:
                    self.pending[epoch].extend(rows)
                    continue
                part = Points(points.flow[begin + start :, chosen], points.waiting[begin + start :, chosen])
                for run in self._begun(epoch, rows):
                    place = {id(each): i for i, each in enumerate(rows)}
                    columns = [place[id(each)] for each in run.targets]
                    pods = Points(part.flow[:, columns], part.waiting[:, columns]).pods(run.targets)
                    for flow, waiting in zip(pods.flow, pods.waiting, strict=True):
                        replicas = run.step(flow, waiting)
                    if epoch == first // EPOCH:
                        _answer(run, replicas)
        for column, each in enumerate(targets):
            _see(each, points, column, last)

    def advance(self, point: int, targets: Sequence[Tracked], points: Points, row: int) -> None:
        """Take the measurements in `row` of `points`, made at `point`, of all targets that are tracked."""
        epoch = point // EPOCH
        for old in [begun for begun in {*self.done, *self.pending} if begun < epoch - 1]:
            self.done.pop(old, None)
            self.pending.pop(old, None)
        if epoch not in self.pending:  # a new one has begun: all its targets together
            self.pending[epoch] = list(targets)
        place = {id(each): i for i, each in enumerate(targets)}
        for begun, waiting in self.pending.items():
            ready = [
                each for each in waiting if id(each) in place and points.flow[row, place[id(each)]] >= 0.0
            ]
            if ready:
                started = {id(each) for each in ready}
                self.pending[begun] = [each for each in waiting if id(each) not in started]
                self._begun(begun, ready)
        for begun, runs in self.done.items():
            for run in runs:
                columns = np.array([place.get(id(each), -1) for each in run.targets])
                gone = columns < 0  # no longer tracked: they go with their epoch
                part = Points(
                    np.where(gone, np.nan, points.flow[row, columns]),
                    np.where(gone, np.nan, points.waiting[row, columns]),
                ).pods(run.targets)
                replicas = run.step(part.flow, part.waiting)
                if begun == epoch - 1:
                    _answer(run, replicas)
        for column, each in enumerate(targets):
            _see(each, Points(points.flow[row : row + 1], points.waiting[row : row + 1]), column, point)

    def _begun(self, epoch: int, targets: Iterable[Tracked]) -> list[Run]:
        by_key: dict[LawKey, list[Tracked]] = {}
        for each in targets:
            by_key.setdefault(each.target.law, []).append(each)
        runs = [Run(key, rows) for key, rows in by_key.items()]
        self.done.setdefault(epoch, []).extend(runs)
        return runs


def _answer(run: Run, replicas: Array) -> None:
    for each, wanted in zip(run.targets, replicas.tolist(), strict=True):
        each.replicas = wanted


def _see(each: Tracked, points: Points, column: int, last: int) -> None:
    measured = np.flatnonzero(~np.isnan(points.flow[:, column]))
    if len(measured):
        each.seen = last - (len(points.flow) - 1 - int(measured[-1]))
        each.value = float(points.flow[measured[-1], column])
        each.trouble = None
        waits = points.waiting[~np.isnan(points.waiting[:, column]), column]
        each.waiting = float(waits[-1]) if len(waits) else each.waiting


def window_start(point: int) -> int:
    """First point that an answer at `point` rests on."""
    return (point // EPOCH - 1) * EPOCH


def points_of(targets: Sequence[Tracked], found: Mapping[str, Array | Exception], count: int) -> Points:
    """Columns of the `targets` out of what their expressions gave; what is at fault is noted with them."""
    nothing = np.full(count, nan)
    flow, waiting = np.full((2, count, len(targets)), nan)
    for column, each in enumerate(targets):
        for expression, array in ((each.target.query, flow), (each.target.backlog, waiting)):
            row = found.get(expression, nothing) if expression else nothing
            if isinstance(row, Exception):
                each.trouble = row
            else:
                array[:, column] = row
    return Points(flow, waiting)
