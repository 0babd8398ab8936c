"""Socket buffers of the connections of a cgroup, set for each as it opens, by eBPF."""

from __future__ import annotations

import logging
import os
import struct
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from types import TracebackType
from typing import Self

from quantum_control.core.errors import ActuatorError, ConfigError, GoneError, SafetyError, SensorError
from quantum_control.core.resource import Resource, ResourceState
from quantum_control.resources.bpf_calls import SockOpsProgram
from quantum_control.resources.bpf_object import BpfObject, read_object
from quantum_control.resources.buffer_need import Permission, need
from quantum_control.resources.netns import inside
from quantum_control.resources.reading import positive_int
from quantum_control.resources.sysctls import Sysctls
from quantum_control.resources.tcp_connections import Connection, connections
from quantum_control.resources.tcp_memory import tcp_memory_low, tcp_memory_used

_log = logging.getLogger("quantum_control")

OBJECT = "socket_buffers.bpf.o"
SECTION = "sockops"

DOUBLED = 2
"""Bytes that the kernel sets aside per byte that SO_SNDBUF and SO_RCVBUF ask for (man 7 socket)."""

RECEIVE, SEND = "ipv4/tcp_rmem", "ipv4/tcp_wmem"
RECEIVE_CAP, SEND_CAP = "core/rmem_max", "core/wmem_max"


def shipped_object() -> BpfObject:
    """The program that comes with the package, built from `bpf/socket_buffers.bpf.c`."""
    return read_object((files("quantum_control.resources") / "bpf" / OBJECT).read_bytes(), SECTION)


def cgroup2_root(mounts: Path = Path("/proc/mounts")) -> Path:
    """Where the cgroup v2 hierarchy is mounted.

    Raises
    ------
    ConfigError
        Nowhere.
    """
    for line in mounts.read_text().splitlines():
        _, place, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(place)
    raise ConfigError(
        "no cgroup v2 hierarchy is mounted; mount -t cgroup2 none FOLDER, or use control='sysctl'"
    )


