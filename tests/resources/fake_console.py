"""An admin console of our own making, which can answer as no real one would."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable


def message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


def table(columns: list[str], rows: list[list[str]]) -> bytes:
    """A whole answer: description, rows, completion, ready."""
    names = b"".join(name.encode() + b"\0" + struct.pack("!IhIhih", 0, 0, 25, -1, -1, 0) for name in columns)
    answer = message(b"T", struct.pack("!h", len(columns)) + names)
    for row in rows:
        cells = b"".join(struct.pack("!I", len(cell)) + cell.encode() for cell in row)
        answer += message(b"D", struct.pack("!h", len(row)) + cells)
    return answer + message(b"C", b"SHOW\0") + message(b"Z", b"I")


class FakeConsole:
    """Answers each statement with the bytes that `answer` makes of it."""

    def __init__(self, answer: Callable[[str], bytes]) -> None:
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def dsn(self) -> str:
        return (
            f"host=127.0.0.1 port={self.port} user=admin dbname=pgbouncer sslmode=disable gssencmode=disable"
        )

    def close(self) -> None:
        for connection in (self._listener, *self._open):
            connection.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        stream = connection.makefile("rb")
        try:
            (length,) = struct.unpack("!I", stream.read(4))
            stream.read(length - 4)
            hello = message(b"R", struct.pack("!I", 0))
            for name, value in (("server_version", "1.0/bouncer"), ("client_encoding", "UTF8")):
                hello += message(b"S", f"{name}\0{value}\0".encode())
            connection.sendall(hello + message(b"Z", b"I"))
            while stream.read(1) == b"Q":
                (length,) = struct.unpack("!I", stream.read(4))
                statement = stream.read(length - 4).rstrip(b"\0").decode()
                connection.sendall(self._answer(statement))
        except (OSError, struct.error):
            return
