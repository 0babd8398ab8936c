"""The heaps of real JVMs under a load whose live set and allocation change, in short blocks."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from types import TracebackType
from typing import Any

import numpy as np

from quantum_control.bench.allocator import Load, java
from quantum_control.bench.memory import OPTIONS, PHASES
from quantum_control.bench.memory_arms import Ours, Rule, Steering, Still
from quantum_control.core.errors import SensorError
from quantum_control.demo.arms import Stopwatch
from quantum_control.resources.heap_sizing import GIB
from quantum_control.resources.jvm_heap import FLAG
from quantum_control.resources.jvm_local import LocalJvm
from quantum_control.validation.bed import TIMES, Bed, Block, Turn
from quantum_control.validation.beds.service import PATIENCE, Service
from quantum_control.validation.beds.version import version_of
from quantum_control.validation.footprint import controller_bytes
from quantum_control.validation.plan import AGAIN, BEST, DEFAULT, UNSTEERED, WATCHED

PEER = "peer"

STEADY = ("-XX:-ZProactive",)
"""ZGC collects of its own accord after some time without need, and that time does not stand still."""


class Heap:
    """A JVM, and what steers its heap; both stopped between two blocks.

    Parameters
    ----------
    settings
        Of the bed.
    soft
        SoftMaxHeapSize from the start, MiB; None for none.
    steer
        Makes what steers, of the JVM and the clock that stands still.
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        soft: int | None = None,
        steer: Callable[[LocalJvm, Stopwatch], Steering] | None = None,
    ) -> None:
        self._settings = settings
        self._clock = Stopwatch()
        options = [*OPTIONS, f"-Xmx{settings['maximum']}m", *STEADY]
        if soft is not None:
            options.append(f"-XX:{FLAG}={soft}m")
        with ExitStack() as stack:
            self._service = service = Service(options, settings["requests"])
            stack.callback(service.close)
            service.go()
            self._jvm = LocalJvm(service.pid, counters=service.counters)
            self._steering: Steering = Still()
            if steer is not None:
                self._steering = steer(LocalJvm(service.pid, counters=service.counters), self._clock)
            self._steers = steer is not None
            service.halt()
            self._clock.halt()
            self._due = self._clock() + settings["interval"]
            self._stack = stack.pop_all()

    def close(self) -> None:
        """End the JVM."""
        self._stack.close()

    def play(self, load: Load, seed: int) -> Block:
        """Serve a wash-in and the block."""
        wash_in, seconds = float(self._settings["wash_in"]), float(self._settings["seconds"])
        cost, steps = self._steering.cost, 0
        samples: list[tuple[float, float, float, float]] = []
        self._clock.go()
        self._service.go()
        try:
            began = time.monotonic()
            self._service.serve(load._replace(seconds=wash_in + seconds), seed)
            served = None
            while served is None:
                if time.monotonic() - began > wash_in + seconds + PATIENCE:
                    raise SensorError("the allocating program does not come to an end with its requests")
                reading = self._jvm.read()
                now = time.monotonic() - began - wash_in
                heap = float(self._jvm.flag(FLAG) or reading.maximum)
                samples.append((now, float(reading.committed), reading.collector_seconds, heap))
                if self._steers and self._clock() >= self._due:
                    self._due = max(self._due + self._settings["interval"], self._clock())
                    self._steering.step()
                    steps += 1
                # Up to the moment at which the wash-in is over, and no longer.
                pause = self._settings["sample"]
                served = self._service.served(min(pause, -now) if now < 0.0 else pause)
            last = self._jvm.read()
            samples.append(
                (time.monotonic() - began - wash_in, float(last.committed), last.collector_seconds, heap)
            )
        finally:
            self._service.halt()
            self._clock.halt()
        return Block(
            metrics=self._figures(np.array(samples), served[served[:, 0] >= wash_in, 1]),
            control_cpu=self._steering.cost - cost,
            steps=steps,
            control_memory=(
                controller_bytes(self._steering.controller) if isinstance(self._steering, Ours) else None
            ),
            course=[(at, heap, committed) for at, committed, _, heap in samples if at >= 0.0],
        )

    def _figures(self, samples: Any, latencies: Any) -> dict[str, float]:
        """Of what came after the wash-in.

        Collecting is in processor seconds over the time that the block was to last:
        all have the same requests, and who takes longer for them has not collected less.
        """
        inside = samples[samples[:, 0] >= 0.0]
        if len(inside) < 2 or not latencies.size:
            raise SensorError("the block was over before it was measured")
        time, committed, spent, _ = inside.T
        heap = float(np.sum(committed[:-1] * np.diff(time)) / (time[-1] - time[0]))
        cores = float(spent[-1] - spent[0]) / float(self._settings["seconds"])
        return {
            "cost": cores + float(self._settings["price"]) * heap / GIB,
            "stalled": float(np.mean(latencies > self._settings["stall"])),
            "heap": heap,
            "collecting": cores,
            "latency_p99": float(np.percentile(latencies, 99.0)),
            "latency_mean": float(np.mean(latencies)),
        }


