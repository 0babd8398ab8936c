"""An open-loop HTTP client: requests leave when they are due, whatever became of those before."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

from quantum_control.bench.unequal import END_OF_HEAD

TIMEOUT = 10.0
"""Seconds after which a request is given up; longer than any balancer waits."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one request."""

    due: float
    """Seconds after the beginning at which it was to leave."""
    seconds: float
    """From then to the end of its answer, or to where it was given up."""
    status: int
    """HTTP status; 0 if there was no answer."""
    late: float
    """Seconds by which it left too late: what the machine was too busy for."""


class _Connection(asyncio.Protocol):
    """A kept-alive connection with at most one request under way."""

    def __init__(self) -> None:
        self.open = True
        self._transport: asyncio.Transport | None = None
        self._waiting: asyncio.Future[int] | None = None
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def ask(self, target: str) -> asyncio.Future[int]:
        self._waiting = asyncio.get_running_loop().create_future()
        if self._transport is not None:
            self._transport.write(f"GET {target} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())
        return self._waiting

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(END_OF_HEAD)
        if not end or len(body) < _length(head):
            return
        status = int(head[9:12])
        self._received = b""
        if b"onnection: close" in head:
            self.close()
        self._answer(status)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self.open = False
        self._answer(0)

    def close(self) -> None:
        self.open = False
        if self._transport is not None:
            self._transport.close()

    def _answer(self, status: int) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done():
            waiting.set_result(status)


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


async def send(port: int, due: Iterable[float], work: Iterable[float]) -> list[Answer]:
    """Send requests to 127.0.0.1 and wait for all of their answers.

    Parameters
    ----------
    port
        Where the balancer listens.
    due
        Seconds from now at which each leaves, ascending.
    work
        How much each asks for.
    """
    loop = asyncio.get_running_loop()
    begin = loop.time()
    idle: list[_Connection] = []
    answers: list[Answer] = []

    async def one(at: float, amount: float) -> None:
        late = loop.time() - begin - at
        status = 0
        connection = None
        try:
            async with asyncio.timeout(TIMEOUT):
                while idle and connection is None:
                    candidate = idle.pop()
                    connection = candidate if candidate.open else None
                if connection is None:
                    _, connection = await loop.create_connection(_Connection, "127.0.0.1", port)
                status = await connection.ask(f"/{amount:.6f}")
        except (OSError, TimeoutError):
            if connection is not None:
                connection.close()
        answers.append(Answer(at, loop.time() - begin - at, status, late))
        if status and connection is not None and connection.open:
            idle.append(connection)

    async with asyncio.TaskGroup() as group:
        for at, amount in zip(due, work, strict=True):
            wait = begin + at - loop.time()
            if wait > 0.0:
                await asyncio.sleep(wait)
            group.create_task(one(at, amount))
    for connection in idle:
        connection.close()
    return answers
