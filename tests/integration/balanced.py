"""Real load behind real balancers, stepped interval by interval."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Callable

from quantum_control.bench.arrivals import Answer, send

SPEEDS = (20.0, 40.0, 60.0, 80.0, 120.0, 160.0)


def arrivals(rate, count, seed=1):
    """When requests leave, and how much work each is."""
    rng = random.Random(seed)
    due, now = [], 0.0
    for _ in range(count):
        now += rng.expovariate(rate)
        due.append(now)
    return due, [rng.expovariate(1.0) for _ in range(count)]


def under_load(
    port: int, rate: float, most: int, step: Callable[[int], bool], interval: float
) -> list[Answer]:
    """Send up to `most` requests at `rate`; call `step(k)` every interval until it answers True, and stop."""
    over = False

    def while_it_lasts(values):
        for value in values:
            if over:
                return
            yield value

    async def main():
        nonlocal over
        due, work = map(while_it_lasts, arrivals(rate, most))
        load = asyncio.create_task(send(port, due, work))
        steps = 0
        while not load.done():
            await asyncio.sleep(interval)
            # On a thread: the client must not wait for the balancer's admin interface.
            if await asyncio.to_thread(step, steps):
                break
            steps += 1
        over = True
        return await load

    return asyncio.run(main())


class Steps:
    """The course of a balancer under load: one entry per interval."""

    def __init__(self, resource, balancer):
        self.resource = resource
        self.balancer = balancer
        self.weights = []
        self.started = []

    def __call__(self, _):
        self.resource.measure_state()
        reading = self.balancer.read()
        self.weights.append({name: one.weight for name, one in reading.back_ends.items()})
        self.started.append({name: one.started for name, one in reading.back_ends.items()})
        return False


def weights(balancer):
    """Weights in force, by name."""
    return {name: one.weight for name, one in balancer.read().back_ends.items()}


def operator(haproxy):
    """A function that orders what somebody types at the socket, and returns the answer."""

    def order(line):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(haproxy.directory / "admin.sock"))
            connection.sendall(line.encode() + b"\n")
            answer = b""
            while chunk := connection.recv(65536):
                answer += chunk
        return answer.decode()

    return order


def until(condition, attempts=400, pause=0.05):
    """Whether `condition()` came true in bounded time."""

    async def wait():
        for _ in range(attempts):
            if condition():
                return True
            await asyncio.sleep(pause)
        return False

    return asyncio.run(wait())
