"""A real bottleneck whose rate changes, and what keeps its queue short, one block after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np

from quantum_control.bench.network_bed import BOTTLENECK, SERVER, NetworkBed
from quantum_control.bench.pie import PieQueue
from quantum_control.bench.queue_course import DEFAULT as KERNEL_DEFAULT
from quantum_control.bench.queue_course import Steering
from quantum_control.core.errors import SensorError
from quantum_control.demo.arms import Stopwatch
from quantum_control.resources.netlink import ROOT, Netlink, Qdisc
from quantum_control.resources.queue_kinds import KINDS
from quantum_control.validation.bed import Block
from quantum_control.validation.beds.transfers import Sink, Transfers
from quantum_control.validation.footprint import controller_bytes

LONGEST_DRAIN = 10.0
"""Seconds for which the last packets of a block are waited for: longer than the default's queue is."""

POLL = 0.005
"""Seconds between two looks whether they have arrived."""


@dataclass(frozen=True, slots=True)
class Course:
    """What a block is like."""

    rates: tuple[float, float]
    """Of the bottleneck, before and after the change, bit/s."""
    change: float
    """Seconds from the end of the wash-in."""
    begins: list[float]
    """Seconds into the wash-in at which each connection is opened."""


class Line:
    """A bottleneck, and what keeps its queue short; its time stands still between two blocks.

    Parameters
    ----------
    settings
        Of the bed.
    limits
        Limit (bytes) of each rate, told with the rate; None where it is not touched.
    steered
        What steers it, made of the network and a clock; None for nothing.
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        limits: Callable[[float], int] | None = None,
        steered: Callable[[NetworkBed, Stopwatch], Steering | PieQueue] | None = None,
    ) -> None:
        self._settings = settings
        self.limits = limits
        self._clock = Stopwatch()
        self._clock.halt()
        self._due = 0.0  # moment of the next step
        self._samples: list[tuple[float, float, float]] = []
        with ExitStack() as stack:
            rate = float(settings["rates"][0])
            self._bed = stack.enter_context(
                NetworkBed(rate, distance=settings["distance"], limit=KERNEL_DEFAULT)
            )
            self._sink = Sink(self._bed.server, SERVER)
            stack.callback(self._sink.close)
            self._netlink = Netlink(self._bed.netns)
            stack.callback(self._netlink.close)
            self._index = self._netlink.link(BOTTLENECK).index
            self._steering = None if steered is None else steered(self._bed, self._clock)
            self._interval = float(settings["interval"])
            if self._steering is not None:
                self._interval = self._steering.interval
                stack.callback(self._steering.close)
            self._stack = stack.pop_all()

    def close(self) -> None:
        """Take the network away."""
        self._stack.close()

    def play(self, course: Course) -> Block:
        """Send through a wash-in and the block."""
        settings, steering = self._settings, self._steering
        if steering is not None:
            steering.cpu, steering.sizes = 0.0, []
        self._samples = []
        self._rate(course.rates[0])
        self._due = time.monotonic() + self._interval
        self._clock.go()
        try:
            with self._bed.probe(settings["probe"]) as probe:
                with Transfers(self._bed.client, self._sink, course.begins):
                    self._pass(settings["wash_in"])
                    began, sent = time.monotonic(), self._queue().sent_bytes
                    self._pass(course.change)
                    # Before, as the rate changes at some moment of the call.
                    before, sent_before = time.monotonic(), self._queue().sent_bytes - sent
                    self._rate(course.rates[1])
                    changed = time.monotonic()
                    self._pass(settings["seconds"] - (changed - began))
                    ended, sent = time.monotonic(), self._queue().sent_bytes - sent
                # What waits is part of the block: those who waited longest are the last to arrive.
                self._drain()
        finally:
            self._clock.halt()
        could = (course.rates[0] * (changed - began) + course.rates[1] * (ended - changed)) / 8.0
        left, delays = probe.delays()
        inside = delays[(left >= began) & (left < ended)]
        arrived = inside[np.isfinite(inside)]
        early = delays[(left >= began) & (left < before)]
        if not arrived.size:
            raise SensorError("no packet of the probe has arrived")
        p50, p95 = np.percentile(arrived, [50.0, 95.0]).tolist()
        limits = [limit for at, limit, _ in self._samples if began <= at < ended]
        return Block(
            metrics={
                "delay_p95": p95,
                "delay_p50": p50,
                "delay_mean": float(arrived.mean()),
                "unused": 1.0 - sent / could,
                "unused_before": 1.0 - 8.0 * sent_before / (course.rates[0] * (before - began)),
                "lost": 1.0 - arrived.size / inside.size,
                "lost_before": float(np.isinf(early).mean()),
                "limit": float(np.mean(limits)),
            },
            control_cpu=steering.cpu if steering is not None else 0.0,
            steps=len(steering.sizes) if steering is not None else 0,
            control_memory=(
                controller_bytes(steering.controller) if isinstance(steering, Steering) else None
            ),
            course=[(at - began, limit, waiting) for at, limit, waiting in self._samples if at >= began],
        )

    def _rate(self, rate: float) -> None:
        """Change the rate; the limit as well, if it is told."""
        self._bed.set_rate(rate, self.limits(rate) if self.limits is not None else None)

    def _pass(self, seconds: float) -> None:
        """Let time pass, with a step of the control, and a look at the queue, every interval."""
        until = time.monotonic() + seconds
        while (now := time.monotonic()) < until:
            if now >= self._due:
                self._due = max(self._due + self._interval, now)
                if self._steering is not None:
                    self._steering.step()
                self._look()
            time.sleep(max(0.0, min(until, self._due) - time.monotonic()))

    def _drain(self) -> None:
        """Wait for the last packets, under control as before."""
        until = time.monotonic() + LONGEST_DRAIN
        while self._queue().backlog_bytes:
            if time.monotonic() > until:
                raise SensorError(f"the queue has not drained after {LONGEST_DRAIN:g} s")
            self._pass(POLL)

    def _look(self) -> None:
        queue = self._queue()
        limit = KINDS[queue.kind].limit(queue.options)
        self._samples.append((time.monotonic(), float(limit), float(queue.backlog_bytes)))

    def _queue(self) -> Qdisc:
        """The queue of the bottleneck, with its counts."""
        queue = self._netlink.qdisc(self._index, ROOT)
        if queue is None:
            raise SensorError(f"{BOTTLENECK} has lost its queue discipline")
        return queue
