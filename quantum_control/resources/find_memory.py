"""Which memory of this machine could be steered: heaps of JVMs, and control groups."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.util import find_spec

from quantum_control.core.discovery import Found
from quantum_control.resources.jvm_heap import FLAG, OBEYING
from quantum_control.sources import hsperfdata

MIB = 2**20

GROUPS = "quantum_control.resources.find_cgroup"

_COLLECTORS = {
    "+UseZGC": "ZGC",
    "+UseShenandoahGC": "Shenandoah",
    "+UseG1GC": "G1",
    "+UseParallelGC": "Parallel",
    "+UseSerialGC": "Serial",
}
"""By the option that asks for it."""


def find() -> Iterator[Found]:
    """JVMs whose counters can be seen, then control groups; nothing is sent to any of them."""
    for pid, counters in hsperfdata.running():
        yield _jvm(pid, counters)
    if find_spec(GROUPS) is not None:
        yield from import_module(GROUPS).find()


def _jvm(pid: int, counters: Mapping[str, int | str]) -> Found:
    words = str(counters.get("sun.rt.javaCommand", "")).split()
    # Of "-jar path/name.jar" and "package.Class" what tells them apart; arguments may hold secrets.
    program = words[0].rpartition("/")[2].rpartition("\\")[2] if words else "java"
    collector = _collector(counters)
    committed = sum(
        value
        for name, value in counters.items()
        if isinstance(value, int) and re.fullmatch(r"sun\.gc\.generation\.\d+\.capacity", name)
    )
    note = f"{program}, {committed // MIB} MiB of heap, {collector or 'default collector'}"
    if collector == "G1":
        note += "; follows by its free ratios, slower than ZGC or Shenandoah"
    elif collector not in OBEYING:
        note += f"; needs -XX:+UseZGC, -XX:+UseShenandoahGC or -XX:+UseG1GC, as others do not heed {FLAG}"
    options = {"process_id": pid, "control": "jvm"}
    return Found("memory", f"jvm-{pid}", options, note, possible=collector in ("G1", *OBEYING))


def _collector(counters: Mapping[str, int | str]) -> str:
    """The collector that the command line asks for; the counters tell ZGC's and Shenandoah's by name."""
    asked = str(counters.get("java.rt.vmArgs", ""))
    for option, collector in _COLLECTORS.items():
        if f"-XX:{option}" in asked:
            return collector
    named = " ".join(str(value) for name, value in counters.items() if name.endswith(".name"))
    if "Shenandoah" in named:
        return "Shenandoah"
    if "ZGC" in named or "Z concurrent" in named:
        return "ZGC"
    return "G1" if "G1 " in named else ""
