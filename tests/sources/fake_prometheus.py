"""A server of our own making that answers as a Prometheus in trouble would."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs


def vector(*series: tuple[dict[str, str], object], now: float = 1000.0, **more: object) -> bytes:
    """A successful answer of labels and values."""
    result = [{"metric": labels, "value": [now, str(value)]} for labels, value in series]
    content = {"status": "success", "data": {"resultType": "vector", "result": result}, **more}
    return json.dumps(content).encode()


class _Quiet(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that have gone: that is what is tested."""


class FakePrometheus:
    """Answers each query with what `answer(query)` gives: a status and a body, or None to hang up."""

    def __init__(self, answer: Callable[[str], tuple[int, bytes] | None]) -> None:
        self.asked: list[tuple[dict[str, str], str]] = []
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                query = parse_qs(body)["query"][0]
                fake.asked.append((dict(self.headers), query))
                told = answer(query)
                if told is None:
                    self.close_connection = True
                    return
                self.send_response(told[0])
                self.send_header("Content-Length", str(len(told[1])))
                self.end_headers()
                self.wfile.write(told[1])

            def log_message(self, *args: object) -> None:
                pass

        self._server = _Quiet(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"prometheus://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
