"""Memory that this process holds and does not use, as the C library tells it, and giving it back."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from quantum_control.core.errors import SensorError

WORTH = 8 << 20
"""Free bytes in the heap below which trimming is not worth its walk through it."""

UNUSED = 0.25
"""Share of the heap that is free and calls for trimming: what a busy program uses again soon is less."""

EVERY, SELDOM = 10.0, 640.0
"""Seconds between two trims, and the most that they become: doubled each time that one brought little."""

# As in malloc.h.
_FIELDS = (
    *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
    *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
)


class _Mallinfo2(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_size_t) for name in _FIELDS)


@dataclass(frozen=True, slots=True)
class Heap:
    """The C heap of this process. Bytes."""

    resident: int
    """Memory of the whole process, whatever it is for."""
    used: int
    """Allocated and not freed, large blocks of their own included."""
    free: int
    """Freed, and kept by the library for later; what is of no use may be resident all the same."""

    @property
    def fragmentation(self) -> float:
        """Share of the heap that nobody uses. Unit 1."""
        return self.free / (self.used + self.free) if self.used + self.free else 0.0


def heap() -> Heap:
    """Measure now; all arenas are looked at, which takes some microseconds.

    CPython's own small objects are not in it: they are in arenas of its own,
    which the C library sees as single large blocks or not at all.

    Raises
    ------
    SensorError
        The C library is not glibc 2.33 or later.
    """
    library = _library()
    try:
        mallinfo2 = library.mallinfo2
    except AttributeError as error:
        raise SensorError(
            "this C library has no mallinfo2(): fragmentation can be measured with glibc 2.33 or later only"
        ) from error
    mallinfo2.restype = _Mallinfo2
    told = mallinfo2()
    return Heap(_resident(), told.uordblks + told.hblkhd, told.fordblks)


def trim(worth: int = WORTH) -> int:
    """Give free memory back to the kernel if there are at least `worth` bytes; return what it brought.

    The bytes that are returned are the fall of the resident memory, other
    threads' doings in the meantime included; 0 where nothing was done or gained.

    Raises
    ------
    SensorError
        As `heap`.
    """
    before = heap()
    if before.free < worth:
        return 0
    _library().malloc_trim(0)
    return max(0, before.resident - _resident())


class Trimming:
    """Trims this process's C heap now and then, where it has brought something.

    A trim walks through the heap while nobody can allocate, so that it is for a quarter of the
    heap that is free, and at most every `EVERY` seconds; where what it brought is not `WORTH`,
    because the program has taken it again or it was not resident, half as often.
    """

    def __init__(self) -> None:
        self._pause = EVERY
        self._due: float | None = None
        self._brought = 0

    def look(self) -> dict[str, float]:
        """Figures, none where the C library does not tell; nothing is trimmed.

        `heap_unused_ratio`: share of the C heap that is free. `trimmed_bytes`: what all
        trims have made the resident memory fall by.
        """
        with suppress(SensorError):
            return {"heap_unused_ratio": heap().fragmentation, "trimmed_bytes": float(self._brought)}
        return {}

    def step(self, now: float) -> dict[str, float]:
        """Trim if it is time, `now` in seconds; figures as of `look`, the share being that before it."""
        figures = self.look()
        if self._due is None:
            self._due = now + self._pause  # what a start leaves behind is used again
        if now < self._due or figures.get("heap_unused_ratio", 0.0) < UNUSED:
            return figures
        brought = trim()
        self._brought += brought
        self._pause = EVERY if brought >= WORTH else min(2.0 * self._pause, SELDOM)
        self._due = now + self._pause
        return figures | {"trimmed_bytes": float(self._brought)}


def _library() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
