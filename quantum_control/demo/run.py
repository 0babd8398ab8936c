"""Plays the load to the arms in turn, and records what became of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException
from math import nan

import numpy as np

from quantum_control.core.queueing import offered_load
from quantum_control.demo.arms import Arm
from quantum_control.demo.load import FloatArray, Load, Segment
from quantum_control.demo.work import Work
from quantum_control.resources.adaptive import INTERVAL

TICK = 0.01
"""Seconds, at most, between two looks at the number of threads."""

SAMPLE = 0.05
"""Seconds between two samples for the eye."""

PATIENCE = 2.5
"""Seconds after the end of a segment for tasks that are late; those that have not begun then are dropped,
and count with the wait that they have had."""


@dataclass(frozen=True, slots=True)
class Sample:
    """An arm at one instant."""

    time: float
    """Seconds since the beginning of the segment."""
    threads: int
    demand: float
    """Threads running tasks, and those that would clear the queue within one interval of the control."""
    queued: int
    """Tasks waiting."""
    wait: float
    """Seconds, mean of the tasks begun since the sample before; nan if none."""
    force: float
    """1/s; nan where nothing steers."""


@dataclass(frozen=True, slots=True)
class Played:
    """One segment as one arm has played it."""

    waits: FloatArray
    """Seconds from when each task was due to when it began, or was dropped."""
    services: FloatArray
    """Seconds that each took then; for those that were dropped, the mean of the others."""
    failed: int
    """Tasks to which the server did not answer as it should."""
    dropped: int
    """Tasks that had not begun when the patience was over."""
    seconds: float
    """Length of the segment, or until the last task was done if that was later."""
    thread_seconds: float
    change: float
    """Sum of the size's changes, signs dropped."""
    control_cpu: float
    """Processor seconds of the control."""
    samples: tuple[Sample, ...]

    @property
    def throughput(self) -> float:
        """Tasks done per second."""
        return (self.waits.size - self.failed - self.dropped) / self.seconds


def turns(segments: int, arms: int) -> Iterator[tuple[int, int]]:
    """Segment and arm of each turn, such that each arm comes first, and before any other, as often as it can.

    The order is rotated by one at every other segment, and reversed in
    between: whatever drifts in the machine hits all arms alike.
    """
    for segment in range(segments):
        order = [(segment // 2 + place) % arms for place in range(arms)]
        for arm in order if segment % 2 == 0 else reversed(order):
            yield segment, arm


def play(
    load: Load, arms: Sequence[Arm], work: Work, observe: Callable[[Arm, int, Sample], object]
) -> list[list[Played]]:
    """Play every segment to every arm; for each arm what became of the segments, in their order.

    `observe` gets each sample as it is taken, with the arm and the segment's number.
    """
    played: list[list[Played]] = [[] for _ in arms]
    for index, which in turns(len(load.segments), len(arms)):
        arm = arms[which]
        watch = _Watch(arm, load.service, partial(observe, arm, index))
        played[which].append(_play(load.segments[index], arm, work, watch))
    return played


class _Watch:
    """Adds up thread-seconds, and takes samples, of one arm in one segment."""

    def __init__(self, arm: Arm, service: float, observe: Callable[[Sample], object]) -> None:
        self.begun: list[tuple[int, float]] = []
        """Which task began, and when."""
        self.ended: list[tuple[int, float]] = []
        self.failed: list[int] = []
        self.thread_seconds = 0.0
        self.change = 0.0
        self.samples: list[Sample] = []
        self._arm = arm
        self._service = service
        self._observe = observe
        self._threads = arm.threads()
        self._time = 0.0
        self._seen = 0

    def look(self, now: float, submitted: int, due: FloatArray) -> None:
        """Take note of how things are, `now` seconds after the beginning."""
        threads = self._arm.threads()
        self.thread_seconds += threads * (now - self._time)
        self.change += abs(threads - self._threads)
        self._threads = threads
        self._time = now
        if self.samples and now < self.samples[-1].time + SAMPLE:
            return
        ended = len(self.ended)  # before those that have begun, of which there are never fewer
        begun = len(self.begun)
        recent = self.begun[self._seen : begun]
        self._seen = begun
        wait = float(np.mean([at - due[task] for task, at in recent])) if recent else nan
        demand = offered_load(float(begun - ended), float(submitted - begun), self._service, INTERVAL)
        sample = Sample(now, threads, demand, submitted - begun, wait, self._arm.force)
        self.samples.append(sample)
        self._observe(sample)


def _play(segment: Segment, arm: Arm, work: Work, watch: _Watch) -> Played:
    due, waits = segment.due, segment.waits
    futures: list[Future[None]] = []
    start = time.monotonic()

    def task(index: int) -> None:
        watch.begun.append((index, time.monotonic() - start))
        try:
            work.run(waits[index])
        except (OSError, HTTPException):
            watch.failed.append(index)
        finally:
            watch.ended.append((index, time.monotonic() - start))

    arm.begin()
    try:
        while (now := time.monotonic() - start) < segment.seconds or (
            len(watch.ended) < due.size and now < segment.seconds + PATIENCE
        ):
            while len(futures) < due.size and due[len(futures)] <= now:
                futures.append(arm.pool.submit(task, len(futures)))
            watch.look(now, len(futures), due)
            ahead = due[len(futures)] - now if len(futures) < due.size else TICK
            time.sleep(min(max(ahead, 0.0), TICK))
        watch.look(now, len(futures), due)
        control_cpu = arm.control_cpu
        for future in reversed(futures):
            future.cancel()
        wait(futures)
    finally:
        arm.end()
    begun, ended = _by_task(watch.begun, due.size), _by_task(watch.ended, due.size)
    served = ended - begun
    mean = float(np.nanmean(served)) if watch.ended else 0.0
    return Played(
        waits=np.where(np.isnan(begun), now, begun) - due,
        services=np.where(np.isnan(served), mean, served),
        failed=len(watch.failed),
        dropped=due.size - len(watch.begun),
        seconds=now,
        thread_seconds=watch.thread_seconds,
        change=watch.change,
        control_cpu=control_cpu,
        samples=tuple(watch.samples),
    )


def _by_task(events: Sequence[tuple[int, float]], tasks: int) -> FloatArray:
    """Times of events in the order of the tasks, nan for those without."""
    times = np.full(tasks, np.nan)
    for task, at in events:
        times[task] = at
    return times
