"""Which control groups of this machine have memory that could be steered."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from quantum_control.core.discovery import Found
from quantum_control.core.errors import QuantumControlError
from quantum_control.sources.cgroups import FILES, PROC, memory_group
from quantum_control.sources.pressure import Pressure

MIB = 1 << 20


def find(proc: Path = PROC) -> Iterator[Found]:
    """Groups with a process, each under the process that has been there longest."""
    seen: set[Path] = set()
    for pid in sorted(int(each.name) for each in proc.iterdir() if each.name.isdigit()):
        try:
            group = memory_group(pid, proc)
            if group.folder in seen:
                continue
            seen.add(group.folder)
            usage = int((group.folder / FILES[group.version][0]).read_text(encoding="ascii"))
        except (QuantumControlError, OSError, ValueError):
            continue  # gone meanwhile, without a group of its own, or not to be seen
        name = "-".join(("cgroup", *group.folder.name.split(), str(pid)))
        missing = _missing(group.pressure)
        note = f"{group.folder}: {usage // MIB} MiB in use, version {group.version}{missing}"
        yield Found("memory", name, {"process_id": pid, "control": "cgroup"}, note, possible=not missing)


def _missing(pressure: Path) -> str:
    try:
        Pressure(pressure).read()
    except QuantumControlError as error:
        return f"; {error}"
    return ""
