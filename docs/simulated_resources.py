"""A queue and a JVM in simulation, behind the adapters' own code: `docs/resource_figures.py` steers them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from quantum_control.core.errors import SensorError
from quantum_control.core.resource import Resource, ResourceState
from quantum_control.resources.drain import Drain
from quantum_control.resources.jvm_heap import FLAG
from quantum_control.resources.jvm_reading import HeapReading
from quantum_control.simulation.plants import DropTailBuffer, Heap

PACKET = 1514
"""Bytes of a full packet of Ethernet."""

OFFERED = 1.2
"""What comes in over what the line carries: senders that always have something to send."""

MIB = float(2**20)


class SimulatedQueue(Resource):
    """A queue in bytes before a line whose rate changes; what `Drain` makes of its counts is the demand.

    Parameters
    ----------
    rates
        Bytes per second of the line, one for each interval.
    target
        Seconds that a full queue shall take to drain.
    limit
        Bytes at the start.
    interval
        Seconds; the queue itself is simulated in twentieths of it.
    """

    unit = "bytes"
    min_size = 4 * PACKET

    def __init__(self, rates: Sequence[float], target: float, limit: int, interval: float) -> None:
        self.limit = limit
        self.waits: list[float] = []
        """Seconds that the last byte in had to wait, at the end of each interval."""
        self._plant = DropTailBuffer(interval=interval / 20)
        self._rates = iter(rates)
        self._drain = Drain(target, PACKET)
        self._random = np.random.default_rng(1)
        self._sent = self._lost = 0.0

    def clock(self) -> float:
        """Seconds simulated so far."""
        return self._plant.clock()

    def measure_state(self) -> ResourceState:
        """Run one interval."""
        rate = next(self._rates, None)
        if rate is None:
            raise SensorError("the simulated course has ended")
        plant = self._plant
        plant.rate = rate
        for packets in self._random.poisson(OFFERED * rate * plant.interval / PACKET, 20):
            reading = plant.step(float(self.limit), float(packets * PACKET))
            self._sent += reading.served
            self._lost += reading.lost
        self.waits.append(reading.wait_seconds)
        self._drain.count(self.clock(), self._sent, plant.content, int(self._lost / PACKET), self.limit)
        return ResourceState.from_demand(self._drain.demand(self.limit), size=self.limit)

    def apply_control(self, new_size: int) -> None:
        """Set the limit."""
        self.limit = new_size

    def get_metrics(self) -> dict[str, float]:
        """As a real queue's."""
        return self._drain.metrics()


class SimulatedJvm:
    """A JVM whose heap is the simulated one; `JvmHeap` takes it in place of a real one.

    Parameters
    ----------
    maximum
        Its -Xmx in bytes, which is also where it begins.
    """

    def __init__(self, maximum: int) -> None:
        self.heap = Heap(live=0.0, mutator=4000.0 * MIB, speed=2000.0 * MIB)
        self._flags = {FLAG: maximum}
        self._maximum = maximum
        self._filled = 0.0  # since the last collection
        self._kept = float("nan")
        self._allocated = self._worked = 0.0
        self._collections = 0

    def advance(self, live: float, allocated: float) -> None:
        """Run one interval of a program with `live` bytes that allocates `allocated` more."""
        self.heap.live = live
        size = float(self._flags[FLAG])
        served = self.heap.step(size, allocated).served
        self._allocated += served
        self._worked += served * self.heap.collection_seconds(size)
        self._filled += served
        times, self._filled = divmod(self._filled, max(size - live, 0.01 * live))
        self._collections += int(times)
        if times:
            self._kept = live

    def read(self) -> HeapReading:
        """Measure now."""
        return HeapReading(
            started=0.0,
            time=self.heap.clock(),
            used=round(self.heap.live + self._filled),
            committed=self._flags[FLAG],
            maximum=self._maximum,
            live=self._kept,
            allocated=self._allocated,
            collections=self._collections,
            pause_seconds=0.0,
            collector_seconds=self._worked,
        )

    def flag(self, name: str) -> int:
        """Value of a flag."""
        return self._flags[name]

    def set_flag(self, name: str, value: int) -> None:
        """Set a flag."""
        self._flags[name] = value

    def collector(self) -> str:
        """One that heeds SoftMaxHeapSize."""
        return "ZGC"

    def collect(self) -> None:
        """Collect now."""
        self._filled, self._kept = 0.0, self.heap.live
        self._collections += 1

    def close(self) -> None:
        """Nothing is held open."""
