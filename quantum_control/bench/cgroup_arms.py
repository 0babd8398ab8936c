"""What takes part in the benchmark of control groups: no limit, fixed ones, a peer, and the control."""

from __future__ import annotations

from abc import ABC, abstractmethod

from quantum_control.bench.memory_bed import WorkingSet
from quantum_control.core.controller import QuantumController
from quantum_control.resources.cgroup_memory import CgroupMemory
from quantum_control.sources.cgroups import FILES, MemoryGroup
from quantum_control.sources.pressure import Pressure

INTERVAL = 0.5
"""Seconds between steps, of every arm."""


class Arm(ABC):
    """What sets the group's limit; one step an interval."""

    @abstractmethod
    def step(self) -> None:
        """Measure and set."""

    @abstractmethod
    def close(self) -> None:
        """Put the limit back."""


class Limit(Arm):
    """A limit that stands where it was put; nothing where there is none."""

    def __init__(self, group: MemoryGroup, limit: int | None) -> None:
        self._file = group.folder / FILES[group.version][1]
        self._found = self._file.read_text()
        if limit is not None:
            self.set(limit)

    def set(self, limit: int) -> None:
        """Set it; what cannot be taken at once leaves it as it is."""
        try:
            self._file.write_text(str(limit))
        except OSError:
            return

    def step(self) -> None:
        """Nothing."""

    def close(self) -> None:
        """Put back what was found."""
        self._file.write_text(self._found)


class Senpai(Limit):
    """The law of Senpai (Weiner et al., ASPLOS 2022) as facebookincubator/senpai has it, with its constants.

    It adds up what was stalled since it last set the limit. Once that is more
    than 10 ms the limit grows by min((stalled / 10 ms / 20)², 1); after six
    intervals without, it shrinks by 1 % · min((10 ms / stalled / 10)², 1).

    Its interval is a second there and `INTERVAL` here, as for all arms: it is
    twice as fast. Its floor of 100 MB is left out: that is half of the working
    set here.
    """

    TARGET = 0.010
    """Seconds stalled."""
    GRACE = 6
    """Intervals."""
    BACK_OFF, MOST_BACK_OFF = 20.0, 1.0
    PROBE, MOST_PROBE = 10.0, 0.01

    def __init__(self, group: MemoryGroup) -> None:
        super().__init__(group, int((group.folder / FILES[group.version][0]).read_text()))
        self._pressure = Pressure(group.pressure)
        self._last = self._pressure.read().some
        self._stalled = 0.0
        self._grace = self.GRACE

    def step(self) -> None:
        """One interval has passed."""
        total = self._pressure.read().some
        self._stalled += total - self._last
        self._last = total
        if self._stalled > self.TARGET:
            change = min((self._stalled / self.TARGET / self.BACK_OFF) ** 2, 1.0) * self.MOST_BACK_OFF
        elif self._grace:
            self._grace -= 1
            return
        else:
            error = self.TARGET / max(self._stalled, 1e-6)
            change = -min((error / self.PROBE) ** 2, 1.0) * self.MOST_PROBE
        self.set(round(int(self._file.read_text()) * (1.0 + change)))
        self._stalled = 0.0
        self._grace = self.GRACE - 1


class Ours(Arm):
    """CgroupMemory under a controller."""

    def __init__(self, pid: int) -> None:
        self._controller = QuantumController(CgroupMemory(pid), interval=INTERVAL)

    def step(self) -> None:
        """One interval has passed."""
        self._controller.optimize()

    def close(self) -> None:
        """Put the limit back."""
        self._controller.stop()


ARMS = ("none", "fixed", "senpai", "ours")
"""`fixed` is the best in hindsight: the least that the largest working set fits into."""


def start(name: str, process: WorkingSet, full: int) -> Arm:
    """Start an arm on a process whose largest working set takes `full` bytes."""
    if name == "ours":
        return Ours(process.pid)
    if name == "senpai":
        return Senpai(process.group)
    return Limit(process.group, full if name == "fixed" else None)
