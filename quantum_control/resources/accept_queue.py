"""Connections that wait to be accepted, and those that were, from the kernel's tables in /proc."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from quantum_control.resources.listening import LISTENS, table, unix_sockets

CONNECTING = "02"
"""State, in /proc/net/unix, of a connection that nobody has accepted yet (Linux, net/unix/af_unix.c)."""


@dataclass(frozen=True, slots=True)
class Connections:
    """The connections of some listening sockets at one instant."""

    listeners: int
    """Listening sockets among those that were asked for."""
    waiting: int
    """Connections that are complete and not accepted."""
    accepted: frozenset[int]
    """Inodes, among those that were asked for, of connections that were accepted from these."""


def connections(net: Path, inodes: Iterable[int]) -> Connections:
    """What waits at the listening sockets among `inodes`, and which of the others came from there.

    `net` is the folder with the tables: those of a process are of its network namespace.
    """
    wanted = set(inodes)
    listeners, waiting = 0, 0
    accepted: set[int] = set()
    for name in ("tcp", "tcp6"):
        rows = [fields for fields in table(net / name) if len(fields) > 9]
        places = set()
        for fields in rows:
            if fields[3] == LISTENS and int(fields[9]) in wanted:
                listeners += 1
                waiting += int(fields[4].partition(":")[2], 16)
                places.add(fields[1])
        anywhere = {place.partition(":")[2] for place in places if not place.partition(":")[0].strip("0")}
        for fields in rows:
            if fields[3] != LISTENS and int(fields[9]) in wanted:
                _, _, port = fields[1].partition(":")
                if fields[1] in places or port in anywhere:
                    accepted.add(int(fields[9]))
    named = list(unix_sockets(net))
    names = {each.name for each in named if each.accepts and each.inode in wanted}
    for each in named:
        if each.name not in names:
            continue
        if each.accepts:
            listeners += each.inode in wanted
        elif each.inode == 0:
            waiting += each.state == CONNECTING
        elif each.inode in wanted:
            accepted.add(each.inode)
    return Connections(listeners, waiting, frozenset(accepted))


def overflows(net: Path) -> int:
    """Connections that found the queue of a listening socket full, of the whole network namespace."""
    rows = [fields for fields in table(net / "netstat", skip=0) if fields[:1] == ["TcpExt:"]]
    told = dict(zip(*rows, strict=False)) if len(rows) == 2 else {}
    return int(told.get("ListenOverflows", 0))
