"""What could be steered on this machine, as the adapters find it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Found:
    """Something that could be steered here."""

    kind: str
    """Name of the resource type as plug-ins register it: "buffer", "memory", ..."""
    name: str
    """Short and unique for people and configuration files: "queue-eth0". `quantum-control discover` puts "-"
    for what no name in a configuration may have, as a colon, and shortens it."""
    options: Mapping[str, object] = field(default_factory=dict)
    """Arguments of the resource type that steer it; never a secret."""
    note: str = ""
    """What a person should know: what it is now, what is missing to steer it."""
    possible: bool = True
    """Whether the options make the resource; where not the note says what is missing."""


Finder = Callable[[], Iterator[Found]]
"""Looks for one type of resource; registered by entry point in `quantum_control.discovery`.

Only looks: it changes nothing, needs no privilege, and leaves out what it may not see.
"""