class MemoryBed(Bed):
    """A service with little or much data that allocates little or much, on JVMs that last over all blocks.

    One JVM (ZGC) for each arm, stopped while others have their turn. A stretch
    of pairs has one phase of `bench memory`; requests are drawn for each pair.
    """

    SETTINGS = (
        TIMES
        | {"requests", "scale", "maximum", "price", "sample", "stall"}
        | {"sizes", "calibration", "learning"}
    )
    METRICS = frozenset({"cost", "stalled", "heap", "collecting", "latency_p99", "latency_mean"})

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__(settings)
        self._stack = ExitStack()
        self._arms: dict[str, Heap] = {}

    def calibrate(self, turns: list[Turn], tell: Callable[[str], object]) -> dict[str, Any]:
        """Play the first blocks of a stretch of each phase to each fixed heap; the best costs least."""
        if not turns:
            return {}
        first: dict[str, int] = {}
        for turn in turns:
            first.setdefault(self._phase(turn), turn.stretch)
        chosen = [
            turn
            for turn in turns
            if turn.stretch in first.values() and turn.place < self.settings["calibration"]
        ]
        costs: dict[int, float] = {}
        for size in self.settings["sizes"]:
            tell(f"looking for the best fixed heap: {len(chosen)} blocks with {size} MiB")
            heap = Heap(self.settings, soft=size)
            try:
                for turn in chosen[: self.settings["learning"]]:
                    heap.play(*self._load(turn))
                found = [heap.play(*self._load(turn)).metrics["cost"] for turn in chosen]
                # The geometric mean, as the arms are compared by ratios.
                costs[size] = float(np.exp(np.mean(np.log(found))))
            finally:
                heap.close()
        return {
            "best_fixed": min(costs, key=costs.__getitem__),
            "cost_by_size": {str(size): round(cost, 5) for size, cost in costs.items()},
        }

    def prepare(self, calibration: Mapping[str, Any], arms: list[str]) -> None:
        """Start the JVMs."""
        for name in arms:
            heap = self._heap(name, calibration)
            self._stack.callback(heap.close)
            self._arms[name] = heap

    def run(self, arm: str, turn: Turn) -> Block:
        """Serve a wash-in and the block."""
        return replace(self._arms[arm].play(*self._load(turn)), phase=self._phase(turn))

    def versions(self) -> dict[str, str]:
        """The JDK's."""
        return {"java": version_of(java(), "--version")}

    def _heap(self, name: str, calibration: Mapping[str, Any]) -> Heap:
        price, interval = float(self.settings["price"]), float(self.settings["interval"])
        if name in (DEFAULT, AGAIN, UNSTEERED):
            return Heap(self.settings)
        if name == BEST:
            return Heap(self.settings, soft=int(calibration["best_fixed"]))
        if name == PEER:
            return Heap(self.settings, steer=lambda jvm, _: Rule(jvm, price, interval))
        watched = name == WATCHED
        law = "auto" if watched else name
        return Heap(
            self.settings,
            steer=lambda jvm, clock: Ours(
                jvm, law, price, interval=interval, tuned=True, watched=watched, clock=clock
            ),
        )

    def _phase(self, turn: Turn) -> str:
        """Of its stretch: each round of stretches has every phase once, in an order drawn anew."""
        rounds, place = divmod(turn.stretch, len(PHASES))
        order = replace(turn, stretch=rounds).conditions().permutation(len(PHASES))
        return list(PHASES)[int(order[place])]

    def _load(self, turn: Turn) -> tuple[Load, int]:
        live, rate = PHASES[self._phase(turn)]
        live *= self.settings["scale"]
        return Load(float(self.settings["seconds"]), live, rate), int(turn.arrivals().integers(2**31))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
