"""One run of the queue benchmark: TCP through a bottleneck whose rate changes, and what a probe sees."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quantum_control.bench.network_bed import BOTTLENECK, FRAME, NetworkBed
from quantum_control.core.controller import QuantumController
from quantum_control.core.errors import SensorError
from quantum_control.core.safety import GuardSettings
from quantum_control.daemon.shadow import Shadow
from quantum_control.resources.netlink import ROOT, Netlink
from quantum_control.resources.queue_limit import QueueLimit

DEFAULT = 1000 * FRAME
"""Bytes that the kernel gives to a bfifo, for want of a better number."""

SLEW_DOWN = 16.0
"""Factor by which a limit may shrink at once: nothing is lost by it but what was not there yet."""

DEAD_BAND = 0.02
"""Share of a limit that is not worth a change of it."""

PATIENCE = 30.0
"""Seconds beyond its time that iperf3 may take to end: what it has queued has to drain first."""


@dataclass(frozen=True, slots=True)
class Course:
    """What every run of a benchmark has in common."""

    rates: tuple[float, ...] = (10e6, 100e6)
    """Of the bottleneck, in turns, bit/s."""
    seconds: float = 6.0
    """Length of a phase."""
    warm_up: float = 1.5
    """Seconds at the last of the rates before the first phase, for TCP to settle."""
    streams: int = 4
    """TCP connections, CUBIC."""
    distance: float = 0.02
    """Seconds of a round trip without any queue."""
    target: float = 0.01
    """Seconds that what is steered may wait at most: the round trip over the square root of the number
    of connections (Appenzeller, Keslassy & McKeown, SIGCOMM 2004)."""
    interval: float = 0.1
    """Seconds between steps of the control."""


@dataclass(frozen=True, slots=True)
class Phase:
    """What was seen at one rate, from the change to it until the next."""

    rate: float
    """bit/s."""
    throughput: float
    """What has left the bottleneck, over what it can carry. Unit 1."""
    delays: NDArray[np.float64]
    """Of each packet of the probe that has arrived, seconds."""
    lost: int
    """Packets of the probe that have not."""
    cpu: float
    """Processor seconds of the steps of the control."""
    limit: float
    """Mean limit, bytes."""


class Steering:
    """Steps of a controller on the bottleneck's queue, and what they cost.

    Parameters
    ----------
    netns
        Network namespace of the bottleneck, as a path.
    model
        Law, as the controller takes it.
    target, interval
        As of `Course`.
    tuned
        Whether it tunes itself.
    watched
        Whether it only looks, and changes nothing.
    clock
        Seconds.
    """

    def __init__(
        self,
        netns: str,
        model: str,
        *,
        target: float,
        interval: float,
        tuned: bool = False,
        watched: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._resource = QueueLimit(BOTTLENECK, netns=netns, target_seconds=target, clock=clock)
        self.controller = QuantumController(
            Shadow(self._resource) if watched else self._resource,
            model,
            auto_tune=tuned,
            interval=interval,
            guard=GuardSettings(slew_down=SLEW_DOWN, dead_band=DEAD_BAND),
            clock=clock,
        )
        self.interval = interval
        self.cpu = 0.0
        """Processor seconds of the steps."""
        self.sizes: list[int] = []
        """Limit after each, bytes."""

    def step(self) -> None:
        """An interval has passed."""
        began = time.thread_time()
        decision = self.controller.optimize()
        self.cpu += time.thread_time() - began
        self.sizes.append(decision.allowed)

    def close(self) -> None:
        """Put the limit back as it was found."""
        self.controller.stop()
        self._resource.release()


def run(
    course: Course, order: Sequence[float], limits: Mapping[float, int] | None = None, model: str = ""
) -> list[Phase]:
    """Send through phases of the rates in `order`.

    `limits` has the limit (bytes) of each rate, set together with it; without
    it a `model` steers, from the kernel's default on.

    Raises
    ------
    ConfigError
        Something is missing: root, iproute2, iperf3, /dev/net/tun.
    SensorError
        iperf3 has failed.
    """
    before = order[-1]  # so that the first phase begins with a change as well
    limits = limits or {}
    with NetworkBed(before, distance=course.distance, limit=limits.get(before, DEFAULT)) as bed:
        bed.listen()
        steering = (
            Steering(bed.netns, model, target=course.target, interval=course.interval) if model else None
        )
        netlink = Netlink(bed.netns)
        index = netlink.link(BOTTLENECK).index
        marks = []
        whole = course.warm_up + course.seconds * len(order)
        with bed.probe() as probe:
            transfer = bed.send(whole + 1.0, streams=course.streams)
            _pass(time.monotonic() + course.warm_up, steering, course.interval)
            for rate in order:
                bed.set_rate(rate, limits.get(rate))
                if steering is not None:
                    steering.cpu, steering.sizes = 0.0, []
                began, sent = time.monotonic(), _sent(netlink, index)
                _pass(began + course.seconds, steering, course.interval)
                ended = time.monotonic()
                carried = 8.0 * (_sent(netlink, index) - sent) / (rate * (ended - began))
                cost = (
                    (steering.cpu, float(np.mean(steering.sizes))) if steering else (0.0, float(limits[rate]))
                )
                marks.append((rate, began, ended, carried, *cost))
            transfer.result(PATIENCE)
        if steering is not None:
            steering.close()
        netlink.close()
        sent_at, delays = probe.delays()
    phases = []
    for rate, began, ended, carried, cpu, mean in marks:
        inside = delays[(sent_at >= began) & (sent_at < ended)]
        arrived = inside[np.isfinite(inside)]
        phases.append(Phase(rate, carried, arrived, inside.size - arrived.size, cpu, mean))
    return phases


def figures(phase: Phase) -> Mapping[str, float]:
    """Throughput (unit 1), p50 and p95 of the delay of what arrived (s), and what did not (unit 1)."""
    p50, p95 = np.percentile(phase.delays, [50.0, 95.0]) if phase.delays.size else (np.inf, np.inf)
    return {
        "throughput": phase.throughput,
        "p50": float(p50),
        "p95": float(p95),
        "lost": phase.lost / max(1, phase.lost + phase.delays.size),
    }


def _pass(until: float, steering: Steering | None, interval: float) -> None:
    """Let time pass, with a step of the control every interval."""
    while (left := until - time.monotonic()) > 0.0:
        if steering is not None:
            steering.step()
        time.sleep(max(0.0, min(left, interval) if steering is not None else left))


def _sent(netlink: Netlink, index: int) -> int:
    """Bytes that have left the bottleneck so far."""
    qdisc = netlink.qdisc(index, ROOT)
    if qdisc is None:
        raise SensorError(f"{BOTTLENECK} has lost its queue discipline")
    return qdisc.sent_bytes
