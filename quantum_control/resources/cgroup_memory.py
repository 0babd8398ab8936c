"""A control group's memory, steered by its pressure; under versions 1 and 2."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from math import inf
from types import TracebackType
from typing import Self

from quantum_control.core.errors import ActuatorError, ConfigError, SensorError
from quantum_control.core.forked import Owner
from quantum_control.core.resource import Resource, ResourceState
from quantum_control.resources.group_files import GroupFiles
from quantum_control.resources.idle_memory import IdleMemory
from quantum_control.resources.memory_need import FEEL, MemoryNeed, MemoryReading
from quantum_control.resources.setting_custody import HANDS_OFF_SECONDS, SettingCustody, hands_off_seconds
from quantum_control.resources.stock import Stock
from quantum_control.sources.cgroups import FIXED, MAPPED, REFAULTED, MemoryGroup, memory_group
from quantum_control.sources.pressure import Pressure, Stalled
from quantum_control.sources.touched import TouchedMemory

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
    min_bytes, max_bytes
        Bounds of the size; the larger is the limit found, or the machine's memory, by default. Whatever
        they are, the group is not bounded below what the kernel could not take.
    group
        The group itself, instead of a process of it.
    hands_off
        Seconds for which a limit that somebody else has set is left alone. From
        then on no size is above it, and it is what is put back.
    clock
        Seconds.

    Raises
    ------
    ConfigError
        The process has no group of its own, or a parameter is wrong.
    SensorError
        There is no such process, it may not be looked at, or the kernel does not tell its pressure.
    """

    unit = "bytes"

    def __init__(
        self,
        process_id: int | None = None,
        *,
        min_bytes: int = 1 << 20,
        max_bytes: int | None = None,
        group: MemoryGroup | None = None,
        hands_off: float = HANDS_OFF_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        hands_off_seconds(hands_off)
        if group is None:
            if process_id is None:
                raise ConfigError("CgroupMemory needs the process_id of somebody in the group")
            group = memory_group(process_id)
        self.group = group
        self.min_size = min_bytes
        self._files = GroupFiles(group)
        self._limit = self._files.limit
        self._pressure = Pressure(group.pressure)
        file = group.pressure.with_name("io.pressure")
        self._disk = Pressure(file) if file.exists() else None
        self._clock = clock
        # "Ordered" is what the limit was when we last let go of it: under version 1 the original.
        self._custody = SettingCustody(str(self._limit), self._files.setting(), hands_off, clock)
        self._before = self._found = self._size = self._most()
        self.max_size = self._found if max_bytes is None else max_bytes
        self._need = MemoryNeed()
        self._stock = Stock()
        self._idle = IdleMemory(TouchedMemory(group.folder), clock)
        # Clock, stall, refaults, floor, and stall for a disk.
        self._last: tuple[float, Stalled, int, int, float] | None = None
        self._floor = 0
        self._reading: MemoryReading | None = None
        self._taken = 0  # bytes taken since the last measurement
        self._owner = Owner()
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
        ActuatorError
            What has grown beyond the size since may not be taken again.
        """
        self._notice_others()
        now, stalled = self._clock(), self._pressure.read()
        disk = self._disk.read().some if self._disk else 0.0
        usage = self._files.usage()
        stat = self._files.stat()
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
        if self._size < self._found and usage > self._size and not taken:
            self._bound()  # what was ordered was kept: what has grown beyond it since is taken again
        demand = self._stock.demand(min(need, self._found, self.max_size or need), self._size)
        return ResourceState.from_demand(demand, size=self._size)

    def get_metrics(self) -> dict[str, float]:
        """What was measured last: bytes, and the share of the time that stalled.

        `set_by_hand`: 1 while a limit set by somebody else is left alone.
        """
        by_hand = {"set_by_hand": float(self._custody.left_alone > 0.0)}
        if self._reading is None:
            return by_hand
        return by_hand | {
            "usage_bytes": float(self._reading.usage),
            "floor_bytes": float(self._reading.floor),
            "refaulted_bytes": float(self._reading.refaulted),
            "stalled_ratio": self._reading.stalled / max(self._reading.seconds, 1e-9),
        }

    def _notice_others(self) -> None:
        if self._custody.notice(self._files.setting()):
            # What they allow is in force.
            self._before = self._found
            self._size = self._found = self._most()
            self._need = MemoryNeed()

    # ---- setting ----------------------------------------------------------------------------------

    def apply_control(self, new_size: int) -> None:
        """Bound the group's memory; the size found puts back the setting found, or theirs who set one since.

        Raises
        ------
        SafetyError
            Somebody else has set it within the last `hands_off` seconds.
        ActuatorError
            The kernel did not take it, or could not take that much; the setting
            found is in force.
        """
        self._notice_others()
        custody = self._custody
        # The size found before stands for what somebody else has set and nobody has measured yet.
        back = new_size >= self._found or (custody.theirs and new_size == self._before)
        custody.check(custody.original if back else str(new_size))
        if back:
            self._set_back()
            self._size = self._found
            return
        self._size = new_size
        if not self._taken:
            self._bound()

    def _bound(self) -> None:
        """Go as far down to the size as may be in this interval."""
        self._owner.claim()
        usage = self._files.usage()
        # Where more is used than the limit found allows, none above that is set either.
        target = min(max(self._size, self._floor, usage - self._need.take), self._found) // PAGE * PAGE
        if self.group.version == 2:
            self._files.set(str(target))
            self._custody.ordered = self._files.setting()
        elif target < usage:
            try:
                # The kernel gives up at the first look that finds nothing; the next one goes on from there.
                left, before = usage, inf
                while target < left <= before - FEEL:
                    self._files.set(str(target))
                    before, left = left, self._files.usage()
            finally:
                self._set_back()
        self._taken = max(0, usage - self._files.usage())

    def _set_back(self) -> None:
        original = self._custody.original
        if self._files.setting() != original:
            self._files.set(original)
        in_force = self._custody.ordered = self._files.setting()
        if in_force != original:
            raise ActuatorError(f"{self._limit} is {in_force}, not {original} as it was found")

    @property
    def found_anew(self) -> int:
        """How often `snapshot()` has changed, as somebody else has set a limit."""
        return self._custody.found_anew

    def snapshot(self) -> dict[str, object]:
        """Return the setting as it was found, and where its group is."""
        kept: dict[str, object] = {"file": str(self._limit), "setting": self._custody.original}
        return kept | {"version": self.group.version, "pressure": str(self.group.pressure)}

    def restore(self, snapshot: Mapping[str, object]) -> None:
        """Put a snapshot back; what somebody else has set within the last `hands_off` seconds stays.

        Raises
        ------
        GoneError
            The group is gone, and its limit with it.
        ActuatorError
            It is of another group, or the kernel did not take it.
        """
        if snapshot.get("file") != str(self._limit):
            raise ActuatorError(f"this was taken of {snapshot.get('file')}, and this is {self._limit}")
        self._notice_others()
        if not self._custody.theirs:
            self._custody.original = str(snapshot["setting"])
            self._set_back()
            self._size = self._found = self._most()

    def release(self) -> None:
        """Put the setting found back, if the group is still there; one that somebody else has set stays.

        In a forked child that has set nothing nothing is done.
        """
        if self._owner.elsewhere:
            return
        with suppress(SensorError):
            self._notice_others()
            self._set_back()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _most(self) -> int:
        """Bytes that the group may have as it was found."""
        machine = PAGE * os.sysconf("SC_PHYS_PAGES")
        # For "no limit" version 1 writes a number that is larger than any machine.
        return machine if self._custody.original == "max" else min(machine, int(self._custody.original))

    def __repr__(self) -> str:
        return f"<CgroupMemory of {self.group.folder}>"
