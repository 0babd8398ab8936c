"""A real thread pool under real work, in short blocks."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, nullcontext
from types import TracebackType
from typing import Any

import numpy as np

from quantum_control.core.controller import QuantumController
from quantum_control.core.physics import Objective, PhysicsModel
from quantum_control.core.resource import Resource
from quantum_control.daemon.shadow import Shadow
from quantum_control.demo.arms import Arm, FixedArm
from quantum_control.demo.load import CPU_SHARE, Load, Segment, default_size
from quantum_control.demo.run import Played, play
from quantum_control.demo.server import LocalServer
from quantum_control.demo.sweep import expected_services, replay
from quantum_control.demo.work import Work
from quantum_control.resources.executor import ResizableThreadPoolExecutor
from quantum_control.resources.threads import MAX_THREADS, ThreadPoolResource
from quantum_control.simulation.peers import EwmaWithBacklog
from quantum_control.validation.bed import TIMES, Bed, Block, Turn
from quantum_control.validation.beds.steps import Steps
from quantum_control.validation.plan import AGAIN, BEST, DEFAULT, OURS, UNSTEERED, WATCHED
from quantum_control.validation.statistics import FloatArray

SLOT = 0.01
"""Seconds for which the rate of arrivals stays the same."""

COMPUTING_SECONDS = 0.003
"""Of a task that computes, about; `demo.work.ROUNDS` of it."""

PEER = "peer"

LONGEST = 60.0
"""Seconds that a block takes at most: its tasks are given up long before."""


class ResizablePool(Arm):
    """A resizable pool of the default size, under a controller or not; time stands still between two blocks.

    Parameters
    ----------
    law
        As the controller takes it, tuned online if it is a name; None for no controller.
    interval
        Seconds between its steps.
    watched
        Whether it only looks, and changes nothing.
    """

    def __init__(self, law: PhysicsModel | str | None, interval: float, *, watched: bool = False) -> None:
        steps = Steps(interval)
        self._pool = ResizableThreadPoolExecutor(default_size(), clock=steps.clock)
        self.pool: ThreadPoolExecutor = self._pool
        self.steps: Steps | None = None
        """None where nothing steers."""
        if law is None:
            return
        resource: Resource = ThreadPoolResource(pool=self._pool)
        steps.steer(
            QuantumController(
                Shadow(resource) if watched else resource,
                law,
                auto_tune=isinstance(law, str),
                interval=interval,
                clock=steps.clock,
            )
        )
        self.steps = steps

    def threads(self) -> int:
        """Size, or the threads that are there where those are more."""
        reading = self._pool.reading()
        return max(reading.size, reading.alive)


class ThreadsBed(Bed):
    """Tasks that wait for an HTTP server or compute, on pools that last over all blocks.

    A block is a wash-in, whose tasks count for nothing, then a burst in light
    load; it is over when its tasks are done. The arms' queues are empty at the
    beginning of each, and their size is what the block before has left.
    """

    SETTINGS = TIMES | {"begin", "height", "length", "light", "wait"}
    METRICS = frozenset({"cost", "lost", "wait_p99", "wait_mean", "threads", "throughput"})

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__(settings)
        self._stack = ExitStack()
        self._work = self._stack.enter_context(Work(self._stack.enter_context(LocalServer()).port))
        self._arms: dict[str, Arm] = {}
        self._objective = Objective()
        self._least, self._most = settings["wait"]
        self._service = (1.0 - CPU_SHARE) * (self._least + self._most) / 2.0 + CPU_SHARE * COMPUTING_SECONDS

    def calibrate(self, turns: list[Turn], tell: Callable[[str], object]) -> dict[str, Any]:
        """Replay all arrivals of the run on every fixed size (`demo.sweep`)."""
        if not turns:
            return {}
        tell("looking for the best fixed size: replaying the arrivals")
        measured = self._work.calibrate()
        loads = [self._load(turn) for turn in turns]
        services = [expected_services(load, measured)[1] for load in loads]
        costs: dict[int, float] = {}
        for size in range(1, MAX_THREADS + 1):
            found = []
            for load, service in zip(loads, services, strict=True):
                served = replay(load.segments[1], service, size)
                found.append(self._cost(served.waits, service, size * served.seconds, 0.0))
            # The geometric mean, as the arms are compared by ratios.
            costs[size] = float(np.exp(np.mean(np.log(found))))
            if size > default_size() and costs[size] > 2.0 * min(costs.values()):
                break
        best = min(costs, key=costs.__getitem__)
        return {
            "best_fixed": best,
            "cost_by_size": {str(size): round(value, 5) for size, value in costs.items()},
            "overhead_seconds": measured.overhead,
            "computing_seconds": measured.cpu_seconds,
        }

    def prepare(self, calibration: Mapping[str, Any], arms: list[str]) -> None:
        """Start the pools."""
        interval = float(self.settings["interval"])
        for name in arms:
            if name in (DEFAULT, AGAIN):
                arm: Arm = FixedArm(default_size())
            elif name == BEST:
                arm = FixedArm(int(calibration["best_fixed"]))
            elif name == UNSTEERED:
                arm = ResizablePool(None, interval)
            elif name == WATCHED:
                arm = ResizablePool(OURS, interval, watched=True)
            else:
                arm = ResizablePool(EwmaWithBacklog() if name == PEER else name, interval)
            self._stack.callback(arm.close)
            self._arms[name] = arm

    def run(self, arm: str, turn: Turn) -> Block:
        """Play a wash-in and the block; the control takes its steps in both."""
        played, load = self._arms[arm], self._load(turn)
        steps = played.steps if isinstance(played, ResizablePool) else None
        began = time.monotonic()
        with nullcontext() if steps is None else steps.between(began, began + LONGEST):
            done = play(load, [played], self._work, lambda *_: None)[0][1]
        return Block(
            metrics=self._figures(done),
            control_cpu=0.0 if steps is None else steps.cpu,
            steps=0 if steps is None else steps.taken,
            control_memory=None if steps is None else steps.memory(),
            course=[(each.time, float(each.threads), each.demand) for each in done.samples],
        )

    def _figures(self, done: Played) -> dict[str, float]:
        waits = done.waits
        return {
            "cost": self._cost(waits, done.services, done.thread_seconds, done.change),
            "lost": (done.failed + done.dropped) / max(waits.size, 1),
            "wait_p99": float(np.percentile(waits, 99.0)),
            "wait_mean": float(waits.mean()),
            "threads": done.thread_seconds / done.seconds,
            "throughput": done.throughput,
        }

    def _cost(self, waits: FloatArray, services: FloatArray, thread_seconds: float, change: float) -> float:
        """By the controller's own prices, as in `demo.sweep.cost`, at the interval of this bed."""
        interval = float(self.settings["interval"])
        share = min(1.0, float(services.mean()) / interval)
        return self._objective.cost(float(waits.sum()) * share, thread_seconds, change * interval)

    def _load(self, turn: Turn) -> Load:
        """Arrivals of a turn: the wash-in, and the block."""
        rng = turn.arrivals()
        light = rng.uniform(*self.settings["light"])
        slots = round(self.settings["seconds"] / SLOT)
        demand = np.full(slots, light)
        first = round(rng.uniform(*self.settings["begin"]) * slots)
        last = first + max(1, round(rng.uniform(*self.settings["length"]) * slots))
        demand[first:last] = rng.uniform(*self.settings["height"])
        wash_in = np.full(round(self.settings["wash_in"] / SLOT), light)
        segments = tuple(self._segment(each, rng) for each in (wash_in, demand))
        return Load(segments, demand, (self._least, self._most), f"turn {turn.pair}")

    def _segment(self, demand: FloatArray, rng: np.random.Generator) -> Segment:
        """Poisson arrivals of a demand in threads, at least one task."""
        counts = rng.poisson(demand * SLOT / self._service)
        counts[0] = max(counts[0], 1)
        slot = np.repeat(np.arange(demand.size), counts)
        due = np.sort((slot + rng.random(slot.size)) * SLOT)
        waits = rng.uniform(self._least, self._most, slot.size)
        waits[rng.random(slot.size) < CPU_SHARE] = 0.0
        return Segment(demand.size * SLOT, due, waits, demand[slot] > 2.0 * demand.mean())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
