"""Socket buffers of a network namespace: how far the kernel may grow them, by sysctl."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from quantum_control.core.errors import ConfigError, SafetyError, SensorError
from quantum_control.core.resource import Resource, ResourceState
from quantum_control.resources.buffer_need import Permission, need
from quantum_control.resources.reading import positive_int
from quantum_control.resources.sysctls import ROOT, Sysctls, Values
from quantum_control.resources.tcp_connections import Connection, connections
from quantum_control.resources.tcp_memory import tcp_memory_low, tcp_memory_used

_log = logging.getLogger("quantum_control")

RECEIVE, SEND = "ipv4/tcp_rmem", "ipv4/tcp_wmem"
CAPS = {"core/rmem_max": RECEIVE, "core/wmem_max": SEND}
"""What applications may ask for by SO_RCVBUF and SO_SNDBUF, and what they follow."""

LARGEST = 2**31 - 1
"""Largest buffer that the kernel takes: it keeps each in an int."""


@dataclass(frozen=True, slots=True)
class _Sample:
    time: float
    values: Values
    connections: list[Connection]
    used: int


class SocketBuffers(Resource):
    """Steers the largest buffer that a TCP connection of a network namespace may get, in bytes.

    The kernel sizes the buffers of each connection by itself, up to the last
    number of `tcp_rmem` and `tcp_wmem`; that number is what is set, here and for
    connections that are open. The size is the larger of the two, and they keep
    the proportion in which they were found.

    Demand is what the connections can make use of (see `Need`), as far as it
    does no harm (see `Permission`): to the delay, or to the memory of TCP, which
    is to stay below the first number of `tcp_mem`.

    Parameters
    ----------
    netns
        Network namespace: a name of `ip netns`, or a path such as
        /proc/123/ns/net. None is the caller's own.
    min_bytes, max_bytes
        Bounds of the size; by default the buffer that a connection starts with,
        and what `tcp_mem` lets a single connection have in both directions
        before the kernel saves, which is looked at again at each measurement.
        They can only be drawn closer.
    clock
        Any callable that returns seconds and does not run backwards.
    root
        In place of /proc/sys/net.

    Raises
    ------
    ConfigError
        Bounds that leave nothing to set.
    GoneError, SensorError
        The namespace is not there, cannot be entered (root) or has no TCP sysctls.

    Notes
    -----
    `net.core.rmem_max` and `wmem_max`, which bound what an application may ask for by
    itself, are one pair for the whole machine. Inside another network namespace the
    kernel shows them and does not let them be set; they stay as they are. In the
    machine's own namespace they are raised along with a size above the one found,
    and never lowered, which reaches every namespace. `scope` says which of the two it is.
    """

    unit = "bytes"
    max_size: int

    def __init__(
        self,
        netns: str | os.PathLike[str] | None = None,
        *,
        min_bytes: int | None = None,
        max_bytes: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        root: Path = ROOT,
    ) -> None:
        self._sysctls = Sysctls(netns, (RECEIVE, SEND, *CAPS), root=root)
        self._clock = clock
        found = self._sysctls.found
        for name in (RECEIVE, SEND):
            if len(found.get(name, ())) != 3:
                raise SensorError(
                    f"{root / name}: not the three numbers of a TCP buffer, but {found.get(name)}"
                )
        self._most = {name: found[name][-1] for name in (RECEIVE, SEND)}
        self._found = max(self._most.values())
        self._low = tcp_memory_low()
        self._asked = min_bytes, max_bytes
        self._set_bounds()
        self._most_at_first = self.max_size
        self._ordered = self._found
        self._permission = Permission(self._found, self._low)
        self._last: _Sample | None = None
        self._metrics: dict[str, float] = {}
        if self._global_caps():
            _log.warning("%s", self.scope)

    @property
    def scope(self) -> str:
        """How far what is set reaches, for people."""
        if self._global_caps():
            return (
                "net.core.rmem_max and wmem_max are one pair for the whole machine: where they are raised"
                " here, they are raised for every network namespace"
            )
        return (
            "tcp_rmem and tcp_wmem of this network namespace only; net.core.rmem_max and wmem_max are one"
            " pair for the whole machine, cannot be set from here, and stay as they are"
        )

    def measure_state(self) -> ResourceState:
        """What the connections can make use of, over the size.

        Raises
        ------
        GoneError, SensorError
            The namespace is gone, or the kernel cannot be asked.
        """
        sample = self._sysctls.inside(self._sample)
        last, self._last = self._last, sample
        self._sysctls.notice(sample.values)
        self._heed(tcp_memory_low())  # from here: other namespaces than the machine's do not show it
        size = float(self._size(sample.values))
        if last is None or not sample.time > last.time:
            return ResourceState.from_demand(size, size=size)  # nothing to compare with yet
        before = {one.cookie: one for one in last.connections}
        wanted = need(before, sample.connections, sample.time - last.time)
        self._metrics = wanted.figures() | {
            "needed_bytes": self._largest(wanted.receive, wanted.send),
            "held_bytes": self._largest(wanted.receive_held, wanted.send_held),
            "receive_max_bytes": float(sample.values[RECEIVE][-1]),
            "send_max_bytes": float(sample.values[SEND][-1]),
            "memory_share": sample.used / self._low,
        }
        demand = self._permission.update(
            size, self._metrics["needed_bytes"], self._metrics["held_bytes"], wanted.bloated, sample.used
        )
        return ResourceState.from_demand(min(demand, float(self.max_size)), size=size)

    def apply_control(self, new_size: int) -> None:
        """Let a connection's buffers grow to `new_size` bytes; the size that was found restores all numbers.

        Where `tcp_mem` was lowered since the beginning, no further than it allows by now.

        Raises
        ------
        ConfigError
            Not a size, or outside of the bounds.
        SafetyError
            Somebody else has changed the numbers; they are left alone.
        ActuatorError
            The privilege is missing, or the namespace is gone; nothing was changed.
        """
        positive_int("new_size", new_size)
        if new_size == self._found:
            self._sysctls.restore()
            self._ordered = new_size
            return
        most = max(self._most_at_first, self.max_size)
        if not self.min_size <= new_size <= most:
            raise ConfigError(f"new_size={new_size}: give {self.min_size} to {most} bytes")
        new_size = min(new_size, self.max_size)  # whoever steers knows the bound of the beginning
        if self._sysctls.foreign:
            raise SafetyError(
                f"{', '.join(sorted(self._sysctls.foreign))} were changed by somebody else and are left alone"
            )
        self._sysctls.order(self._values(new_size))
        self._ordered = new_size

    def get_metrics(self) -> dict[str, float]:
        """Figures of the last measured interval; none before the second measurement.

        `needed_bytes`: most that any connection can make use of. `held_bytes`:
        largest buffer that any has. Both in terms of the size.
        `receive_max_bytes`, `send_max_bytes`: in force. `bytes_per_second`: payload, both ways.
        `limited`, `peer_limited`: largest share of the time in which one
        connection waited for its own send buffer, and for the window of its
        peer, which cannot be helped from here. `queueing_seconds`: what connections that
        fill their buffer add to the round trip. `memory_share`: memory of TCP
        over the first number of `tcp_mem`. `connections`: those that carry data.
        `set_by_hand`: 1 while numbers changed by somebody else are left alone.
        """
        return self._metrics | {"set_by_hand": float(bool(self._sysctls.foreign))}

    def snapshot(self) -> dict[str, object]:
        """All numbers as they were found, as JSON takes them."""
        return self._sysctls.snapshot()

    def restore(self, snapshot: Mapping[str, object]) -> None:
        """Put back what `snapshot()` told, also in another process; of what was set here as `release()`.

        Raises
        ------
        ActuatorError
            The numbers were not taken, or it is no snapshot.
        """
        self._sysctls.restore_from(snapshot)
        self._ordered = self._found = max(self._sysctls.found[name][-1] for name in (RECEIVE, SEND))
        self._most = {name: self._sysctls.found[name][-1] for name in (RECEIVE, SEND)}
        self._permission = Permission(self._found, self._low)

    def release(self) -> None:
        """Put back all numbers as they were found, except those that somebody else has changed.

        In a forked child that has ordered nothing nothing is done.

        Raises
        ------
        ActuatorError
            They were not taken.
        """
        if not self._sysctls.inherited:
            self.apply_control(self._found)

    def _heed(self, low: int) -> None:
        """Follow tcp_mem, which an operator may change at any time."""
        if low == self._low:
            return
        self._low = self._permission.low = low
        before = self.max_size
        try:
            self._set_bounds()
        except ConfigError:  # not even the buffer that a connection starts with
            self.max_size = self.min_size
        _log.warning(
            "tcp_mem begins to save at %d bytes by now: at most %d for a connection, not %d",
            low,
            self.max_size,
            before,
        )

    def _set_bounds(self) -> None:
        least, most = self._asked
        found = self._sysctls.found
        starts = max(-(-found[name][1] * self._found // self._most[name]) for name in (RECEIVE, SEND))
        # Both directions of one connection, in the proportion that is kept, fit into the memory.
        fits = min(LARGEST, self._low * self._found // sum(self._most.values()))
        self.min_size = starts if least is None else max(starts, positive_int("min_bytes", least))
        self.max_size = fits if most is None else min(fits, positive_int("max_bytes", most))
        if self.min_size > self.max_size:
            raise ConfigError(
                f"socket buffers of {self.min_size} to {self.max_size} bytes: nothing is in between;"
                " a connection starts with the first, and tcp_mem bounds the second"
            )

    def _sample(self) -> _Sample:
        return _Sample(self._clock(), self._sysctls.read(), connections(), tcp_memory_used())

    def _largest(self, receive: float, send: float) -> float:
        """Size of which the two directions have these parts at most."""
        return max(receive * self._found / self._most[RECEIVE], send * self._found / self._most[SEND])

    def _values(self, size: int) -> Values:
        values = {}
        for name, numbers in self._sysctls.found.items():
            part = size * self._most[CAPS.get(name, name)] // self._found
            if name in CAPS:  # far below the size found as a rule: only growth past that is followed
                part = max(part, numbers[0]) if size > self._found else numbers[0]
            values[name] = *numbers[:-1], part
        return values

    def _size(self, values: Values) -> int:
        """Size in force."""
        if all(values[name] == self._values(self._ordered)[name] for name in (RECEIVE, SEND)):
            return self._ordered
        return round(max(self._largest(values[RECEIVE][-1], values[SEND][-1]), 1.0))

    def _global_caps(self) -> bool:
        return any(name in self._sysctls.found and name not in self._sysctls.fixed for name in CAPS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def __repr__(self) -> str:
        return f"<SocketBuffers of {self._sysctls.netns or 'this network namespace'}, {self._ordered} bytes>"