class SockOps(Resource):
    """Steers the buffers of each TCP connection of a cgroup, in bytes as the kernel counts them.

    A program of the cgroup gives each connection that opens a send and a receive
    buffer of the size; an open one follows with what it may hold for sending, once a
    round trip. From the first size that is set until the one that was found is set
    again: then, and with `release()`, and when this process ends, however it does, the program
    is gone. Connections that are open keep what they were given.

    The size that was found stands for the kernel's own way, in which buffers grow
    up to the last numbers of `tcp_rmem` and `tcp_wmem`: nothing is attached.

    Parameters
    ----------
    cgroup
        Directory of a cgroup v2, absolute or below where the hierarchy is mounted.
        Its processes, and those of cgroups below, are steered.
    netns
        Network namespace in which they live: a name of `ip netns`, or a path such
        as /proc/123/ns/net. None is the caller's own.
    min_bytes, max_bytes
        Bounds of the size; by default the receive buffer that a connection starts
        with, and twice the smaller of `net.core.rmem_max` and `wmem_max`, past
        which the kernel lets no program go. They can only be drawn closer.
    clock
        Any callable that returns seconds and does not run backwards.

    Raises
    ------
    ConfigError
        It is no cgroup v2, or the bounds leave nothing to set.
    GoneError
        There is no such cgroup or namespace.
    SensorError
        The namespace cannot be entered.
    """

    unit = "bytes"

    def __init__(
        self,
        cgroup: str | os.PathLike[str],
        *,
        netns: str | os.PathLike[str] | None = None,
        min_bytes: int | None = None,
        max_bytes: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cgroup = cgroup2_root() / cgroup
        if not self._cgroup.exists():
            raise GoneError(f"there is no cgroup {self._cgroup}; make it, or name one below {cgroup2_root()}")
        if not (self._cgroup / "cgroup.procs").exists():
            raise ConfigError(f"{self._cgroup} is no cgroup v2; name one below {cgroup2_root()}")
        self._netns = netns
        self._clock = clock
        self._low = tcp_memory_low()
        found = Sysctls(netns, (RECEIVE, SEND)).found
        caps = Sysctls(None, (RECEIVE_CAP, SEND_CAP)).found
        starts = found[RECEIVE][1]
        # A connection has two buffers, and both are to fit into the memory.
        most = min([self._low // 2, *(DOUBLED * each[0] for each in caps.values())])
        self.min_size = starts if min_bytes is None else max(starts, positive_int("min_bytes", min_bytes))
        self.max_size = most if max_bytes is None else min(most, positive_int("max_bytes", max_bytes))
        if self.min_size > self.max_size:
            raise ConfigError(
                f"socket buffers of {self.min_size} to {self.max_size} bytes: nothing is in between; twice"
                " net.core.rmem_max and wmem_max bound what eBPF may set, raise them or use control='sysctl'"
            )
        own = max(found[RECEIVE][-1], found[SEND][-1])
        self._found = min(max(own, self.min_size), self.max_size)
        self._ordered = self._found
        self._permission = Permission(self._found, self._low)
        self._program: SockOpsProgram | None = None
        self._taken_away = ""
        self._last: tuple[float, dict[int, Connection]] | None = None
        self._metrics: dict[str, float] = {}

    def measure_state(self) -> ResourceState:
        """What the connections of the cgroup can make use of, over the size.

        Raises
        ------
        GoneError
            The cgroup or the namespace is gone.
        SensorError
            The kernel cannot be asked.
        """
        self._notice()
        ours = self._cgroups()
        everyone = inside(self._netns, connections)
        if everyone and not any(one.cgroup for one in everyone):
            raise SensorError(
                "the kernel does not say which cgroup a connection belongs to; that takes Linux 5.9 with"
                " CONFIG_SOCK_CGROUP_DATA. control='sysctl' does without"
            )
        open_now = [one for one in everyone if one.cgroup in ours]
        now, used, size = self._clock(), tcp_memory_used(), float(self._ordered)
        last, self._last = self._last, (now, {one.cookie: one for one in open_now})
        if last is None or not now > last[0]:
            return ResourceState.from_demand(size, size=size)  # nothing to compare with yet
        wanted = need(last[1], open_now, now - last[0])
        self._metrics = (
            wanted.figures()
            | {
                "needed_bytes": max(wanted.receive, wanted.send),
                "held_bytes": float(max(wanted.receive_held, wanted.send_held)),
                "memory_share": used / self._permission.low,
            }
            | self._counts()
        )
        demand = self._permission.update(
            size, self._metrics["needed_bytes"], self._metrics["held_bytes"], wanted.bloated, used
        )
        return ResourceState.from_demand(demand, size=size)

    def apply_control(self, new_size: int) -> None:
        """Give connections buffers of `new_size` bytes; the size that was found detaches the program.

        Raises
        ------
        ConfigError
            Not a size, or outside of the bounds.
        SafetyError
            Somebody else has detached the program, or written its map.
        ActuatorError
            The kernel, the privilege or the cgroup does not allow it. Nothing is attached then.
        """
        positive_int("new_size", new_size)
        if new_size == self._found:
            self.release()
            return
        if not self.min_size <= new_size <= (self.max_size or new_size):
            raise ConfigError(f"new_size={new_size}: give {self.min_size} to {self.max_size} bytes")
        try:
            self._notice()
        except SensorError as error:
            raise SafetyError(f"setting socket buffers to {new_size}: {error}") from error
        if self._taken_away:
            raise SafetyError(f"{self._taken_away}; it is left at that. Make a new resource to go on")
        program = self._program or SockOpsProgram(shipped_object(), self._cgroup)
        try:
            program.write("settings_map", self._settings(new_size))
        except ActuatorError:
            if self._program is None:
                program.close()
            raise
        self._program, self._ordered = program, new_size

    def get_metrics(self) -> dict[str, float]:
        """Figures of the last measured interval; none before the second measurement.

        As of `SocketBuffers`, for the connections of the cgroup. Besides,
        `connections_set`: those that were given their buffers since the program
        was attached, `refused`: times that the kernel did not take one.
        `set_by_hand`: 1 once somebody else has taken the program away.
        """
        return self._metrics | {"set_by_hand": float(bool(self._taken_away))}

    def snapshot(self) -> dict[str, object]:
        """What is steered; there is nothing to put back, as the kernel detaches what a process leaves."""
        return {"cgroup": str(self._cgroup)}

    def restore(self, snapshot: Mapping[str, object]) -> None:  # noqa: ARG002 - as of every resource
        """Detach the program if it is attached."""
        self.release()

    def release(self) -> None:
        """Detach the program: what opens from now on has buffers as the kernel sees fit."""
        program, self._program = self._program, None
        self._ordered = self._found
        if program is not None:
            program.close()

    def _notice(self) -> None:
        """Look whether the program is there and says what was ordered."""
        if not (self._cgroup / "cgroup.procs").exists():
            raise GoneError(f"the cgroup {self._cgroup} is gone")
        if self._program is None:
            return
        if not self._program.attached():
            self._taken_away = f"somebody else has detached the program from {self._cgroup}"
        elif self._program.read("settings_map") != self._settings(self._ordered):
            self._taken_away = f"somebody else has written the map of the program of {self._cgroup}"
        else:
            return
        _log.warning("%s; it is left alone from here on", self._taken_away)
        self.release()

    def _settings(self, size: int) -> bytes:
        """Bytes of struct settings."""
        return struct.pack("=QQ", size // DOUBLED, size // DOUBLED)

    def _counts(self) -> dict[str, float]:
        if self._program is None:
            return {}
        done, refused = struct.unpack("=QQ", self._program.read("counts_map"))
        return {"connections_set": float(done), "refused": float(refused)}

    def _cgroups(self) -> set[int]:
        """Numbers of the cgroup and of all below; without those that vanish meanwhile."""
        found = set()
        for place, _, _ in os.walk(self._cgroup):
            with suppress(FileNotFoundError):
                found.add(Path(place).stat().st_ino)
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def __repr__(self) -> str:
        return f"<SockOps of {self._cgroup}, {self._ordered} bytes>"
