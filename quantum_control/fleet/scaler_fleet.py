"""All targets of a scaler: taken up when asked for, stepped in the background, looked up by the calls."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import floor

from quantum_control.core.errors import QuantumControlError, SensorError
from quantum_control.fleet.scaler_history import HistorySource, QueryError
from quantum_control.fleet.scaler_run import Runs, Tracked, points_of, window_start
from quantum_control.fleet.scaler_target import Target

_log = logging.getLogger("quantum_control")

SETTLE = 2.0
"""Seconds after a point of the grid at which it is asked for: until then what was scraped is stored."""

FORGET = 900.0
"""Seconds after which a target that nobody asks for is dropped: KEDA asks every 30 s."""

MOST_TARGETS = 20_000

BATCH = 400
"""New targets that are warmed up at once, so that the others need not wait long."""

Identity = tuple[str, str, frozenset[tuple[str, str]]]


class UnavailableError(QuantumControlError):
    """There is no answer now."""


class FullError(QuantumControlError):
    """There are too many targets."""


@dataclass(slots=True)
class Grid:
    """Targets that are measured at the same points by the same server."""

    server: str
    interval: float
    point: int
    """Last one that was taken."""
    runs: Runs = field(default_factory=Runs)
    targets: list[Tracked] = field(default_factory=list)
    new: list[Tracked] = field(default_factory=list)


@dataclass(slots=True)
class Counts:
    """What has happened, for the metrics."""

    steps: int = 0
    warmed: int = 0
    failures: int = 0
    held: int = 0
    fallbacks: int = 0
    behind_seconds: float = 0.0
    """How long the last round took."""


class Fleet:
    """The targets.

    Parameters
    ----------
    sources
        Prometheus servers by the address that a trigger names; the first is the default.
    settle
        Seconds after a point of the grid at which it is asked for.
    clock
        Seconds since 1970.
    monotonic
        Seconds on a clock that is never set.
    """

    def __init__(
        self,
        sources: Mapping[str, HistorySource],
        *,
        settle: float = SETTLE,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        most: int = MOST_TARGETS,
    ) -> None:
        self.counts = Counts()
        self.advanced: Callable[[], object] = lambda: None
        """Called after each round that took a new point or target."""
        self._sources = dict(sources)
        self._settle = settle
        self._clock = clock
        self._monotonic = monotonic
        self._most = most
        self._known: dict[Identity, Tracked] = {}
        self._grids: dict[tuple[str, float], Grid] = {}
        self._lock = threading.Lock()  # of the two above, where they change
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="quantum_control scaler", daemon=True)

    def __len__(self) -> int:
        return len(self._known)

    def track(self, namespace: str, name: str, metadata: Mapping[str, str]) -> Tracked:
        """Find the target of a trigger; take it up if it is new.

        Raises
        ------
        ConfigError
            The metadata is wrong.
        FullError
            There are too many.
        """
        identity = (namespace, name, frozenset(metadata.items()))
        known = self._known.get(identity)
        if known is not None:
            known.asked = self._monotonic()
            return known
        target = Target.of(namespace, name, metadata, self._sources)
        with self._lock:
            if len(self._known) >= self._most:
                raise FullError(f"this scaler has {self._most} targets already; give it --most-targets")
            known = self._known.setdefault(identity, Tracked(target, self._monotonic()))
            where = (target.server, target.law.interval)
            if where not in self._grids:
                self._grids[where] = Grid(*where, self._due(target.law.interval))
            self._grids[where].new.append(known)
        self._wake.set()
        return known

    def replicas(self, tracked: Tracked) -> int:
        """Replicas that a target is to have now.

        Raises
        ------
        QueryError
            The query is at fault.
        UnavailableError
            Nothing was measured for longer than the target's hold, and it has no fallback.
        """
        target = tracked.target
        if tracked.replicas == tracked.replicas and self._fresh(tracked):
            self.counts.held += tracked.trouble is not None
            return int(tracked.replicas)
        if isinstance(tracked.trouble, QueryError):
            raise tracked.trouble
        if target.fallback is not None and (tracked.trouble is not None or tracked.seen >= 0):
            self.counts.fallbacks += 1
            return target.fallback
        why = tracked.trouble or "it is new and being warmed up; ask again"
        raise UnavailableError(f"no replicas for {target.namespace}/{target.name}: {why}")

    def active(self, tracked: Tracked) -> bool:
        """Whether a target has work; raises as `replicas`."""
        wanted = self.replicas(tracked)
        return tracked.active if self._fresh(tracked) else wanted > 0

    def touch(self, tracked: Tracked) -> None:
        """Count a target as asked for now."""
        tracked.asked = self._monotonic()

    def _fresh(self, tracked: Tracked) -> bool:
        target = tracked.target
        age = self._clock() - tracked.seen * target.law.interval
        return tracked.seen >= 0 and age <= target.hold + target.law.interval + self._settle

    # ---- the background ---------------------------------------------------------------------------

    def start(self) -> None:
        """Step the targets on a thread until `stop`."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; a question that is under way is waited for."""
        self._stopped.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def _work(self) -> None:
        while not self._stopped.is_set():
            self._wake.clear()
            try:
                self.round()
            except Exception:  # noqa: BLE001 - whatever it was, the other targets go on
                _log.exception("a round of the scaler failed; the next one tries again")
            # New targets wait a moment for others, so that they are asked for together.
            if self._wake.wait(self._until_due()):
                self._stopped.wait(0.05)

    def _until_due(self) -> float:
        now = self._clock()
        waits = [(grid.point + 1) * grid.interval + self._settle - now for grid in list(self._grids.values())]
        return max(0.2, min([5.0, *waits]))

    def _due(self, interval: float) -> int:
        return floor((self._clock() - self._settle) / interval)

    def round(self) -> None:
        """Take the points that are due of all grids, and the new targets."""
        begun = self._monotonic()
        self._forget()
        for grid in list(self._grids.values()):
            try:
                if self._step(grid) | self._warm(grid):
                    self.advanced()
            except SensorError as error:
                self.counts.failures += 1
                for each in [*grid.targets, *grid.new]:
                    each.trouble = error
                self.advanced()
        self.counts.behind_seconds = self._monotonic() - begun

    def _step(self, grid: Grid) -> bool:
        due = self._due(grid.interval)
        if due <= grid.point:
            return False
        if not grid.targets:
            grid.point = due
            return False
        if grid.point < window_start(due):  # after so long a pause they begin anew
            with self._lock:
                grid.new += grid.targets
            grid.targets, grid.runs, grid.point = [], Runs(), due
            return False
        targets = list(grid.targets)
        found = self._sources[grid.server].ranges(_asked(targets), grid.point + 1, due, grid.interval)
        points = points_of(targets, found, due - grid.point)
        for row in range(due - grid.point):
            grid.runs.advance(grid.point + 1 + row, targets, points, row)
            self.counts.steps += 1
        for each in targets:
            if each.trouble is None and each.seen < due:
                each.trouble = _no_value(each.target)
        grid.point = due
        return True

    def _warm(self, grid: Grid) -> bool:
        new = list(grid.new[:BATCH])
        if not new:
            return False
        first = window_start(grid.point)
        found = self._sources[grid.server].ranges(_asked(new), first, grid.point, grid.interval)
        points = points_of(new, found, grid.point - first + 1)
        grid.runs.warm(new, points, first)
        for each in new:
            if each.trouble is None and each.seen < grid.point:
                each.trouble = _no_value(each.target)
        grid.targets += new
        with self._lock:
            del grid.new[: len(new)]
            if grid.new:
                self._wake.set()
        self.counts.warmed += len(new)
        return True

    def _forget(self) -> None:
        before = self._monotonic() - FORGET
        old = {id(each) for each in list(self._known.values()) if each.asked < before and not each.streams}
        if not old:
            return
        with self._lock:
            self._known = {key: each for key, each in self._known.items() if id(each) not in old}
            for grid in self._grids.values():
                grid.targets = [each for each in grid.targets if id(each) not in old]
                grid.new = [each for each in grid.new if id(each) not in old]


def _asked(targets: Sequence[Tracked]) -> list[str]:
    return [text for each in targets for text in (each.target.query, each.target.backlog) if text]


def _no_value(target: Target) -> UnavailableError:
    return UnavailableError(
        f"{target.server} has no recent value of 0 or more for {target.query!r}: look whether its target is"
        " up; a metric that is only sometimes there needs ' or vector(0)'"
    )
