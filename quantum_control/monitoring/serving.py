"""Pages over HTTP, made anew for whoever asks; read-only, with TLS and a password where wanted."""

from __future__ import annotations

import base64
import hmac
import logging
import os
import ssl
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from ipaddress import ip_address
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from quantum_control.core.errors import ConfigError
from quantum_control.core.forked import forget_in_child
from quantum_control.core.loopback import is_loopback
from quantum_control.core.secret import Secret
from quantum_control.monitoring.listener import Listener

_log = logging.getLogger("quantum_control")

LOOPBACK = "127.0.0.1"

TEXT = "text/plain; charset=utf-8"

HEADERS = {
    # Only what this server gives, nothing inline; no script may make markup of text.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script';"
        " trusted-types 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}
"""With every answer: what a browser may do with it."""

MISDIRECTED = HTTPStatus.MISDIRECTED_REQUEST

MOST_FIELDS = 20
"""In a query."""

IDLE_SECONDS = 90.0
"""After which a connection that says nothing is closed; Prometheus may scrape once a minute."""

FIRST_SECONDS = 10.0
"""The same for one that has not been let in yet."""


class Answer(NamedTuple):
    """What is sent."""

    body: bytes
    kind: str = TEXT
    """Its media type."""
    status: HTTPStatus = HTTPStatus.OK


Maker = Callable[[Mapping[str, str]], Answer]
"""Makes an answer, given the query."""


class PageServer:
    """Listens at once; answers from `start` on.

    Where it listens on loopback only, it answers to an address or `localhost`, and to no other name:
    a web site that has a name of its own lead here (DNS rebinding) learns nothing.

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
            self._server = Listener(address, port, context)
        except (OSError, OverflowError, UnicodeError) as error:  # no such port, or no name of a host
            raise ConfigError(f"nothing can be served at {address}:{port}: {error}") from error
        shown = f"[{address}]" if ":" in address else address
        scheme = "http" if context is None else "https"
        self.url = f"{scheme}://{shown}:{self._server.server_port}/"
        self._meant = _meant_for(address)
        self._pages: dict[str, Maker] = {}
        self._thread: threading.Thread | None = None
        forget_in_child(self)

    def add(self, path: str, make: Maker) -> None:
        """Answer to `path` with what `make` returns for the query; may be called at any time."""
        self._pages[path] = make

    def start(self) -> None:
        """Answer, on a thread that does not keep the interpreter from ending."""
        may_read, meant, pages = self._may_read, self._meant, self._pages

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = FIRST_SECONDS

            def do_GET(self) -> None:
                path, _, query = self.path.partition("?")
                if not meant(self.headers.get("Host", "")):
                    self._send(Answer(b"ask by address, or as localhost\n", TEXT, MISDIRECTED))
                    return
                if not may_read(self.headers.get("Authorization", "")):
                    self._send(Answer(b"", TEXT, HTTPStatus.UNAUTHORIZED))
                    return
                self.connection.settimeout(IDLE_SECONDS)
                if (make := pages.get(path)) is None:
                    known = ", ".join(path for path in sorted(pages) if "." not in path)
                    self._send(Answer(f"see {known}\n".encode(), TEXT, HTTPStatus.NOT_FOUND))
                else:
                    self._send(_made(make, query))

            def do_HEAD(self) -> None:
                self.do_GET()

            def _send(self, answer: Answer) -> None:
                self.send_response(answer.status)
                if answer.status is HTTPStatus.UNAUTHORIZED:
                    self.send_header("WWW-Authenticate", 'Basic realm="quantum_control"')
                self.send_header("Content-Type", answer.kind)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(answer.body)

            def end_headers(self) -> None:
                for header in HEADERS.items():
                    self.send_header(*header)
                super().end_headers()

            def version_string(self) -> str:
                return "quantum_control"

            def log_message(self, format: str, *args: Any) -> None:
                """Log nothing: that somebody looks is no event."""

        self._server.RequestHandlerClass = Handler
        thread = threading.Thread(target=self._server.serve, name="quantum_control pages", daemon=True)
        thread.start()
        self._thread = thread  # one that could not be started is none to wait for

    def close(self) -> None:
        """Close the port."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._server.end()
            thread.join()
        self._server.server_close()

    def forget(self) -> None:
        """Let go of the port in a forked child, where nobody answers: it is the parent's alone."""
        self._thread = None
        self._server.server_close()


def _made(make: Maker, query: str) -> Answer:
    try:
        fields = dict(parse_qsl(query, max_num_fields=MOST_FIELDS))
    except ValueError:
        return Answer(b"that is no query\n", TEXT, HTTPStatus.BAD_REQUEST)
    try:
        return make(fields)
    except ConfigError as error:
        return Answer(f"{error}\n".encode(), TEXT, HTTPStatus.BAD_REQUEST)
    except Exception:  # noqa: BLE001 - whoever asks is told, and the next may ask again
        _log.exception("a page cannot be made")
        return Answer(b"", TEXT, HTTPStatus.INTERNAL_SERVER_ERROR)


def _meant_for(address: str) -> Callable[[str], bool]:
    """Whether the name by which somebody asks can be ours; any may, where we listen beyond loopback."""
    if not is_loopback(address):
        return lambda _: True

    def meant(host: str) -> bool:
        name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
        return name.casefold() == "localhost" or _is_address(name)

    return meant


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


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
