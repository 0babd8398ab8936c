"""A garbage-collected heap: room costs memory, the lack of it costs collections."""

from __future__ import annotations

from math import inf

from quantum_control.core.errors import ConfigError
from quantum_control.core.numeric import ops_for
from quantum_control.simulation.plants.base import TINY, Plant, Reading

LEAST_ROOM = 0.01
"""Share of the live data that is always left to allocate into: a heap at its limit collects all the
time, but it does not divide by zero."""


def square_root_heap(live: float, allocation: float, speed: float, price: float) -> float:
    """Heap limit of least total cost, live + sqrt(live·allocation/(speed·price)).

    A collection traces the `live` data at `speed` (per second) and is due
    whenever `allocation` (per second) has filled the room H - live: it takes
    the share allocation·live/(speed·(H - live)) of the time. With `price` per
    unit of heap, in shares of time, the derivative of the sum vanishes there.

    References
    ----------
    M. Kirisame, P. Shenoy and P. Panchekha, "Optimal heap limits for reducing
    browser memory use", OOPSLA 2022 (MemBalancer).
    """
    xp = ops_for(allocation * live)
    return live + xp.sqrt(live * allocation / (speed * price))


class Heap(Plant):
    """Tracing collector under a heap limit u.

    A unit allocated costs the program 1/mutator seconds and the collector
    live/(speed·(u - live)); what does not fit into the interval carries over:

        served = min(b + a, interval/(1/mutator + live/(speed·(u - live)))).

    Demand is the heap that the square-root rule asks for at this allocation,
    `live` itself when nothing is allocated.

    Parameters
    ----------
    live
        Data that survive, as size; may be changed between steps.
    mutator, speed
        Allocation of a program that never collects, and tracing speed of the
        collector; as size per second.
    price
        Of one unit of heap, in shares of the time: what the rule trades against.
    """

    def __init__(
        self,
        *,
        live: float = 200.0,
        mutator: float = 500.0,
        speed: float = 2000.0,
        price: float = 0.0005,
        delay: int = 0,
        interval: float = 1.0,
    ) -> None:
        super().__init__(delay=delay, interval=interval)
        for name, value in (("mutator", mutator), ("speed", speed), ("price", price)):
            if not 0.0 < value < inf:
                raise ConfigError(f"Heap({name}={value!r}): a positive number")
        self.live = live
        self.mutator = mutator
        self.speed = speed
        self.price = price
        self.backlog: float = 0.0
        """Allocation put off, as size."""

    def collection_seconds(self, size: float) -> float:
        """Seconds of collection per unit allocated, under the limit `size`."""
        xp = ops_for(size - self.live)
        return self.live / (self.speed * xp.maximum(size - self.live, LEAST_ROOM * self.live))

    def _run(self, size: float, arrivals: float) -> Reading:
        work = self.backlog + arrivals
        xp = ops_for(work - size + self.live)
        each = 1.0 / self.mutator + self.collection_seconds(size)
        served = xp.minimum(work, self.interval / each)
        self.backlog = work - served
        return Reading(
            demand=square_root_heap(self.live, work / self.interval, self.speed, self.price),
            size=size,
            arrived=arrivals,
            served=served,
            left=self.backlog,
            throughput=served / self.interval,
            wait_seconds=self.backlog * self.interval / xp.maximum(served, TINY),
            service_seconds=each,
        )

    def _empty(self) -> None:
        self.backlog = 0.0
