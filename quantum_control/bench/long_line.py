"""A transfer over a long line, by one way to set the buffers of both ends."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from quantum_control.bench.namespace import Namespace
from quantum_control.bench.network_bed import FRAME, MTU, NetworkBed
from quantum_control.core.controller import QuantumController
from quantum_control.core.errors import ConfigError
from quantum_control.core.resource import Resource
from quantum_control.resources.socket_bpf import SockOps, cgroup2_root
from quantum_control.resources.socket_sysctl import SocketBuffers
from quantum_control.resources.tcp_connections import connections

HEADERS = 52
"""Bytes of a packet that are not payload: IPv4, TCP and its time stamps."""

KERNEL = (6_291_456, 4_194_304)
"""Last numbers of tcp_rmem and tcp_wmem with which Linux comes up on a machine of 4 GB or more (tcp_init)."""

LARGE = (67_108_864, 67_108_864)
"""What guides to tuning hosts for long lines advise (ESnet, fasterdata.es.net/host-tuning/linux)."""

STARTS = {"tcp_rmem": (4096, 131072), "tcp_wmem": (4096, 16384)}
"""The other two numbers, of tcp_init too."""

SAMPLE = 0.5
"""Seconds between steps, and between samples of what has arrived."""


CGROUP = "quantum-control-bench"
"""What names of cgroups of our own begin with; the number of the process and the end follow."""

LEAVE_SECONDS = 5.0
"""Longest that processes which have ended may stay in their cgroup."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line and how it is used."""

    rate: float = 200e6
    """Bit/s at the bottleneck, whose queue holds as much as is under way without it."""
    distance: float = 0.25
    """Seconds of a round trip."""
    seconds: float = 20.0
    """Length of the transfer."""
    settled: float = 10.0
    """Seconds after which it is reported as settled."""

    @property
    def product(self) -> float:
        """Bandwidth-delay product, bytes."""
        return self.rate / 8.0 * self.distance

    @property
    def bound(self) -> float:
        """Payload that the line can carry, bytes per second."""
        return self.rate / 8.0 * (MTU - HEADERS) / FRAME


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to set the buffers of both ends."""

    title: str
    maxima: Callable[[Line], tuple[int, int]]
    """Last numbers of tcp_rmem and tcp_wmem at first."""
    steer: Callable[[Namespace, Path], Resource] | None = None
    """What is steered, by the network namespace and the cgroup of an end."""


ARMS: Mapping[str, Arm] = {
    "default": Arm("Linux's defaults", lambda line: KERNEL),  # noqa: ARG005
    "large": Arm("64 MiB, as guides advise", lambda line: LARGE),  # noqa: ARG005
    "known": Arm("four times the product, known beforehand", lambda line: (round(4 * line.product),) * 2),
    "sysctl": Arm("ours by sysctl", lambda line: KERNEL, lambda end, _: SocketBuffers(end.path)),  # noqa: ARG005
    "ebpf": Arm(
        "ours by eBPF",
        lambda line: KERNEL,  # noqa: ARG005
        lambda end, cgroup: SockOps(cgroup, netns=end.path),
    ),
}
"""By the name that files and options use. Twice the product is under way or in the queue, and the
kernel's overhead doubles that."""


def run(name: str, line: Line) -> dict[str, object]:
    """One transfer by one arm.

    Raises
    ------
    ConfigError
        Something that it needs is missing: root, iperf3, a cgroup v2.
    SensorError
        iperf3 failed.
    """
    arm = ARMS[name]
    with ExitStack() as stack:
        # Before the network, to be removed after it: a cgroup goes only when its processes have gone.
        cgroups = (
            [stack.enter_context(own_cgroup(side)) for side in ("client", "server")] if arm.steer else []
        )
        bed = stack.enter_context(NetworkBed(line.rate, distance=line.distance, limit=round(line.product)))
        ends = (bed.client, bed.server)
        receive, send = arm.maxima(line)
        for end in ends:
            end.call(partial(_write, "tcp_rmem", receive))
            end.call(partial(_write, "tcp_wmem", send))
        controllers = []
        for end, cgroup in zip(ends, cgroups, strict=False):
            assert arm.steer is not None  # noqa: S101 - there are cgroups only then
            controllers.append(QuantumController(arm.steer(end, cgroup), interval=SAMPLE))
            stack.callback(controllers[-1].stop)
        with _member(cgroups[1] if cgroups else None):
            bed.listen()
        probe = stack.enter_context(bed.probe())
        began = time.monotonic()
        with _member(cgroups[0] if cgroups else None):
            transfer = bed.send(line.seconds)
        arrived: list[tuple[float, int]] = []
        cost = 0.0
        sizes: list[list[int | None]] = []
        while (now := time.monotonic()) < began + line.seconds:
            time.sleep(SAMPLE - (now - began) % SAMPLE)
            found = bed.server.call(connections)
            arrived.append((time.monotonic() - began, max((one.received for one in found), default=0)))
            stepped = time.thread_time()
            for controller in controllers:
                controller.optimize()
            cost += time.thread_time() - stepped
            sizes.append([controller.size for controller in controllers])
        told = transfer.result()
        probe_sent, delays = probe.delays()
        loaded = delays[(probe_sent > began + line.settled) & (probe_sent < began + line.seconds)]
        return {
            "arrived": arrived,
            "delay": p95(loaded),
            "retransmits": told["end"]["sum_sent"]["retransmits"],
            "cost": cost,
            "steps": len(arrived) * len(controllers),
            "sizes": sizes,
        }


def p95(delays: NDArray[np.float64]) -> float:
    """95th percentile of the delays of all packets sent, s: inf if more than 5 % of them (inf) were lost."""
    # One of them: between a number and infinity there is nothing to interpolate.
    return float(np.percentile(delays, 95, method="inverted_cdf"))


def _write(name: str, most: int) -> None:
    Path("/proc/sys/net/ipv4", name).write_text(" ".join(map(str, (*STARTS[name], most))))


@contextmanager
def own_cgroup(side: str) -> Iterator[Path]:
    """A cgroup of our own, and none of a benchmark that was killed."""
    for left in cgroup2_root().glob(f"{CGROUP}-*-{side}"):
        if not Path("/proc", left.name.split("-")[-2]).exists():
            with suppress(OSError):  # somebody else was quicker
                left.rmdir()
    made = cgroup2_root() / f"{CGROUP}-{os.getpid()}-{side}"
    made.mkdir()
    try:
        yield made
    finally:
        until = time.monotonic() + LEAVE_SECONDS
        while True:
            try:
                made.rmdir()
                break
            except OSError as error:  # processes that have ended are in it for a moment still
                if time.monotonic() > until:
                    raise ConfigError(f"removing the cgroup {made}: {error.strerror}") from error
            time.sleep(0.02)


@contextmanager
def _member(cgroup: Path | None) -> Iterator[None]:
    """What is started meanwhile belongs to the cgroup, as this process does."""
    if cgroup is None:
        yield
        return
    own = next(each for each in Path("/proc/self/cgroup").read_text().splitlines() if each.startswith("0::"))
    home = cgroup2_root() / own[3:].lstrip("/") / "cgroup.procs"
    (cgroup / "cgroup.procs").write_text(str(os.getpid()))
    try:
        yield
    finally:
        home.write_text(str(os.getpid()))
