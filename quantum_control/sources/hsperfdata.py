"""The performance counters that every HotSpot JVM keeps in a file: read without the JVM noticing.

The file is the memory that the JVM counts in (`/tmp/hsperfdata_USER/PID`, version 2.0 of the format,
see `perfMemory.hpp` of OpenJDK), so that reading it costs the JVM nothing. It is missing under
`-XX:-UsePerfData` and `-XX:+PerfDisableSharedMem`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from quantum_control.core.errors import SensorError

MAGIC = b"\xca\xfe\xc0\xc0"

VERSION = (2, 0)

HEADER_SIZE = 32

_HEADER = "BBBIIQII"
"""After the magic and the byte order: version, accessible, used, overflow, time, first entry, entries."""

_ENTRY = "IIIBBBBI"
"""Length, offset of the name, length of a vector, type, flags, unit, variability, offset of the value."""


def parse(data: bytes) -> dict[str, int | str]:
    """Counters by name, from the bytes of a performance-data file.

    Raises
    ------
    SensorError
        The bytes are not such a file, or one that is still being set up.
    """
    if len(data) < HEADER_SIZE or not data.startswith(MAGIC):
        raise SensorError("this is no performance data of a JVM: its first bytes are not cafec0c0")
    order = "<" if data[4] == 1 else ">"
    _, _, major, minor, accessible, used, _, _, offset, count = struct.unpack_from(
        order + "4sBBBBIIQII", data
    )
    if (major, minor) != VERSION:
        raise SensorError(f"performance data of version {major}.{minor} are not known here, only 2.0")
    if not accessible:
        raise SensorError("the JVM is still setting its performance data up; try again")
    entry = struct.Struct(order + _ENTRY)
    counters: dict[str, int | str] = {}
    end = min(used, len(data))
    for _ in range(count):
        if offset + entry.size > end:
            raise SensorError(f"the performance data end after {len(counters)} of {count} counters")
        length, name_at, vector, kind, _, _, _, value_at = entry.unpack_from(data, offset)
        if length < entry.size or offset + length > end:
            raise SensorError(f"counter {len(counters)} of the performance data has the length {length}")
        name_end = data.find(b"\0", offset + name_at, offset + length)
        name = data[offset + name_at : name_end if name_end >= 0 else offset + length].decode(
            "utf-8", "replace"
        )
        at = offset + value_at
        if kind == ord("J") and not vector and at + 8 <= end:
            (counters[name],) = struct.unpack_from(order + "q", data, at)
        elif kind == ord("B") and vector:
            counters[name] = data[at : min(at + vector, end)].partition(b"\0")[0].decode("utf-8", "replace")
        offset += length
    return counters


def inner_pid(pid: int) -> int:
    """Process id of `pid` in the innermost namespace that it is in, where its files are named after it.

    Raises
    ------
    SensorError
        There is no such process.
    """
    return int(status(pid).get("NSpid", str(pid)).split()[-1])


def status(pid: int) -> dict[str, str]:
    """The lines of `/proc/PID/status`.

    Raises
    ------
    SensorError
        There is no such process.
    """
    try:
        text = Path(f"/proc/{pid}/status").read_text("utf-8", "replace")
    except OSError as error:
        raise SensorError(
            f"there is no process {pid} ({error.strerror}); is the JVM still running?"
        ) from error
    return {name: value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}


def read(pid: int) -> dict[str, int | str]:
    """Counters of the JVM with process id `pid`, also of one in a container.

    Raises
    ------
    SensorError
        It is gone, keeps no counters, or they may not be read.
    """
    within = inner_pid(pid)
    for folder in sorted(Path(f"/proc/{pid}/root/tmp").glob("hsperfdata_*")):
        path = folder / str(within)
        try:
            return parse(path.read_bytes())
        except FileNotFoundError:
            continue
        except OSError as error:
            raise SensorError(f"{path}: {error.strerror}; run as the user of the JVM, or as root") from error
    raise SensorError(
        f"process {pid} has no hsperfdata file: it is no HotSpot JVM, or runs with -XX:-UsePerfData"
        " or -XX:+PerfDisableSharedMem"
    )


def running() -> Iterator[tuple[int, dict[str, int | str]]]:
    """Process id and counters of every JVM that can be seen from here."""
    for folder in sorted(Path("/tmp").glob("hsperfdata_*")):  # noqa: S108 - where every JVM puts them
        for name in sorted(_names(folder), key=int):
            try:
                yield int(name), read(int(name))
            except SensorError:
                continue  # gone since, or someone else's


def _names(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir() if path.name.isdecimal()]
    except OSError:
        return []
