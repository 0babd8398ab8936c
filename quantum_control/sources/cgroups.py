"""Where the control group of a process is: that of its memory, and that of its pressure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from quantum_control.core.errors import ConfigError, SensorError

PROC = Path("/proc")

FILES = {1: ("memory.usage_in_bytes", "memory.limit_in_bytes"), 2: ("memory.current", "memory.high")}
"""By version: what is used, and what limits it."""

FIXED = {
    1: ("total_rss", "total_shmem", "total_unevictable", "total_dirty", "total_writeback"),
    2: ("anon", "shmem", "unevictable", "file_dirty", "file_writeback", "slab_unreclaimable", "kernel_stack"),
}
"""By version: lines of memory.stat that add up to what cannot be taken at once, without any swapping."""

MAPPED = {1: "total_mapped_file", 2: "file_mapped"}
"""By version: file pages in the page tables of some process, each counted once."""

REFAULTED = {
    1: ("total_workingset_refault_file", "total_workingset_refault_anon"),
    2: ("workingset_refault_file", "workingset_refault_anon"),
}
"""By version: pages that had been taken and were read again; of a kernel before 5.9, one name for both."""


@dataclass(frozen=True, slots=True)
class MemoryGroup:
    """The control group that accounts for a process's memory."""

    version: int
    """Of the hierarchy in which the memory controller sits: 1 or 2."""
    folder: Path
    """Where its files are."""
    pressure: Path
    """File with the pressure of the same processes; always of version 2."""


def memory_group(process_id: int, proc: Path = PROC) -> MemoryGroup:
    """Find the group of a process.

    Raises
    ------
    SensorError
        There is no such process.
    ConfigError
        It has no group of its own, or none with pressure; the message says what to do.
    """
    try:
        lines = (proc / str(process_id) / "cgroup").read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise SensorError(f"there is no process {process_id}, or it may not be seen: {error}") from error
    paths = {controllers: path for _, controllers, path in (line.split(":", 2) for line in lines)}
    own = next((path for names, path in paths.items() if "memory" in names.split(",")), None)
    unified = paths.get("")
    if (own or unified) in (None, "/") or unified in (None, "/"):
        raise ConfigError(
            f"process {process_id} has no control group of its own"
            f" (memory: {own or unified or 'none'}, pressure: {unified or 'none'}), so that others would be"
            " measured and limited with it; start it in one, as by 'systemd-run --scope', or move it"
        )
    twin = _folder("", unified or "", proc)
    folder = twin if own is None else _folder("memory", own, proc)
    if own is None and not (folder / "memory.current").exists():
        raise ConfigError(
            f"{folder} has no memory controller; write +memory to its parent's cgroup.subtree_control"
        )
    return MemoryGroup(2 if own is None else 1, folder, twin / "memory.pressure")


def _folder(controller: str, path: str, proc: Path) -> Path:
    """Folder of a group in the hierarchy of a controller, "" for the unified one."""
    for line in (proc / "self" / "mountinfo").read_text(encoding="utf-8").splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        wanted = kind == "cgroup" and controller in options.split(",") if controller else kind == "cgroup2"
        root, mounted = before.split()[3:5]
        # In a container a part of the hierarchy is mounted: what is outside of it is not there.
        if wanted and Path(path).is_relative_to(root):
            return Path(mounted) / Path(path).relative_to(root)
    hierarchy = f"version 1, {controller}" if controller else "version 2"
    raise ConfigError(f"the control group {path} ({hierarchy}) is mounted nowhere here")
