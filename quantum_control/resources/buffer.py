"""Buffers as a resource: the queue of an interface, or the socket buffers of TCP."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import TracebackType
from typing import Any, Protocol, Self, cast

from quantum_control.core.errors import ConfigError, unknown_name
from quantum_control.core.resource import Resource, ResourceState

WAYS = {
    "queue": ("queue_limit", "QueueLimit"),
    "sysctl": ("socket_sysctl", "SocketBuffers"),
    "ebpf": ("socket_bpf", "SockOps"),
}
"""By the name of the control: module and class, imported when first used."""


class _Restorable(Protocol):
    def snapshot(self) -> dict[str, object]: ...
    def restore(self, snapshot: Mapping[str, object]) -> None: ...
    def release(self) -> None: ...


class BufferResource(Resource):
    """Steers a buffer of the network.

    Parameters
    ----------
    interface
        With control="queue": its name, such as "eth0".
    metric_source
        With control="queue": where the counts come from; None is netlink,
        `prometheus://HOST:PORT` is a Prometheus that has them from a
        node_exporter. Limits are read and set by netlink either way.
    control
        "queue": the limit of the interface's queue, by `QueueLimit`.
        "sysctl": how far TCP's buffers may grow, by `SocketBuffers`.
        "ebpf": the buffers of each connection, by `SockOps`.
    options
        Passed on to that class.

    Raises
    ------
    ConfigError
        The control is unknown, something that it needs is missing, or it does
        not take what is given; and what that class raises.
    """

    def __init__(
        self,
        interface: str | None = None,
        metric_source: str | None = None,
        control: str = "queue",
        **options: Any,
    ) -> None:
        if control not in WAYS:
            raise ConfigError(unknown_name("control of a buffer", control, WAYS))
        if control == "queue":
            if interface is None:
                raise ConfigError('give interface=, such as "eth0"; `ip link` lists those there are')
            options |= {"interface": interface, "metric_source": metric_source}
        elif interface is not None or metric_source is not None:
            raise ConfigError(
                f"control={control!r} takes neither interface= nor metric_source=: it counts by the kernel's"
                " own tables, and reaches all interfaces of a network namespace"
            )
        module, name = WAYS[control]
        kind = getattr(import_module(f"quantum_control.resources.{module}"), name)
        try:
            self._way: Resource = kind(**options)
        except TypeError as error:
            raise ConfigError(f"control={control!r}: {error}") from error
        self.unit = self._way.unit
        self.min_size = self._way.min_size
        self.max_size = self._way.max_size

    def measure_state(self) -> ResourceState:
        """Measure what is steered; errors as of its class."""
        return self._way.measure_state()

    def apply_control(self, new_size: int) -> None:
        """Set the size of what is steered; errors as of its class."""
        self._way.apply_control(new_size)

    def get_metrics(self) -> dict[str, float]:
        """Figures of what is steered."""
        return self._way.get_metrics()

    def snapshot(self) -> dict[str, object]:
        """The whole setting as it was found, for `restore`."""
        return self._restorable.snapshot()

    def restore(self, snapshot: Mapping[str, object]) -> None:
        """Put back what `snapshot()` returned, also in another process; errors as of the class."""
        self._restorable.restore(snapshot)

    def release(self) -> None:
        """Take away what was put in place to steer, and close what is open."""
        self._restorable.release()

    @property
    def _restorable(self) -> _Restorable:
        return cast(_Restorable, self._way)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
