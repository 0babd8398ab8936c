"""The performance counters that every HotSpot JVM keeps in a file: read without the JVM noticing.

The file is the memory that the JVM counts in (`/tmp/hsperfdata_USER/PID`, version 2.0 of the format,
see `perfMemory.hpp` of OpenJDK), so that reading it costs the JVM nothing. It is missing under
`-XX:-UsePerfData` and `-XX:+PerfDisableSharedMem`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

from quantum_control.core.errors import GoneError, SensorError

MAGIC = b"\xca\xfe\xc0\xc0"

VERSION = (2, 0)

HEADER_SIZE = 32

SHAPE_SIZE = 8
"""Bytes of the header before those that change all the time."""

COUNT_AT = 24
"""Where the header says how many counters there are."""

_HEADER = "BBBIIQII"
"""After the magic and the byte order: version, accessible, used, overflow, time, first entry, entries."""

_ENTRY = "IIIBBBBI"
"""Length, offset of the name, length of a vector, type, flags, unit, variability, offset of the value."""


Place = tuple[struct.Struct | None, int, int]
"""Of one counter: how to unpack a number, or None of a text; its first byte and the one after its last."""


def places(data: bytes) -> dict[str, Place]:
    """Where the counters are, by name, in the bytes of a performance-data file.

    They stay where they are as long as the file is; others may be added.

    Raises
    ------
    SensorError
        The bytes are not such a file, or one that is still being set up.
    """
    if len(data) < HEADER_SIZE or not data.startswith(MAGIC):
        raise SensorError("this is no performance data of a JVM: its first bytes are not cafec0c0")
    order = "<" if data[4] == 1 else ">"
    major, minor, accessible, used, _, _, offset, count = struct.unpack_from(order + _HEADER, data, 5)
    if (major, minor) != VERSION:
        raise SensorError(f"performance data of version {major}.{minor} are not known here, only 2.0")
    if not accessible:
        raise SensorError("the JVM is still setting its performance data up; try again")
    entry, number = struct.Struct(order + _ENTRY), struct.Struct(order + "q")
    found: dict[str, Place] = {}
    end = min(used, len(data))
    for _ in range(count):
        if offset + entry.size > end:
            raise SensorError(f"the performance data end after {len(found)} of {count} counters")
        length, name_at, vector, kind, _, _, _, value_at = entry.unpack_from(data, offset)
        if length < entry.size or offset + length > end:
            raise SensorError(f"counter {len(found)} of the performance data has the length {length}")
        name_end = data.find(b"\0", offset + name_at, offset + length)
        if name_end < 0:
            name_end = offset + length
        name = data[offset + name_at : name_end].decode("utf-8", "replace")
        at = offset + value_at
        if kind == ord("J") and not vector and at + number.size <= end:
            found[name] = (number, at, at + number.size)
        elif kind == ord("B") and vector:
            found[name] = (None, at, min(at + vector, end))
        offset += length
    return found


def values(data: bytes, at: Mapping[str, Place]) -> dict[str, int | str]:
    """What the counters at these places are."""
    counters: dict[str, int | str] = {}
    for name, (number, start, end) in at.items():
        if number is None:
            counters[name] = data[start:end].partition(b"\0")[0].decode("utf-8", "replace")
        else:
            (counters[name],) = number.unpack_from(data, start)
    return counters


def parse(data: bytes) -> dict[str, int | str]:
    """Counters by name, from the bytes of a performance-data file; raises as `places` does."""
    return values(data, places(data))


class Counters:
    """The counters of one JVM, some of them, again and again: where they are is looked for once.

    Parameters
    ----------
    pid
        Process id; the JVM may be in a container.
    wanted
        What the names of those that are wanted begin with.
    """

    def __init__(self, pid: int, wanted: tuple[str, ...]) -> None:
        self.pid = pid
        self._wanted = wanted
        self._path: Path | None = None
        self._shape = b""  # the part of the header that changes when counters are added
        self._places: dict[str, Place] = {}

    def read(self) -> dict[str, int | str]:
        """What is counted now; raises as the function `read` does."""
        if self._path is None:
            self._path = _file(self.pid)
        data = _bytes(self._path, self.pid)
        if data[:SHAPE_SIZE] + data[COUNT_AT:HEADER_SIZE] != self._shape:
            everything = places(data)
            self._shape = data[:SHAPE_SIZE] + data[COUNT_AT:HEADER_SIZE]
            self._places = {name: at for name, at in everything.items() if name.startswith(self._wanted)}
        return values(data, self._places)


def inner_pid(pid: int) -> int:
    """Process id of `pid` in the innermost namespace that it is in, where its files are named after it.

    Raises
    ------
    GoneError
        There is no such process.
    SensorError
        It may not be looked at.
    """
    return int(status(pid).get("NSpid", str(pid)).split()[-1])


def status(pid: int) -> dict[str, str]:
    """The lines of `/proc/PID/status`.

    Raises
    ------
    GoneError
        There is no such process.
    SensorError
        It may not be looked at.
    """
    path = Path(f"/proc/{pid}/status")
    try:
        text = path.read_text("utf-8", "replace")
    except (FileNotFoundError, ProcessLookupError) as error:
        raise GoneError(f"there is no process {pid} ({error.strerror}); is the JVM still running?") from error
    except OSError as error:
        raise SensorError(f"{path}: {error.strerror}; run as the user of the JVM, or as root") from error
    return {name: value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}


def read(pid: int) -> dict[str, int | str]:
    """Counters of the JVM with process id `pid`, also of one in a container.

    Raises
    ------
    GoneError
        It has ended.
    SensorError
        It keeps no counters, or they may not be read.
    """
    return parse(_bytes(_file(pid), pid))


def _file(pid: int) -> Path:
    within = inner_pid(pid)
    try:
        folders = [each for each in Path(f"/proc/{pid}/root/tmp").iterdir() if each.match("hsperfdata_*")]
        for folder in sorted(folders):
            path = folder / str(within)
            if path.exists():
                return path
    except PermissionError as error:
        raise SensorError(
            f"process {pid} may not be looked at ({error.strerror}); run as its user, or as root"
        ) from error
    except OSError:
        status(pid)  # says so if the JVM has ended
    raise SensorError(
        f"process {pid} has no hsperfdata file: it is no HotSpot JVM, or runs with -XX:-UsePerfData"
        " or -XX:+PerfDisableSharedMem"
    )


def _bytes(path: Path, pid: int) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        status(pid)  # says so if the JVM has ended
        raise SensorError(f"{path} is not there any more, though process {pid} is; who removed it?") from None
    except OSError as error:
        raise SensorError(f"{path}: {error.strerror}; run as the user of the JVM, or as root") from error


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
