"""The scaler's work in the background: measures its targets at the points of their grids, and steps them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from math import floor, nan
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from quantum_control.core.errors import QuantumControlError, SensorError
from quantum_control.fleet.scaler_history import QueryError
from quantum_control.fleet.scaler_report import Counts, Report
from quantum_control.fleet.scaler_run import Array, Points, Runs, numbers_of, window_start
from quantum_control.fleet.scaler_target import Target

SETTLE = 2.0
"""Seconds after a point of the grid at which it is asked for: until then what was scraped is stored."""

BATCH = 1000
"""New targets that are warmed up at once, so that the others need not wait long."""

TOLD_AT_ONCE = 50
"""Targets in one report: whoever reads it keeps the interpreter from those that answer calls no longer than
a tenth of a millisecond, and each call needs it several times."""

SHORTEST_PAUSE, PAUSE_AFTER_FAILURE, LONGEST_PAUSE = 0.2, 1.0, 5.0
"""Seconds between rounds."""


class UnavailableError(QuantumControlError):
    """There is no answer now."""


class Source(Protocol):
    """A server that knows what was, as `scaler_history.HistorySource`."""

    def ranges(
        self, expressions: Collection[str], first: int, last: int, interval: float
    ) -> Mapping[str, Array | QueryError]:
        """Values of each expression at the points from `first` to `last`."""


@dataclass(slots=True)
class _Known:
    """What is known of the targets of a grid, in their order."""

    replicas: Array
    value: Array
    waiting: Array
    seen: NDArray[np.int64]

    @classmethod
    def nothing(cls, count: int) -> Self:
        """Of `count` targets."""
        return cls(np.full(count, nan), np.full(count, nan), np.zeros(count), np.full(count, -1))

    def of(self, columns: NDArray[np.int64]) -> _Known:
        """The same of some of them."""
        return _Known(self.replicas[columns], self.value[columns], self.waiting[columns], self.seen[columns])

    def and_of(self, others: _Known) -> _Known:
        """These, and then others."""
        return _Known(
            np.concatenate((self.replicas, others.replicas)),
            np.concatenate((self.value, others.value)),
            np.concatenate((self.waiting, others.waiting)),
            np.concatenate((self.seen, others.seen)),
        )

    def see(self, points: Points, last: int, replicas: Array) -> None:
        """Note what was measured at the points until `last`, and what is wanted thereupon."""
        self.replicas = np.where(np.isnan(replicas), self.replicas, replicas)
        self.value, back, measured = _latest(points.flow, self.value)
        self.seen = np.where(measured, last - back, self.seen)
        self.waiting = np.where(measured, _latest(points.waiting, self.waiting)[0], self.waiting)


def _latest(values: Array, before: Array) -> tuple[Array, NDArray[np.int64], NDArray[np.bool_]]:
    """Last value that is there of each column, or that of `before`; points since it; whether there is any."""
    there: NDArray[np.bool_] = ~np.isnan(values[::-1])
    back: NDArray[np.int64] = there.argmax(axis=0)
    some = np.logical_or.reduce(there, axis=0)
    return np.where(some, values[len(values) - 1 - back, np.arange(len(back))], before), back, some


@dataclass(slots=True)
class Grid:
    """Targets that are measured at the same points by the same server."""

    server: str
    interval: float
    point: int
    """Last one that was taken."""
    runs: Runs = field(default_factory=Runs)
    targets: dict[int, Target] = field(default_factory=dict)
    """In the order of their numbers."""
    known: _Known = field(default_factory=lambda: _Known.nothing(0))
    trouble: dict[int, Exception] = field(default_factory=dict)
    new: dict[int, Target] = field(default_factory=dict)
    """To be warmed up."""


class Stepper:
    """Measures and steps targets, a round at a time.

    Parameters
    ----------
    sources
        Prometheus servers by the address that a target names.
    settle
        Seconds after a point of the grid at which it is asked for.
    clock
        Seconds since 1970.
    """

    def __init__(
        self,
        sources: Mapping[str, Source],
        *,
        settle: float = SETTLE,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.counts = Counts()
        self._sources = sources
        self._settle = settle
        self._clock = clock
        self._grids: dict[tuple[str, float], Grid] = {}
        self._taken: dict[int, Target] = {}
        self._dropped: set[int] = set()
        self._lock = threading.Lock()  # of the two above: they are told from another thread
        self._failed = False

    def take(self, targets: Mapping[int, Target]) -> None:
        """Take up targets in the next round, by numbers that are theirs alone."""
        with self._lock:
            self._taken.update(targets)

    def drop(self, numbers: Collection[int]) -> None:
        """Forget them in the next round."""
        with self._lock:
            self._dropped.update(numbers)

    @property
    def pause(self) -> float:
        """Seconds until the next round is due, unless targets are taken up before."""
        if self._taken or any(grid.new for grid in self._grids.values()):
            return PAUSE_AFTER_FAILURE if self._failed else 0.0
        now = self._clock()
        waits = [(grid.point + 1) * grid.interval + self._settle - now for grid in self._grids.values()]
        return max(PAUSE_AFTER_FAILURE if self._failed else SHORTEST_PAUSE, min([LONGEST_PAUSE, *waits]))

    def round(self) -> Iterator[Report]:
        """Take the points that are due of all grids, and some of the new targets; what is new of which."""
        begun = time.perf_counter()
        self._sort_in()
        self._failed = False
        for grid in self._grids.values():
            try:
                told = [*self._step(grid), *self._warm(grid)]
            except SensorError as error:
                self.counts.failures += 1
                self._failed = True
                grid.trouble = dict.fromkeys(grid.targets, error)
                told = [*grid.targets]
                if grid.new:
                    yield _of_new(grid.new, error)
            yield from _reports(grid, told)
        self.counts.round_seconds = time.perf_counter() - begun

    def _sort_in(self) -> None:
        with self._lock:
            taken, self._taken = self._taken, {}
            dropped, self._dropped = self._dropped, set()
        for number, target in taken.items():
            where = (target.server, target.law.interval)
            if where not in self._grids:
                self._grids[where] = Grid(*where, self._due(target.law.interval))
            if number not in self._grids[where].targets:
                self._grids[where].new[number] = target
        if not dropped:
            return
        for grid in self._grids.values():
            keep = np.flatnonzero([number not in dropped for number in grid.targets])
            grid.known = grid.known.of(keep)
            for part in (grid.targets, grid.trouble, grid.new):
                for number in dropped & part.keys():
                    del part[number]

    def _due(self, interval: float) -> int:
        return floor((self._clock() - self._settle) / interval)

    def _step(self, grid: Grid) -> list[int]:
        """Take the points that are due; numbers of the targets of which there is something new."""
        due = self._due(grid.interval)
        # A clock that was set back by less than a point is waited for; further, its time would not come.
        back = due < grid.point - 1
        if due <= grid.point and not back:
            return []
        if not grid.targets:
            grid.point = due
            return []
        if back or grid.point < window_start(due):  # after so long a pause they begin anew, too
            grid.new |= grid.targets
            grid.targets, grid.known, grid.runs, grid.trouble = {}, _Known.nothing(0), Runs(), {}
            grid.point = due
            return []
        points, wrong = self._measured(grid, grid.targets, grid.point + 1, due)
        for row in range(due - grid.point):
            grid.point += 1
            now = Points(points.flow[row : row + 1], points.waiting[row : row + 1])
            replicas = grid.runs.advance(grid.point, grid.targets, now.flow[0], now.waiting[0])
            grid.known.see(now, grid.point, replicas)
            self.counts.steps += 1
        grid.trouble = wrong
        self._note_missing(grid, grid.targets)
        return [*grid.targets]

    def _warm(self, grid: Grid) -> list[int]:
        """Take up some of the new targets; their numbers."""
        new = {number: grid.new[number] for number in sorted(grid.new)[:BATCH]}
        if not new:
            return []
        first = window_start(grid.point)
        points, wrong = self._measured(grid, new, first, grid.point)
        replicas = grid.runs.warm(new, points, first)
        known = _Known.nothing(len(new))
        known.see(points, grid.point, replicas)
        known = grid.known.and_of(known)
        numbers = np.concatenate((numbers_of(grid.targets), numbers_of(new)))
        grid.known = known.of(np.argsort(numbers))
        grid.targets = dict(sorted((grid.targets | new).items()))
        for number in new:
            del grid.new[number]
        grid.trouble |= wrong
        self._note_missing(grid, new)
        self.counts.warmed += len(new)
        return [*new]

    def _measured(
        self, grid: Grid, targets: Mapping[int, Target], first: int, last: int
    ) -> tuple[Points, dict[int, Exception]]:
        """What the expressions of the `targets` gave, and which of them are at fault."""
        asked = [text for each in targets.values() for text in (each.query, each.backlog) if text]
        found = self._sources[grid.server].ranges(asked, first, last, grid.interval)
        flow, waiting = np.full((2, last - first + 1, len(targets)), nan)
        wrong: dict[int, Exception] = {}
        for column, (number, each) in enumerate(targets.items()):
            rows = [found[text] if text else nan for text in (each.query, each.backlog)]
            faults = [row for row in rows if isinstance(row, QueryError)]
            if faults:  # of either: half a measurement is none
                wrong[number] = faults[0]
            else:
                flow[:, column], waiting[:, column] = rows
        return Points(flow, waiting), wrong

    def _note_missing(self, grid: Grid, among: Mapping[int, Target]) -> None:
        late = set(numbers_of(grid.targets)[grid.known.seen < grid.point].tolist())
        for number in (late & among.keys()) - grid.trouble.keys():
            target = among[number]
            grid.trouble[number] = UnavailableError(
                f"{target.server} has no recent value of 0 or more for {target.query!r}: look whether its"
                " target is up; a metric that is only sometimes there needs ' or vector(0)'"
            )


def _reports(grid: Grid, told: list[int]) -> Iterator[Report]:
    columns = np.searchsorted(numbers_of(grid.targets), told)
    for begin in range(0, len(told), TOLD_AT_ONCE):
        numbers = told[begin : begin + TOLD_AT_ONCE]
        known = grid.known.of(columns[begin : begin + TOLD_AT_ONCE])
        yield Report(
            numbers,
            known.replicas.tolist(),
            known.value.tolist(),
            known.waiting.tolist(),
            known.seen.tolist(),
            {number: grid.trouble[number] for number in grid.trouble.keys() & numbers},
        )


def _of_new(new: Mapping[int, Target], error: Exception) -> Report:
    """Nothing is known of them, for this reason."""
    count = len(new)
    unknown = [nan] * count
    return Report([*new], unknown, unknown, [0.0] * count, [-1] * count, dict.fromkeys(new, error))
