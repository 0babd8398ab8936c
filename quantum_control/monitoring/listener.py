"""Where the pages are asked for: a bounded number of connections, each on a thread of its own."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any

MOST_CONNECTIONS = 100
"""At once; whoever comes then is turned away. Each takes a descriptor and a thread: steering needs both."""

PAUSE_SECONDS = 0.1
"""After a connection that could not be taken: without a descriptor left it would be there again at once."""

LONGEST_WAIT = 30.0
"""Seconds for which a server waits for a connection before it looks whether it is to end: rarely, since
waking up is all that a page costs while nobody asks for it."""


class Listener(ThreadingHTTPServer):
    """Gives each connection a thread, up to a number; TLS shakes hands there, where it delays nobody.

    Parameters
    ----------
    address, port
        Where to listen; port 0 takes any that is free.
    context
        For TLS; None is without.

    Raises
    ------
    OSError
        The address cannot be listened at.
    """

    daemon_threads = True
    block_on_close = False
    timeout = LONGEST_WAIT

    def __init__(self, address: str, port: int, context: ssl.SSLContext | None) -> None:
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._context = context
        self._ending = False
        self._room = threading.BoundedSemaphore(MOST_CONNECTIONS)
        super().__init__((address, port), BaseHTTPRequestHandler)

    def serve(self) -> None:
        """Take connections until the end; `serve_forever` would look for the end ten times a second."""
        while not self._ending:
            self.handle_request()

    def end(self) -> None:
        """Let `serve` return."""
        self._ending = True
        with suppress(OSError):  # without a descriptor left it hears of the end after its longest wait
            socket.create_connection((self.server_name, self.server_port)).close()

    def get_request(self) -> tuple[Any, Any]:
        """Take the next connection; raises OSError if that cannot be done."""
        try:
            connection, peer = super().get_request()
        except OSError:
            time.sleep(PAUSE_SECONDS)
            raise
        if self._context is not None:
            connection = self._context.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        return connection, peer

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer on a thread, if there is room."""
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread is to be had
            self._room.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer until the connection is closed."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def server_bind(self) -> None:
        """Take the address."""
        # http.server's would ask the name service for our own name, which can take seconds.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that go away or do not speak the protocol."""
