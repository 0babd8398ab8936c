"""A control group's memory, steered by its pressure; under versions 1 and 2."""

from __future__ import annotations

import errno
import logging
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from math import inf
from pathlib import Path
from types import TracebackType
from typing import Self

from quantum_control.core.errors import ActuatorError, ConfigError, GoneError, SensorError
from quantum_control.core.resource import Resource, ResourceState
from quantum_control.resources.idle_memory import IdleMemory
from quantum_control.resources.memory_need import FEEL, MemoryNeed, MemoryReading
from quantum_control.resources.stock import Stock
from quantum_control.sources.cgroups import FILES, FIXED, MAPPED, REFAULTED, MemoryGroup, memory_group
from quantum_control.sources.pressure import Pressure, Stalled
from quantum_control.sources.touched import TouchedMemory

_log = logging.getLogger("quantum_control")

PAGE = os.sysconf("SC_PAGE_SIZE")

RESERVE = 16 << 20
"""Bytes kept above what cannot be taken, whatever its size: what a program allocates between two steps."""

RESERVE_SHARE = 0.1
"""The same as a share of it."""

GROWTHS = 4.0
"""The same in growths of it in one interval: a hard limit is not to be run into while it is in force."""


class CgroupMemory(Resource):
    """Takes memory that a process's group does not need, and gives it back at the first sign of pressure.

    The size is a bound on the group's memory in bytes; the demand is what
    `MemoryNeed` finds that it needs.

    Version 2: the size is `memory.high`, which slows down and never kills.
    Version 1 has a hard limit only, at which the kernel kills what it cannot
    shrink. It is therefore not left standing: each step sets it for as long as
    the kernel takes to reclaim down to it, and puts back at once what was
    found. What the group needs later it gets without asking.

    Either way no more is taken in one interval than `MemoryNeed` allows.

    Parameters
    ----------
    process_id
        Any process of the group.
    min_bytes
        Smallest size. Whatever it is, no size is set below what the kernel could not take.
    max_bytes
        Largest size; the limit found, or the machine's memory, by default.
    group
        The group itself, instead of a process of it.
    clock
        Seconds.

    Raises
    ------
    ConfigError
        The process has no group of its own, or the kernel does not tell its pressure.
    SensorError
        There is no such process, or it may not be looked at.
    """

    unit = "bytes"

    def __init__(
        self,
        process_id: int | None = None,
        *,
        min_bytes: int = 1 << 20,
        max_bytes: int | None = None,
        group: MemoryGroup | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if group is None:
            if process_id is None:
                raise ConfigError("CgroupMemory needs the process_id of somebody in the group")
            group = memory_group(process_id)
        self.group = group
        self.min_size = min_bytes
        self._usage, self._limit = (group.folder / name for name in FILES[group.version])
        self._pressure = Pressure(group.pressure)
        file = group.pressure.with_name("io.pressure")
        self._disk = Pressure(file) if file.exists() else None
        self._clock = clock
        self._original = self._read(self._limit)  # as the kernel writes it: a number or "max"
        self._left = self._original  # what the limit was when we last let go of it
        self._found = self._most() if max_bytes is None else max_bytes
        self.max_size = self._found
        self._size = self._found
        self._need = MemoryNeed()
        self._stock = Stock()
        self._idle = IdleMemory(TouchedMemory(group.folder), clock)
        # Clock, stall, refaults, floor, and stall for a disk.
        self._last: tuple[float, Stalled, int, int, float] | None = None
        self._floor = 0
        self._reading: MemoryReading | None = None
        self._taken = 0  # bytes taken since the last measurement
        self._pressure.read()  # where there is none, nothing is to begin

    # ---- measuring --------------------------------------------------------------------------------

    def measure_state(self) -> ResourceState:
        """Measure usage, pages read again and pressure since the last call.

        Raises
        ------
        GoneError
            The group is gone.
        SensorError
            It may not be read, or its pressure is not told any more.
        """
        self._notice_others()
        now, stalled = self._clock(), self._pressure.read()
        disk = self._disk.read().some if self._disk else 0.0
        usage = self._number(self._usage)
        stat = self._stat()
        version = self.group.version
        fixed = sum(stat.get(name, 0) for name in FIXED[version])
        refaults = sum(stat.get(name, 0) for name in REFAULTED[version]) * PAGE
        last = self._last or (now, stalled, refaults, fixed, disk)
        self._last = (now, stalled, refaults, fixed, disk)
        growth = max(0, fixed - last[3])
        reserve = max(RESERVE, RESERVE_SHARE * fixed, GROWTHS * growth)
        self._floor = min(round(fixed + reserve), self._found)
        taken, self._taken = self._taken, 0
        self._reading = MemoryReading(
            usage=usage,
            floor=self._floor,
            refaulted=refaults - last[2],
            stalled=stalled.some - last[1].some,
            seconds=now - last[0],
            disk=disk - last[4],
            idle=self._idle.update(usage - fixed, stat.get(MAPPED[version], 0), taken),
        )
        need = self._need.update(self._reading, taken)
        if usage > self._size and not taken:
            self._bound()  # the size was kept: what has grown beyond it since is taken again
        demand = self._stock.demand(min(need, self._found), self._size)
        return ResourceState.from_demand(demand, size=self._size)

    def get_metrics(self) -> dict[str, float]:
        """What was measured last: bytes, and the share of the time that stalled."""
        if self._reading is None:
            return {}
        return {
            "usage_bytes": float(self._reading.usage),
            "floor_bytes": float(self._reading.floor),
            "refaulted_bytes": float(self._reading.refaulted),
            "stalled_ratio": self._reading.stalled / max(self._reading.seconds, 1e-9),
        }

    def _notice_others(self) -> None:
        found = self._read(self._limit)
        if found == self._left:
            return
        _log.warning(
            "%s was set to %s by somebody else, not %s as it was left; theirs is what will be restored",
            self._limit,
            found,
            self._left,
        )
        # Theirs is the original from now on, and what they allow is in force.
        self._original = self._left = found
        self._size = self._found = min(self._most(), self.max_size or self._most())
        self._need = MemoryNeed()

    # ---- setting ----------------------------------------------------------------------------------

    def apply_control(self, new_size: int) -> None:
        """Bound the group's memory; the size found puts back the setting found.

        Raises
        ------
        ActuatorError
            The kernel did not take it, or could not take that much; the setting
            found is in force.
        """
        if new_size >= self._found:
            self._set_back()
            self._size = self._found
            return
        self._size = new_size
        if not self._taken:
            self._bound()

    def _bound(self) -> None:
        """Go as far down to the size as may be in this interval."""
        usage = self._number(self._usage)
        target = max(self._size, self._floor, usage - self._need.take) // PAGE * PAGE
        if self.group.version == 2:
            # What it may grow by until the next step is part of the bound, where it has not to shrink.
            self._write(str(target if target < usage else max(self._size, self._floor) // PAGE * PAGE))
            self._left = self._read(self._limit)
        elif target < usage:
            try:
                # The kernel gives up at the first look that finds nothing; the next one goes on from there.
                left, before = usage, inf
                while target < left <= before - FEEL:
                    self._write(str(target))
                    before, left = left, self._number(self._usage)
            finally:
                self._set_back()
        self._taken = max(0, usage - self._number(self._usage))

    def _set_back(self) -> None:
        if self._read(self._limit) != self._original:
            self._write(self._original)
        self._left = self._read(self._limit)
        if self._left != self._original:
            raise ActuatorError(f"{self._limit} is {self._left}, not {self._original} as it was found")

    def _write(self, value: str) -> None:
        try:
            self._limit.write_text(value, encoding="ascii")
        except OSError as error:
            if error.errno == errno.EBUSY:  # version 1: so much cannot be taken, and nothing has changed
                return
            refused = error.errno in (errno.EPERM, errno.EACCES, errno.EROFS)
            hint = "; it takes root, or a group that is delegated to you" if refused else ""
            raise ActuatorError(f"{self._limit} cannot be set to {value}: {error.strerror}{hint}") from error

    # ---- originals --------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, object]:
        """Return the setting as it was found, and where its group is."""
        kept: dict[str, object] = {"file": str(self._limit), "setting": self._original}
        return kept | {"version": self.group.version, "pressure": str(self.group.pressure)}

    def restore(self, snapshot: Mapping[str, object]) -> None:
        """Put a snapshot back.

        Raises
        ------
        GoneError
            The group is gone, and its limit with it.
        ActuatorError
            It is of another group, or the kernel did not take it.
        """
        if snapshot.get("file") != str(self._limit):
            raise ActuatorError(f"this was taken of {snapshot.get('file')}, and this is {self._limit}")
        self._original = str(snapshot["setting"])
        self._set_back()

    def release(self) -> None:
        """Put the setting found back, if the group is still there."""
        with suppress(SensorError):
            self._set_back()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    # ---- files ------------------------------------------------------------------------------------

    def _most(self) -> int:
        """Bytes that the group may have as it was found."""
        machine = PAGE * os.sysconf("SC_PHYS_PAGES")
        return machine if self._unlimited() else min(machine, int(self._original))

    def _unlimited(self) -> bool:
        # Version 1 writes the largest number of pages in bytes for "no limit".
        return self._original == "max" or int(self._original) >= (1 << 63) - 2 * PAGE

    def _stat(self) -> dict[str, int]:
        lines = self._read(self.group.folder / "memory.stat").splitlines()
        return {name: int(value) for name, _, value in (line.partition(" ") for line in lines)}

    def _number(self, path: Path) -> int:
        return int(self._read(path))

    def _read(self, path: Path) -> str:
        try:
            return path.read_text(encoding="ascii").strip()
        except OSError as error:
            if not self.group.folder.exists():
                raise GoneError(f"there is no control group {self.group.folder} any more") from error
            raise SensorError(f"{path} cannot be read ({error.strerror}): is it a group's?") from error

    def __repr__(self) -> str:
        return f"<CgroupMemory of {self.group.folder}>"
