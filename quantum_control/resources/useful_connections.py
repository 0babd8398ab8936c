"""How many connections a database server can make use of, from what its sessions are doing.

A connection that is in use either competes for the server (its session runs,
or waits for a lock that another one holds) or leaves it to others (it sleeps,
reads from a disk, or waits for the application). With a part p of those in
use competing, n of them compete as p·n, and the server is full at

    n = (cores + 1) / p

which is Goetz's N = cores·(1 + W/C) with p = C/(W + C), and his N = cores + 1
for p = 1. More only wait for each other, or try in vain. Here p is measured
all the time, and locks count as competing: more connections do not get them
sooner. It bounds the size itself: headroom is for those who arrive, and at a
server that is full they only join the others in waiting.

References
----------
B. Goetz et al., Java Concurrency in Practice (2006), section 8.2; PostgreSQL
wiki, "Number of Database Connections".
"""

from __future__ import annotations

from collections import deque
from math import inf
from statistics import median

WEIGHT = 0.3
"""Of the latest interval in the means: they follow a change of work within five."""

LATEST = 3
"""Intervals whose median is looked at besides the means: it follows a change of work within two, and one
odd look does not move it."""


class UsefulConnections:
    """Means of what is in use and what of it competes, and the number that follows.

    Where fewer compete lately than the means say, what was seen lately counts:
    a limit that is too low keeps clients waiting, until the means have followed,
    for a server that has nothing to do.

    Parameters
    ----------
    cores
        Processors of the server.
    """

    def __init__(self, cores: int) -> None:
        self.full = cores + 1.0
        """Competing sessions that keep the server busy; the limit is never below."""
        self._busy = 0.0
        self._competing = 0.0
        self._latest: deque[float] = deque(maxlen=LATEST)  # parts that competed
        self._samples = 0

    def observe(self, busy: float, competing: float) -> None:
        """Take in an interval: connections in use, and how many of those were seen to compete."""
        self._samples += 1
        weight = max(WEIGHT, 1.0 / self._samples)
        self._busy += weight * (busy - self._busy)
        self._competing += weight * (min(busy, competing) - self._competing)
        if busy > 0.0:
            self._latest.append(min(1.0, competing / busy))

    @property
    def known(self) -> bool:
        """Whether anything has been seen."""
        return self._samples > 0

    @property
    def limit(self) -> float:
        """Connections that are of use; inf while nothing competes. As size."""
        lately = median(self._latest) if self._latest else 0.0
        if not (self._competing > 0.0 and lately > 0.0):
            return inf
        return max(self.full, self.full * self._busy / self._competing, self.full / lately)
