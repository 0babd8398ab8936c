"""What the database behind a pool says: its own figures, and how many connections it can make use of."""

from __future__ import annotations

import logging
from collections.abc import Callable
from math import inf

from quantum_control.core.errors import SensorError
from quantum_control.resources.connection_kinds import client_module
from quantum_control.resources.reading import positive_int
from quantum_control.resources.useful_connections import UsefulConnections

_log = logging.getLogger("quantum_control")

RETRY_SECONDS = (10.0, 300.0)
"""Until a server that did not answer is asked again: at first, and at the most, twice as long after each
failure. To find out that it does not takes up to 3 s, in which a step is late."""


class DatabaseSide:
    """Asks the server once a measurement; where it does not answer, nothing is held back.

    A server that does not answer is logged once, and asked again after a while.

    Parameters
    ----------
    dsn
        PostgreSQL behind the pool, as a libpq connection string.
    cores
        Its processors; None: those of this machine if it is on it.
    clock
        Any callable that returns seconds and does not run backwards.

    Raises
    ------
    ConfigError
        The client library is not installed, or `cores` is no positive integer.
    """

    def __init__(self, dsn: str, cores: int | None, clock: Callable[[], float]) -> None:
        self._server = client_module("postgres", "server_postgres").PostgresServer(
            dsn, cores=cores, clock=clock
        )
        self._clock = clock
        self._retry_at, self._retry_after = -inf, RETRY_SECONDS[0]
        self._useful: UsefulConnections | None = None  # its processors are not known
        if self._server.cores is not None:
            self._useful = UsefulConnections(positive_int("server_cores", self._server.cores))

    def ask(self, busy: float, completed: int) -> tuple[dict[str, float], float]:
        """Return its figures and the most connections of use, given those in use and what got done."""
        if self._clock() < self._retry_at:
            return {}, inf
        try:
            metrics: dict[str, float] = self._server.metrics()
        except SensorError as error:
            if self._retry_at == -inf:
                _log.warning("%s; steering without them until it answers", error)
            self._retry_at = self._clock() + self._retry_after
            self._retry_after = min(2.0 * self._retry_after, RETRY_SECONDS[1])
            return {}, inf
        if self._retry_at > -inf:
            _log.warning("the server answers again; its own figures count again")
            self._retry_at, self._retry_after = -inf, RETRY_SECONDS[0]
        if self._useful is None:
            return metrics, inf
        if completed:  # where nothing gets done, as behind a lock of hours, fewer would not help
            self._useful.observe(busy, metrics["server_competing"])
        if self._useful.known:
            metrics["useful_size"] = self._useful.limit
        return metrics, self._useful.limit

    def close(self) -> None:
        """End the session with it."""
        self._server.close()
