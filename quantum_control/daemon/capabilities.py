"""Which Linux capabilities a resource takes to be steered, and which of them this process lacks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quantum_control.config import resource_type

NUMBERS = {
    "CAP_DAC_OVERRIDE": 1,
    "CAP_KILL": 5,
    "CAP_NET_ADMIN": 12,
    "CAP_SYS_PTRACE": 19,
    "CAP_SYS_ADMIN": 21,
    "CAP_BPF": 39,
}
"""Bits of the capabilities that are needed by anything here, from linux/capability.h."""

STATUS = Path("/proc/self/status")


def needed(kind: str, options: Mapping[str, Any]) -> frozenset[str]:
    """Capabilities that it takes to steer a resource, as far as they can be told without touching it.

    A type of a plug-in says so by a static method `capabilities(options)`,
    which returns their names.

    Raises
    ------
    ConfigError
        There is no such type.
    """
    if kind == "buffer":
        return _of_buffer(options)
    if kind == "memory":
        return _of_memory(options)
    tell = getattr(resource_type(kind), "capabilities", None)
    return frozenset(tell(options)) if callable(tell) else frozenset()


def effective(status: Path = STATUS) -> frozenset[str]:
    """Those of `NUMBERS` that this process has."""
    mask = int(status.read_text(encoding="ascii").partition("CapEff:")[2].split()[0], 16)
    return frozenset(name for name, number in NUMBERS.items() if mask >> number & 1)


def missing(kind: str, options: Mapping[str, Any]) -> list[str]:
    """Those that are needed and not there, sorted; errors as `needed`."""
    return sorted(needed(kind, options) - effective())


def _of_buffer(options: Mapping[str, Any]) -> frozenset[str]:
    control = options.get("control", "queue")
    names = {"CAP_NET_ADMIN"}
    if control == "ebpf":
        names.add("CAP_BPF")
    if control == "sysctl" and os.geteuid() == 0:
        names.clear()  # the files belong to root
    if options.get("netns") is not None:
        names.add("CAP_SYS_ADMIN")
    return frozenset(names)


def _of_memory(options: Mapping[str, Any]) -> frozenset[str]:
    control, process = options.get("control"), options.get("process_id")
    if control == "cgroup" and os.geteuid() != 0:
        return frozenset({"CAP_DAC_OVERRIDE"})  # unless the group is delegated to this user
    if control in ("jvm", None) and isinstance(process, int) and _owner(process) not in (None, os.geteuid()):
        return frozenset({"CAP_KILL", "CAP_SYS_PTRACE"})
    return frozenset()


def _owner(process: int) -> int | None:
    try:
        return Path(f"/proc/{process}").stat().st_uid
    except OSError:
        return None
