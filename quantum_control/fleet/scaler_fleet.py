"""All targets of a scaler: taken up when asked for, and looked up by the calls.

Measuring and stepping are done elsewhere (`scaler_process`), and reported here.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from math import inf, nan
from typing import Protocol

from quantum_control.core.errors import QuantumControlError
from quantum_control.fleet.scaler_history import QueryError
from quantum_control.fleet.scaler_report import Counts, Report
from quantum_control.fleet.scaler_steps import SETTLE, UnavailableError
from quantum_control.fleet.scaler_target import Target

FORGET = 900.0
"""Seconds after which a target that nobody asks for is dropped: KEDA asks every 30 s."""

FORGET_EVERY = 60.0
"""Seconds between looks for such."""

MOST_TARGETS = 20_000

Identity = tuple[str, str, frozenset[tuple[str, str]]]


class FullError(QuantumControlError):
    """There are too many targets."""


class Stepping(Protocol):
    """What steps the targets, as `scaler_steps.Stepper`."""

    def take(self, targets: Mapping[int, Target]) -> None:
        """Take up targets, by their numbers."""

    def drop(self, numbers: Collection[int]) -> None:
        """Forget them."""


@dataclass(slots=True, eq=False)
class Tracked:
    """A target, and what was last reported of it: see `scaler_report.Report`."""

    target: Target
    number: int
    asked: float
    """When somebody last asked for it, in seconds of the monotonic clock."""
    replicas: float = nan
    value: float = nan
    waiting: float = 0.0
    seen: int = -1
    measured: float = -inf
    """When that was, in seconds of the monotonic clock."""
    trouble: Exception | None = None
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


class Fleet:
    """The targets.

    Parameters
    ----------
    servers
        Addresses of the Prometheus servers that a trigger may name; the first is the default.
    stepping
        What steps them; it tells `heard` and `worked`.
    settle
        Seconds after a point of the grid at which it is asked for.
    clock
        Seconds since 1970.
    monotonic
        Seconds on a clock that is never set.
    most
        How many targets there may be.
    """

    def __init__(
        self,
        servers: Collection[str],
        stepping: Stepping,
        *,
        settle: float = SETTLE,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        most: int = MOST_TARGETS,
    ) -> None:
        self.counts = Counts()
        """Of the work in the background, as last reported."""
        self.held = 0
        """Calls answered with the last good value."""
        self.fallbacks = 0
        """Calls answered with the fallback."""
        self.advanced: Callable[[list[Tracked]], object] = lambda changed: None  # noqa: ARG005
        """Called with the targets that became known, or whose activity or trouble is another."""
        self._servers = dict.fromkeys(servers)
        self._stepping = stepping
        self._settle = settle
        self._clock = clock
        self._monotonic = monotonic
        self._most = most
        self._known: dict[Identity, Tracked] = {}
        self._by_number: dict[int, Tracked] = {}
        self._next = 0
        self._looked = monotonic()
        self._lock = threading.Lock()  # of the four above, where they change

    def __len__(self) -> int:
        return len(self._known)

    @property
    def targets(self) -> dict[int, Target]:
        """All targets by their numbers."""
        with self._lock:
            return {number: each.target for number, each in self._by_number.items()}

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
        target = Target.of(namespace, name, metadata, self._servers)
        with self._lock:
            if len(self._known) >= self._most:
                raise FullError(f"this scaler has {self._most} targets already; give it --most-targets")
            known = Tracked(target, self._next, self._monotonic())
            self._known[identity] = self._by_number[self._next] = known
            self._next += 1
        self._stepping.take({known.number: target})
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
            self.held += tracked.trouble is not None
            return int(tracked.replicas)
        if isinstance(tracked.trouble, QueryError):
            raise tracked.trouble
        if target.fallback is not None and tracked.known:
            self.fallbacks += 1
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
        age = self._monotonic() - tracked.measured
        return age <= target.hold + target.law.interval + self._settle

    def heard(self, report: Report) -> None:
        """Note what is new of some targets; what is known of one stays until there is something newer.

        From here on a measurement ages by a clock that is never set.
        """
        changed = []
        wall, now = self._clock(), self._monotonic()
        for number, replicas, value, waiting, seen in zip(
            report.numbers, report.replicas, report.value, report.waiting, report.seen, strict=True
        ):
            each = self._by_number.get(number)
            if each is None:  # dropped meanwhile
                continue
            before = (each.known, each.active, each.trouble)
            if seen >= 0:
                if seen != each.seen:
                    each.measured = now - max(wall - seen * each.target.law.interval, 0.0)
                each.replicas, each.value, each.waiting, each.seen = replicas, value, waiting, seen
            each.trouble = report.trouble.get(number)
            if each.trouble is not None or before != (True, each.active, None):
                changed.append(each)
        if changed:
            self.advanced(changed)

    def worked(self, counts: Counts) -> None:
        """Note what the work in the background has come to; forget whom nobody asks for."""
        self.counts = counts
        now = self._monotonic()
        if now < self._looked + FORGET_EVERY:
            return
        self._looked, before = now, now - FORGET
        with self._lock:
            old = {each.number for each in self._known.values() if each.asked < before and not each.streams}
            if not old:
                return
            self._known = {key: each for key, each in self._known.items() if each.number not in old}
            for number in old:
                del self._by_number[number]
        self._stepping.drop(old)
