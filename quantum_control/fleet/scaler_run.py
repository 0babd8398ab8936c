"""A law run over the points of a grid in absolute time, so that all who run it agree.

The grid is n·interval for whole n, and EPOCH points of it are an epoch. The answer at a point of epoch k is
that of a law which has seen all points from the beginning of epoch k - 1 on, and none before: whoever is
asked, and since whenever it has been there, the same points give the same answer. Who lives long therefore
runs two laws, that of the last epoch, which answers, and that of this one, which will in the next.

Targets are known by numbers here, and what is known of many is in arrays, a column a target in the order of
their numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import nan

import numpy as np
from numpy.typing import NDArray

from quantum_control.fleet.scaler_law import Sizing
from quantum_control.fleet.scaler_target import LawKey, Target

Array = NDArray[np.float64]
Numbers = NDArray[np.int64]

EPOCH = 720
"""Points: three hours at the usual 15 s. The filters remember 50, the parametric law looks back 512, what is
learnt of the load 1000."""


@dataclass(slots=True)
class Points:
    """Measurements of some targets, shape (points, targets); nan where there is none."""

    flow: Array
    """In the unit of the query."""
    waiting: Array
    """Of the backlog; nan as well where it is not asked for."""


class Run:
    """Targets of one kind, from the first point at which all were measured."""

    def __init__(self, key: LawKey, targets: Mapping[int, Target]) -> None:
        self.numbers = numbers_of(targets)
        rows = targets.values()
        self._sizing = Sizing(
            key,
            np.array([float(each.smallest) for each in rows]),
            np.array([each.largest for each in rows]),
        )
        self._per_pod = np.array([each.per_pod for each in rows])
        self._per_pod_interval = self._per_pod * key.interval
        self._measured = np.array([bool(each.backlog) for each in rows])
        self._flow, self._waiting = np.zeros((2, len(targets)))

    def step(self, flow: Array, waiting: Array) -> Array:
        """Take one point of its targets; what is not measured is as it was. The replicas wanted."""
        real = ~np.isnan(flow)
        self._flow = np.where(real, flow / self._per_pod, self._flow)
        pods = waiting / self._per_pod_interval
        self._waiting = np.where(np.isnan(pods), self._waiting, pods)
        backlog = np.where(self._measured, self._waiting, nan)
        return self._sizing.step(self._flow, backlog, real)


@dataclass(slots=True)
class Runs:
    """Both laws of each target of one grid."""

    done: dict[int, list[Run]] = field(default_factory=dict)
    """By the epoch in which they began."""
    pending: dict[int, dict[int, Target]] = field(default_factory=dict)
    """Without a measurement since the beginning of their epoch."""

    def warm(self, targets: Mapping[int, Target], points: Points, first: int) -> Array:
        """Take up new targets with what was measured from `first`, the beginning of an epoch, until now.

        Returns the replicas of each, nan where nothing was measured.
        """
        replicas = np.full(len(targets), nan)
        numbers = numbers_of(targets)
        for epoch in (first // EPOCH, first // EPOCH + 1):
            waiting = self.pending.setdefault(epoch, {})
            begin = epoch * EPOCH - first
            missing = np.isnan(points.flow[begin:])
            starts = np.where(missing.all(axis=0), -1, missing.argmin(axis=0))
            for start in np.unique(starts):
                chosen = {int(number): targets[int(number)] for number in numbers[starts == start]}
                if start < 0:
                    waiting.update(chosen)
                    continue
                for run in self._begun(epoch, chosen):
                    columns = np.searchsorted(numbers, run.numbers)
                    part = slice(begin + int(start), None)
                    for row in zip(points.flow[part, columns], points.waiting[part, columns], strict=True):
                        wanted = run.step(*row)
                    if epoch == first // EPOCH:
                        replicas[columns] = wanted
        return replicas

    def advance(self, point: int, targets: Mapping[int, Target], flow: Array, waiting: Array) -> Array:
        """Take what was measured at `point` of all targets that there are, in the order of their numbers.

        Returns the replicas of each, nan where nothing was measured in the epoch before.
        """
        replicas = np.full(len(targets), nan)
        numbers, epoch = numbers_of(targets), point // EPOCH
        for old in [begun for begun in {*self.done, *self.pending} if begun < epoch - 1]:
            self.done.pop(old, None)
            self.pending.pop(old, None)
        if epoch not in self.pending:  # a new one has begun: all its targets together
            self.pending[epoch] = dict(targets)
        measured = {int(number) for number in numbers[flow >= 0.0]}
        for begun, others in self.pending.items():
            if ready := {number: others[number] for number in sorted(measured & others.keys())}:
                for number in ready:
                    del others[number]
                self._begun(begun, ready)
        for begun, runs in self.done.items():
            for run in runs:
                columns = np.minimum(np.searchsorted(numbers, run.numbers), len(numbers) - 1)
                there = numbers[columns] == run.numbers  # what is no longer tracked goes with its epoch
                wanted = run.step(np.where(there, flow[columns], nan), np.where(there, waiting[columns], nan))
                if begun == epoch - 1:
                    replicas[columns[there]] = wanted[there]
        return replicas

    def _begun(self, epoch: int, targets: Mapping[int, Target]) -> list[Run]:
        by_key: dict[LawKey, dict[int, Target]] = {}
        for number, each in targets.items():
            by_key.setdefault(each.law, {})[number] = each
        runs = [Run(key, rows) for key, rows in by_key.items()]
        self.done.setdefault(epoch, []).extend(runs)
        return runs


def numbers_of(targets: Mapping[int, Target]) -> Numbers:
    """Numbers of targets, which are in their order."""
    return np.fromiter(targets, np.int64, len(targets))


def window_start(point: int) -> int:
    """First point that an answer at `point` rests on."""
    return (point // EPOCH - 1) * EPOCH
