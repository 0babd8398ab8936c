"""One page over HTTP, made anew for whoever asks; with TLS and a password where wanted."""

from __future__ import annotations

import base64
import hmac
import logging
import os
import socket
import ssl
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any

from quantum_control.core.errors import ConfigError
from quantum_control.core.secret import Secret

_log = logging.getLogger("quantum_control")

LOOPBACK = "127.0.0.1"

PATH = "/metrics"

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

IDLE_SECONDS = 90.0
"""After which a connection that says nothing is closed; Prometheus may scrape once a minute."""


class MetricsServer:
    """Listens at once; answers from `serve` on.

    Parameters
    ----------
    address, port
        Where to listen; port 0 takes any that is free.
    certificate, key
        Files in PEM, for TLS; both or neither.
    user, password
        Who may read, both or neither; the password is read anew for each request.

    Raises
    ------
    ConfigError
        The address cannot be listened at, or the files cannot be used.
    """

    def __init__(
        self,
        address: str,
        port: int,
        *,
        certificate: str | os.PathLike[str] | None = None,
        key: str | os.PathLike[str] | None = None,
        user: str | None = None,
        password: Secret | None = None,
    ) -> None:
        if (certificate is None) != (key is None):
            raise ConfigError("TLS needs both certificate and key")
        context = None
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            try:
                context.load_cert_chain(certificate, key)
            except OSError as error:
                raise ConfigError(
                    f"certificate {os.fspath(certificate)!r} cannot be used: {error}"
                ) from error
        if password is not None:
            password.read()  # what is missing is told now
        self._may_read = _permission(user, password)
        try:
            self._server = _Server(address, port, context)
        except OSError as error:
            raise ConfigError(f"nothing can be served at {address}:{port}: {error}") from error
        shown = f"[{address}]" if ":" in address else address
        scheme = "http" if context is None else "https"
        self.url = f"{scheme}://{shown}:{self._server.server_port}{PATH}"
        self._thread: threading.Thread | None = None

    def serve(self, page: Callable[[], bytes]) -> None:
        """Answer with what `page` returns, on a thread that does not keep the interpreter from ending."""
        may_read = self._may_read

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = IDLE_SECONDS

            def do_GET(self) -> None:
                if not may_read(self.headers.get("Authorization", "")):
                    self._answer(HTTPStatus.UNAUTHORIZED, b"")
                elif self.path.partition("?")[0] != PATH:
                    self._answer(HTTPStatus.NOT_FOUND, f"see {PATH}\n".encode())
                else:
                    self._answer(*_made(page))

            def _answer(self, status: HTTPStatus, body: bytes) -> None:
                self.send_response(status)
                if status is HTTPStatus.UNAUTHORIZED:
                    self.send_header("WWW-Authenticate", 'Basic realm="quantum_control"')
                self.send_header("Content-Type", CONTENT_TYPE)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def version_string(self) -> str:
                return "quantum_control"

            def log_message(self, format: str, *args: Any) -> None:
                """Log nothing: a scrape is no event."""

        self._server.RequestHandlerClass = Handler
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="quantum_control exporter", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Close the port."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._server.shutdown()
            thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    """Shakes hands for TLS on the thread of the connection, so that a slow one keeps nobody waiting."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, address: str, port: int, context: ssl.SSLContext | None) -> None:
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._context = context
        super().__init__((address, port), BaseHTTPRequestHandler)

    def get_request(self) -> tuple[Any, Any]:
        connection, peer = super().get_request()
        if self._context is not None:
            connection = self._context.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        return connection, peer

    def server_bind(self) -> None:
        # http.server's would ask the name service for our own name, which can take seconds.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that go away or do not speak the protocol."""


def _made(page: Callable[[], bytes]) -> tuple[HTTPStatus, bytes]:
    try:
        return HTTPStatus.OK, page()
    except Exception:  # noqa: BLE001 - whoever asks is told, and the next may ask again
        _log.exception("the page of metrics cannot be made")
        return HTTPStatus.INTERNAL_SERVER_ERROR, b""


def _permission(user: str | None, password: Secret | None) -> Callable[[str], bool]:
    if user is None or password is None:
        return lambda _: True

    def may_read(authorization: str) -> bool:
        try:
            wanted = base64.b64encode(f"{user}:{password.read()}".encode())
        except ConfigError:
            return False  # the file has gone since: nobody may
        kind, _, given = authorization.partition(" ")
        same = hmac.compare_digest(given.strip().encode("utf-8", "replace"), wanted)
        return same and kind.casefold() == "basic"

    return may_read
