"""One run of the load-balancer benchmark: one arm, one set of arrivals, six servers that change."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from quantum_control.bench.arrivals import Answer, send
from quantum_control.bench.balancers import LocalHAProxy
from quantum_control.bench.steering import Arm, Steering
from quantum_control.bench.unequal import UnequalServers

SPEEDS = (20.0, 40.0, 60.0, 80.0, 120.0, 160.0)
"""Requests per second of the six servers: the fastest is eight times the slowest."""

SWAPPED = (20.0, 120.0, 60.0, 80.0, 40.0, 160.0)
"""The same after two of them have changed places."""

STALLING, FAILING = 3, 0
"""Which stalls, and which fails with 503 at once, at the end."""

PHASES = ("learning", "unequal", "changed", "sick")
"""Quarters of a run: everybody learns; speeds stay as they are; two have just changed places; one
has just stalled and another begun to fail."""


@dataclass(frozen=True, slots=True)
class Course:
    """What a run is like.

    Parameters
    ----------
    seconds
        Length of the run.
    utilisation
        Rate over the sum of the speeds.
    interval
        Seconds between the steps of what sets weights.
    """

    seconds: float = 8.0
    utilisation: float = 0.65
    interval: float = 0.2

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.utilisation * sum(SPEEDS)

    def arrivals(self, seed: int) -> tuple[list[float], list[float]]:
        """When requests leave (Poisson), and the work of each (exponential, mean 1)."""
        rng = np.random.default_rng(seed)
        gaps = rng.exponential(1.0 / self.rate, int(2.0 * self.rate * self.seconds))
        due = np.cumsum(gaps)
        due = due[due < self.seconds]
        return due.tolist(), rng.exponential(1.0, due.size).tolist()


@dataclass(frozen=True, slots=True)
class Run:
    """What one run came to."""

    answers: list[Answer]
    cost: float
    """Processor seconds of what sets the weights."""
    steps: int
    """Steps that it took."""


def run(arm: Arm, course: Course, seed: int) -> Run:
    """Start the servers and the balancer, send the requests, change the servers, end everything."""
    due, work = course.arrivals(seed)
    with UnequalServers(SPEEDS) as servers, arm.kind(servers.addresses, arm.policy) as balancer:
        haproxy = arm.kind is LocalHAProxy
        names = [f"s{i}" for i in range(len(SPEEDS))] if haproxy else servers.addresses
        steering = arm.steer(balancer, names, course.rate, course.interval)
        steering.told(SPEEDS)
        answers = asyncio.run(_drive(balancer.port, due, work, course, servers, steering))
        steering.close()
    return Run(answers, steering.cost, steering.steps)


async def _drive(
    port: int,
    due: Sequence[float],
    work: Sequence[float],
    course: Course,
    servers: UnequalServers,
    steering: Steering,
) -> list[Answer]:
    loop = asyncio.get_running_loop()
    quarter = course.seconds / len(PHASES)
    # The order of steps and of what is told: both may write to the balancer.
    lock = threading.Lock()
    over = threading.Event()

    def steps() -> None:
        while not over.wait(course.interval):
            with lock:
                steering.step()

    def change(speeds: Sequence[float]) -> None:
        with lock:
            steering.told(speeds)

    def swap() -> None:
        for server, (old, new) in enumerate(zip(SPEEDS, SWAPPED, strict=True)):
            if old != new:
                servers.become(server, speed=new)
        loop.run_in_executor(None, change, SWAPPED)

    def sicken() -> None:
        servers.become(STALLING, mode="stalled")
        servers.become(FAILING, mode="failing")
        of_use = [0.0 if i in (STALLING, FAILING) else speed for i, speed in enumerate(SWAPPED)]
        loop.run_in_executor(None, change, of_use)

    loop.call_later(2.0 * quarter, swap)
    loop.call_later(3.0 * quarter, sicken)
    thread = threading.Thread(target=steps, name="steering")
    thread.start()
    try:
        return await send(port, due, work)
    finally:
        over.set()
        await asyncio.to_thread(thread.join)
