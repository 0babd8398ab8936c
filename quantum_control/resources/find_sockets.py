"""Of which network namespaces the socket buffers could be steered."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from quantum_control.core.discovery import Found
from quantum_control.core.errors import ConfigError, SensorError
from quantum_control.resources.netns import NAMED
from quantum_control.resources.socket_sysctl import RECEIVE, SEND
from quantum_control.resources.sysctls import ROOT, Sysctls


def find(named: Path = NAMED, root: Path = ROOT) -> Iterator[Found]:
    """The network namespace of the caller, and those that have a name and may be entered."""
    yield from _found(None, root)
    for each in sorted(named.iterdir()) if named.is_dir() else ():
        yield from _found(each.name, root)


def _found(netns: str | None, root: Path) -> Iterator[Found]:
    try:
        found = Sysctls(netns, (RECEIVE, SEND), root=root).found
    except (ConfigError, SensorError):
        return  # gone meanwhile, or not for the caller to see
    if RECEIVE in found and SEND in found:
        place = {} if netns is None else {"netns": netns}
        yield Found(
            "buffer",
            "sockets" if netns is None else f"sockets-{netns}",
            {"control": "sysctl", **place},
            f"TCP may grow a receive buffer to {found[RECEIVE][-1]} bytes,"
            f" a send buffer to {found[SEND][-1]}",
        )
