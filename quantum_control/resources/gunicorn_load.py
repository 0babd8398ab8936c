"""What the workers of a gunicorn have to do, as the kernel shows it."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import nan

from quantum_control.core.errors import SensorError
from quantum_control.core.queueing import offered_load
from quantum_control.resources.accept_queue import connections, overflows
from quantum_control.resources.gunicorn_master import Crew, Master
from quantum_control.resources.gunicorn_setting import Seen
from quantum_control.resources.useful_connections import UsefulConnections

AGES_KEPT = 0.9
"""Weight, in the mean age of requests, of those seen before the latest measurement: ten of them count."""


@dataclass(frozen=True, slots=True)
class Sight:
    """The workers of a master and their connections at one instant."""

    crew: Crew
    seen: list[Seen]
    """The workers, oldest first."""
    held: Mapping[int, int]
    """How many connections each has accepted, by its process id."""
    waiting: int
    """Connections that nobody has accepted yet."""


def sight(master: Master) -> Sight:
    """Look at a master now.

    Raises
    ------
    SensorError
        It has ended, may not be looked at, or its workers listen nowhere.
    """
    crew = master.crew()
    found = connections(master.net, frozenset[int]().union(*(worker.sockets for worker in crew.workers)))
    if crew.workers and not found.listeners:
        raise SensorError(f"the workers of {master} listen nowhere that can be seen")
    held = {worker.pid: len(worker.sockets & found.accepted) for worker in crew.workers}
    seen = [Seen(each.pid, each.serves, held[each.pid] > 0, each.beat) for each in crew.workers]
    return Sight(crew, seen, held, found.waiting)


class Load:
    """Demand and figures of the workers of a master, from one look to the next.

    Parameters
    ----------
    master
        Of whom.
    threads
        Requests that one worker takes at once.
    cores
        Processors that the workers may run on.
    """

    def __init__(self, master: Master, threads: int, cores: int) -> None:
        self._master = master
        self._threads = threads
        self._useful = UsefulConnections(cores)
        self._processor_seconds: dict[int, float] = {}
        self._overflows = overflows(master.net)
        self._ages = self._aged = 0.0  # sum and number of the ages of requests
        self.metrics: dict[str, float] = {}
        """Figures of the last look; `GunicornResource.get_metrics` says what they are."""

    def demand(self, there: Sight, staying: Collection[int], elapsed: float) -> float:
        """Demand on the workers with the ids `staying`, `elapsed` seconds after the last look; as size."""
        # Those that leave are followed by nobody: what they still do is no demand on the others.
        held = {pid: number for pid, number in there.held.items() if pid in staying}
        occupied = sum(number > 0 for number in held.values())
        in_hand = sum(held.values())
        if elapsed > 0.0:
            self._over_time(there.crew, occupied, elapsed)
        age = self._age(there.crew, held)
        useful = self._useful.limit
        self.metrics |= {
            "busy": float(occupied),
            "connections": float(in_hand),
            "queue_depth": float(there.waiting),
            "workers": float(len(there.seen)),
            "starting": float(sum(not each.serves for each in there.seen)),
            "leaving": float(len(there.seen) - len(staying)),
            "age_seconds": age,
            "useful_size": useful,
        }
        busy, waiting = in_hand / self._threads, there.waiting / self._threads
        return min(useful, offered_load(busy, waiting, age, elapsed) if elapsed > 0.0 else busy + waiting)

    def _over_time(self, crew: Crew, occupied: int, elapsed: float) -> None:
        """Take the figures of the time since the last look."""
        last = self._processor_seconds
        self._processor_seconds = now = {
            each.pid: self._master.processor_seconds(each.pid) for each in crew.workers
        }
        ran = sum(now[pid] - last[pid] for pid in now.keys() & last.keys())
        if last:
            self._useful.observe(float(occupied), ran / elapsed)
        before, self._overflows = self._overflows, overflows(self._master.net)
        self.metrics = {
            "processors": ran / elapsed,
            "listen_overflows": max(0, self._overflows - before) / elapsed,
        }

    def _age(self, crew: Crew, held: Mapping[int, int]) -> float:
        """Mean age of requests. A sync worker tells that it lives before each; others do as time passes."""
        if self._threads > 1:
            return nan
        wall = time.time()
        ages = [max(0.0, wall - each.beat) for each in crew.workers if held.get(each.pid)]
        self._ages = AGES_KEPT * self._ages + sum(ages)
        self._aged = AGES_KEPT * self._aged + len(ages)
        return self._ages / self._aged if self._aged else nan
