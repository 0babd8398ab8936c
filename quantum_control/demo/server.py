"""A real HTTP server on loopback, in a process of its own: what the tasks wait for.

`GET /0.035` is answered after 35 ms. It ends when its standard input does, so
that it never outlives the demonstration, however that ends.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from types import TracebackType
from typing import Self, cast

from quantum_control.core.errors import SensorError

BODY = b'{"answer": "done"}'
DONE = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
    len(BODY),
    BODY,
)
REFUSED = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
END_OF_HEAD = b"\r\n\r\n"

LONGEST = 1.0
"""Seconds; who asks for more is refused."""

LARGEST_HEAD = 4096
"""Bytes; likewise."""

MOST_CONNECTIONS = 512
"""Connections at a time; those that come on top are closed."""

PATIENCE = 10.0
"""Seconds for the process to end."""


class Connection(asyncio.Protocol):
    """One client, one request at a time."""

    open = 0

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the client in, if there is room."""
        self._transport = cast(asyncio.Transport, transport)
        Connection.open += 1
        if Connection.open > MOST_CONNECTIONS:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Make room."""
        Connection.open -= 1

    def data_received(self, data: bytes) -> None:
        """Answer a whole request after the time that it asks for."""
        self._received += data
        head, end, self._received = self._received.partition(END_OF_HEAD)
        if not end:
            self._received = head
            if len(head) > LARGEST_HEAD:
                self._refuse()
            return
        try:
            seconds = float(head.split(b" ", 2)[1].lstrip(b"/"))
        except (IndexError, ValueError):
            seconds = -1.0
        if 0.0 <= seconds <= LONGEST:
            asyncio.get_running_loop().call_later(seconds, self._transport.write, DONE)
        else:
            self._refuse()

    def _refuse(self) -> None:
        self._transport.write(REFUSED)
        self._transport.close()


async def serve() -> None:
    """Listen on a free port of loopback, tell it on standard output, and serve until standard input ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", 0, backlog=MOST_CONNECTIONS)
    print(server.sockets[0].getsockname()[1], flush=True)
    ended = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), ended.set)
    await ended.wait()


class LocalServer:
    """The server's process, as a context manager.

    Raises
    ------
    SensorError
        It did not start.
    """

    def __init__(self) -> None:
        # In a process group of its own: Ctrl-C is for the demonstration, which then ends the server.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "quantum_control.demo.server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            process_group=0,
        )
        try:
            self.port = int(cast(bytes, self._process.stdout and self._process.stdout.readline()))
        except ValueError:
            self.close()
            raise SensorError(
                "the demonstration's HTTP server did not start; its message is above. "
                "It needs a free port on 127.0.0.1"
            ) from None
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        try:
            self._process.wait(PATIENCE)
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise
        finally:
            for stream in (self._process.stdin, self._process.stdout):
                if stream is not None:
                    stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


if __name__ == "__main__":
    asyncio.run(serve())
