"""The limit of a queue at a network interface, as a resource whose setpoint is a time."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from math import inf
from types import TracebackType
from typing import TYPE_CHECKING, Self

from quantum_control.core.errors import ActuatorError, ConfigError, GoneError, SensorError
from quantum_control.core.forked import Owner
from quantum_control.core.resource import Resource, ResourceState
from quantum_control.core.safety import Bounds, positive_int
from quantum_control.resources.connection_kinds import client_module
from quantum_control.resources.drain import Drain
from quantum_control.resources.queue_site import QueueSite
from quantum_control.resources.setting_custody import HANDS_OFF_SECONDS, SettingCustody, hands_off_seconds

if TYPE_CHECKING:
    from quantum_control.resources.queue_prometheus import NodeExporterCounts

_log = logging.getLogger("quantum_control")

TARGET_SECONDS = 0.02
"""Longest wait that the limit allows where none is given: about the round trip to a server of the same
country, and so the buffer that keeps a link busy under a few connections of that length."""

SMALLEST = {"bytes": 4, "packets": 4, "microseconds": 1000}
"""Least limit: in full packets, fewer than which do not let TCP notice a loss without a time-out
(three duplicate acknowledgements); or 1 ms of CoDel's target."""

LARGEST = {"bytes": 1 << 26, "packets": 1 << 16, "microseconds": 1_000_000}
"""Largest limit where none is given: 64 MiB, 50 ms at 10 Gbit/s."""


