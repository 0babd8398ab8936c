"""Real HTTP servers of unequal and changing speed, all in one process, to stand behind a balancer.

Each works on one request at a time, in the order of arrival, for work/speed
seconds; the work comes with the request (`GET /1.37`), so that every arm of a
comparison gets the same. Working is waiting for a timer: the machine stays free
for the balancer.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from types import TracebackType
from typing import Self, cast

from quantum_control.core.errors import ActuatorError

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
FAILED = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\nno"

END_OF_HEAD = b"\r\n\r\n"

PATIENCE = 10.0
"""Seconds for the process to start, to answer, and to end."""


class Server:
    """One server: a queue, a speed and a mood."""

    def __init__(self, speed: float) -> None:
        self.speed = speed  # requests per second, for work of mean 1
        self.mode = "well"  # or "stalled": nothing is answered; or "failing": everything with a 503
        self._free_at = 0.0
        self._held: list[Connection] = []

    def serve(self, connection: Connection, work: float) -> None:
        """Answer when it is done, or never, or badly."""
        if self.mode == "stalled":
            self._held.append(connection)
        elif self.mode == "failing":
            connection.answer(FAILED)
        else:
            loop = asyncio.get_running_loop()
            self._free_at = max(self._free_at, loop.time()) + work / self.speed
            loop.call_at(self._free_at, self._done, connection)

    def become(self, speed: float, mode: str) -> None:
        """Change; what a stalled server held is answered once it is well."""
        self.speed, self.mode = speed, mode
        if mode != "stalled":
            held, self._held = self._held, []
            for connection in held:
                connection.answer(OK)

    def _done(self, connection: Connection) -> None:
        if self.mode == "stalled":
            self._held.append(connection)
        else:
            connection.answer(OK)


class Connection(asyncio.Protocol):
    """One client's connection, without pipelining."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to answer."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Serve a request once its head is complete; there is no body."""
        self._received += data
        if self._received.endswith(END_OF_HEAD):
            target = self._received.split(b" ", 2)[1]
            self._received = b""
            work = target[1:]
            self._server.serve(self, float(work) if work else 1.0)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Forget where to answer."""
        self._transport = None

    def answer(self, response: bytes) -> None:
        """Answer, if the client still waits."""
        if self._transport is not None:
            self._transport.write(response)


async def _serve(speeds: Sequence[float]) -> None:
    loop = asyncio.get_running_loop()
    servers = [Server(speed) for speed in speeds]
    ports = []
    for server in servers:
        # The default backlog of 100 would turn connections away while a server is stalled.
        listener = await loop.create_server(partial(Connection, server), "127.0.0.1", 0, backlog=1024)
        ports.append(listener.sockets[0].getsockname()[1])
    # The parent reads it.
    print(json.dumps(ports), flush=True)
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    # One order a line; the end of the input, also by the parent's death, ends the process.
    while line := await reader.readline():
        order = json.loads(line)
        servers[order["server"]].become(order["speed"], order["mode"])


class UnequalServers:
    """The process with the servers, as seen from its parent; a context manager.

    Parameters
    ----------
    speeds
        Requests per second that each server can answer, for work of mean 1.
    """

    def __init__(self, speeds: Sequence[float]) -> None:
        self.speeds = list(speeds)
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", __name__, json.dumps(self.speeds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            process_group=0,  # Ctrl-C is for who started it, which ends it in order
        )
        line = self._process.stdout.readline() if self._process.stdout is not None else b""
        if not line:
            self.close()
            raise ActuatorError(
                "the process with the HTTP servers ended before it listened; run it by hand:"
                f" {sys.executable} -m {__name__} '{json.dumps(self.speeds)}'"
            )
        self.addresses = [f"127.0.0.1:{port}" for port in json.loads(line)]
        """Where each listens, "host:port"."""

    def become(self, server: int, *, speed: float | None = None, mode: str = "well") -> None:
        """Change one server; its speed stays unless it is given."""
        if speed is not None:
            self.speeds[server] = speed
        order = {"server": server, "speed": self.speeds[server], "mode": mode}
        if self._process.stdin is None:
            raise ActuatorError("the process with the HTTP servers takes no orders")
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()

    def close(self) -> None:
        """End the process."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        if self._process.stdout is not None:
            self._process.stdout.close()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


if __name__ == "__main__":
    asyncio.run(_serve(json.loads(sys.argv[1])))
