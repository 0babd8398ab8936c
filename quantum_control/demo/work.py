"""What a task does: wait for the server, or compute for a little."""

from __future__ import annotations

import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from types import TracebackType
from typing import Self

import numpy as np

from quantum_control.core.errors import SensorError
from quantum_control.demo.load import WAIT
from quantum_control.resources.threads import MAX_THREADS

TIMEOUT = 5.0
"""Seconds after which a request is given up: many times the longest wait."""

ROUNDS = 40_000
"""Rounds of a computing task: about 3 ms of a core of the 2020s."""

WARM = MAX_THREADS
"""Connections opened beforehand, so that no arm has to pay for them: one for each thread it may have."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was measured before the arms begin."""

    overhead: float
    """Seconds that an I/O task takes on top of the wait that it asks for, median."""
    cpu_seconds: float
    """Seconds that a computing task takes, median."""


class Work:
    """Runs tasks against the server, over connections that all threads share.

    Parameters
    ----------
    port
        Of the server, on loopback.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: deque[HTTPConnection] = deque()

    def run(self, wait: float) -> None:
        """Run one task; `wait` in seconds, 0 for a computing one.

        Raises
        ------
        OSError, http.client.HTTPException
            The server did not answer as it should.
        """
        if wait > 0.0:
            self._fetch(wait)
        else:
            compute()

    def calibrate(self) -> Calibration:
        """Open the connections, and measure tasks of both kinds on an otherwise idle machine.

        Raises
        ------
        SensorError
            The server does not answer.
        """

        def timed(wait: float) -> float:
            begun = time.perf_counter()
            self.run(wait)
            return time.perf_counter() - begun - wait

        mean = sum(WAIT) / 2.0
        try:
            with ThreadPoolExecutor(WARM) as pool:
                list(pool.map(timed, [mean] * 2 * WARM))
            with ThreadPoolExecutor(4) as pool:
                overhead = float(np.median(list(pool.map(timed, [mean] * 40))))
        except (OSError, HTTPException) as error:
            raise SensorError(f"the demonstration's HTTP server does not answer: {error}") from error
        return Calibration(overhead, float(np.median([timed(0.0) for _ in range(15)])))

    def close(self) -> None:
        """Close the connections."""
        while self._idle:
            self._idle.pop().close()

    def _fetch(self, wait: float) -> None:
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT)
        try:
            connection.request("GET", f"/{wait:.4f}")
            response = connection.getresponse()
            response.read()
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)
        if response.status != HTTPStatus.OK:
            raise HTTPException(f"the server answered {response.status}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def compute() -> int:
    """Occupy the interpreter, as parsing or rendering would."""
    total = 0
    for number in range(ROUNDS):
        total += number & 7
    return total