class QueueLimit(Resource):
    """Steers how much may wait at an interface, so that nothing waits longer than `target_seconds`.

    Parameters
    ----------
    interface
        Its name, such as "eth0".
    metric_source
        Where the counts come from: None is netlink; `prometheus://HOST:PORT` a
        Prometheus that has them from a node_exporter, as fresh as its scrapes.
    instance
        With a `metric_source`: label `instance` of this machine, where that knows more than one.
    target_seconds
        Longest wait in the queue: the limit follows what drains in that time.
    parent
        Class whose queue is meant, as `tc` writes it ("1:10", or "root"); not
        needed where the interface has only one that has a limit.
    replace
        Where the queue is the kernel's own default, which cannot be changed in
        place, put a bfifo there with the first limit that is set; what waits at that
        moment is lost. `release()` brings the default back. Until then the default is
        measured, and the size is the limit that the bfifo would be born with.
    netns
        Network namespace, as a name of `ip netns` or a path; None is this process's.
    min_limit, max_limit
        Bounds, in the unit of the queue.
    hands_off
        Seconds for which a limit that somebody else has set is left alone. It is what is put back
        in the end.
    clock
        Any callable that returns seconds and does not run backwards.

    Raises
    ------
    ConfigError
        A parameter is out of range, or the interface has no queue that can be steered.
    GoneError
        The interface or the namespace is not there.
    SensorError
        It may not be looked at.
    """

    def __init__(
        self,
        interface: str,
        metric_source: str | None = None,
        *,
        target_seconds: float = TARGET_SECONDS,
        instance: str | None = None,
        parent: str | None = None,
        replace: bool = False,
        netns: str | None = None,
        min_limit: int | None = None,
        max_limit: int | None = None,
        hands_off: float = HANDS_OFF_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not 0.0 < target_seconds < inf:
            raise ConfigError(f"target_seconds={target_seconds!r}: seconds, more than 0")
        hands_off_seconds(hands_off)
        self._clock = clock
        self._counts: NodeExporterCounts | None = None
        self._site = site = QueueSite(interface, parent, replace, netns)
        try:
            self.unit = site.unit
            grain = site.frame if site.unit == "bytes" else 1
            least = SMALLEST[site.unit] * grain
            self.min_size = positive_int("min_limit", least if min_limit is None else min_limit)
            self.max_size = positive_int("max_limit", LARGEST[site.unit] if max_limit is None else max_limit)
            Bounds(self.min_size, self.max_size)
            _, limit = site.read()
            if metric_source is not None:
                counts = client_module("prometheus", "queue_prometheus")
                self._counts = counts.NodeExporterCounts(metric_source, interface, instance)
        except BaseException:
            site.close()
            raise
        what = f"the limit of {site.qdisc} on {site.interface}"
        self._custody = SettingCustody(what, limit, hands_off, clock)
        self._found = self._custody.original = site.born or limit
        self._changed = False  # whether a limit was set here
        self._owner = Owner()
        self._drain = Drain(target_seconds, float(grain))

    def measure_state(self) -> ResourceState:
        """Limit that the drain rate asks for, over the limit.

        Raises
        ------
        GoneError
            The namespace, the interface or its queue discipline has gone, or was replaced.
        SensorError
            The kernel or Prometheus cannot be asked.
        """
        qdisc, limit = self._site.read()
        self._custody.notice(limit)
        now, qdisc = (self._clock(), qdisc) if self._counts is None else self._counts(qdisc)
        size = float(max(1, limit))
        if self.unit == "packets":
            self._drain.count(now, qdisc.sent_packets, qdisc.backlog_packets, qdisc.drops, limit)
        else:
            room = limit if self.unit == "bytes" else inf  # a CoDel's target is no room that could be full
            self._drain.count(now, qdisc.sent_bytes, qdisc.backlog_bytes, qdisc.drops, room)
        if self.unit == "microseconds":
            return ResourceState.from_demand(1e6 * self._drain.target, size=size)
        return ResourceState.from_demand(self._drain.demand(size), size=size)

    def apply_control(self, new_size: int) -> None:
        """Set the limit, and read it back; what is queued stays queued.

        The size that was found puts back the limit found, or the one that somebody else has set
        since, at once: of a pfifo_fast what no longer fits is thrown away. Of a queue that has
        gone nothing is left to be put back.

        Raises
        ------
        ConfigError
            Not a positive integer, or one past what the kernel can hold.
        SafetyError
            Somebody else has set the limit within the last `hands_off` seconds.
        ActuatorError
            It was not taken, or the queue is gone; the limit is what it was before.
        """
        if positive_int("new_size", new_size) > 0xFFFFFFFF:
            raise ConfigError(f"new_size={new_size}: the kernel holds limits below 2**32")
        custody = self._custody
        try:
            qdisc, limit = self._site.read()
        except SensorError as error:
            if new_size in (custody.original, self._found) and isinstance(error, GoneError):
                _log.warning("%s; nothing of it can be put back", error)
                return
            raise ActuatorError(f"setting the limit to {new_size}: {error}") from error
        custody.notice(limit)
        # The size found before stands for what somebody else has set and nobody has measured yet.
        back = new_size == custody.original or (custody.theirs and new_size == custody.replaced)
        wanted = custody.original if back else self._site.shrunk(qdisc, limit, new_size)
        if wanted != limit:
            self._owner.claim()
            custody.order(wanted, partial(self._site.write, qdisc, limit))
            self._changed = True

    def get_metrics(self) -> dict[str, float]:
        """Figures of the last measured interval; none before there was one.

        `sent`: what has left, per second, in the unit of the limit (bytes for a
        CoDel). `drops`: packets refused, per second. `wait_seconds`: mean time in
        the queue (Little's law on the backlog at both ends of the interval).
        `queue_depth`: backlog at its end. `drain_rate`: what drains per second
        while something waits; nan before that was seen. `set_by_hand`: 1 while a
        limit set by somebody else is left alone.

        What has left is not called `throughput`, by which a controller looks for
        the size beyond which there is no more of it: here the time decides.
        """
        return self._drain.metrics() | {"set_by_hand": float(self._custody.left_alone > 0.0)}

    @property
    def found_anew(self) -> int:
        """How often `snapshot()` has changed, as somebody else has set a limit."""
        return self._custody.found_anew

    def snapshot(self) -> dict[str, object]:
        """The setting as it was found, for `restore`, also by another process."""
        return self._site.snapshot() | {"limit": self._custody.original}

    def restore(self, snapshot: Mapping[str, object]) -> None:
        """Put back what `snapshot()` returned, here or before this process began.

        A limit that somebody else has set since this object was made stays; of a queue that has
        gone, or in whose place there is another, nothing is left to be put back.

        Raises
        ------
        ActuatorError
            The kernel refuses, or it is no snapshot.
        """
        try:
            self._site.recognize(snapshot)
        except GoneError as error:
            _log.warning("%s; nothing of it can be put back", error)
            return
        except SensorError as error:
            raise ActuatorError(f"putting back the limit: {error}") from error
        limit = snapshot.get("limit")
        if snapshot.get("added"):
            if self._site.bfifo is None:
                raise ActuatorError(f"{snapshot} was taken with replace=True; put it back with that")
            self._take_away()
            return
        if not self._changed and isinstance(limit, int):  # it was taken by another process
            self._found = self._custody.original = limit
        self.apply_control(self._custody.original)

    def release(self) -> None:
        """Take away what `replace` has put there, and close the connection to the kernel.

        If somebody else has set its limit, it stays. So it does in a forked
        child that has set nothing.

        Raises
        ------
        ActuatorError
            The kernel refuses.
        """
        try:
            if not self._owner.elsewhere:
                self._take_away()
        finally:
            self._site.close()
            if self._counts is not None:
                self._counts.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _take_away(self) -> None:
        """Take away the bfifo that was put there, unless somebody else has set its limit."""
        site = self._site
        if not site.added:
            return
        with suppress(SensorError):
            self._custody.notice(site.read()[1])
        if self._custody.original != self._found:
            self.apply_control(self._custody.original)
            _log.warning("%s on %s stays: its limit was set by somebody else", site.qdisc, site.interface)
            return
        site.remove()
        self._custody.ordered = self._found
