"""Buffers as a resource: the queue of an interface, or the socket buffers of TCP."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Any, Self

from quantum_control.core.errors import ConfigError, unknown_name
from quantum_control.core.resource import Resource
from quantum_control.resources.front import Front
from quantum_control.resources.netlink import Netlink
from quantum_control.resources.queue_site import recognize
from quantum_control.resources.sysctls import Sysctls

WAYS = {
    "queue": ("queue_limit", "QueueLimit"),
    "sysctl": ("socket_sysctl", "SocketBuffers"),
    "ebpf": ("socket_bpf", "SockOps"),
}
"""By the name of the control: module and class, imported when first used."""


class BufferResource(Front, Resource):
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
        self._choose("a buffer", control, WAYS, options)

    @classmethod
    def again(cls, options: Mapping[str, Any], snapshot: Mapping[str, Any]) -> Self:
        """Make it anew from its options to put a snapshot back.

        Raises
        ------
        GoneError
            The queue, the interface, the network namespace or the cgroup has ended, and what was set
            with it; what has its name, or its place, by now is another.
        ConfigError, SensorError
            As for a new one.
        """
        netns = options.get("netns")
        if "identity" in snapshot:
            Sysctls(netns, ()).recognize(snapshot)
        elif "interface" in snapshot:
            with closing(Netlink(netns)) as netlink:
                recognize(netlink, snapshot)
        return cls(**options)
