"""The control socket: one JSON object a line asks, one answers."""

from __future__ import annotations

import json
import os
import socket
import socketserver
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Thread
from typing import Any

from quantum_control.core.errors import ConfigError, LifecycleError, QuantumControlError
from quantum_control.terminal import plain

NAME = "control.sock"

LONGEST = 65_536
"""Bytes of a question."""

CLIENT_SECONDS = 5.0
"""For which a client may stay silent."""

ANSWER_SECONDS = 10.0
"""For which a client waits."""

Answerer = Callable[[Mapping[str, Any]], object]


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    block_on_close = False
    answer: Answerer

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a client that goes away in the middle is its own business."""


class _Handler(socketserver.StreamRequestHandler):
    timeout = CLIENT_SECONDS
    server: _Server

    def handle(self) -> None:
        while line := self.rfile.readline(LONGEST + 1):
            self.wfile.write(json.dumps(plain(self._answered(line))).encode() + b"\n")
            if len(line) > LONGEST:
                return

    def _answered(self, line: bytes) -> dict[str, object]:
        if len(line) > LONGEST:
            return {"ok": False, "error": f"more than {LONGEST} bytes in a line"}
        try:
            question = json.loads(line)
        except (ValueError, RecursionError):
            return {"ok": False, "error": "not JSON"}
        if not isinstance(question, dict):
            return {"ok": False, "error": "not a JSON object"}
        try:
            return {"ok": True, "result": self.server.answer(question)}
        except QuantumControlError as error:
            return {"ok": False, "error": str(error)}
        except Exception as error:  # noqa: BLE001 - whatever was asked, the daemon goes on
            return {"ok": False, "error": f"{type(error).__name__}: {error}"}


class ControlSocket:
    """Answers on a unix socket; who may write to it is a matter of its permissions.

    Parameters
    ----------
    folder
        Where it is made.
    mode
        Permissions of the file.
    answer
        Given a question, returns the answer (JSON, in which what is no number becomes null) or raises.

    Raises
    ------
    ConfigError
        Another daemon answers there already, or it cannot be made.
    """

    def __init__(self, folder: Path, mode: int, answer: Answerer) -> None:
        self.path = folder / NAME
        if self.path.exists():
            self._take_over()
        umask = os.umask(0o177)  # nobody else from the first moment
        try:
            self._server = _Server(str(self.path), _Handler)
            self.path.chmod(mode)
        except OSError as error:
            raise ConfigError(f"control socket {str(self.path)!r} cannot be made: {error}") from error
        finally:
            os.umask(umask)
        self._server.answer = answer
        Thread(
            target=self._server.serve_forever, args=(0.5,), name="quantum_control socket", daemon=True
        ).start()

    def close(self) -> None:
        """Answer no more, and remove the file."""
        self._server.shutdown()
        self._server.server_close()
        self.path.unlink(missing_ok=True)

    def _take_over(self) -> None:
        with socket.socket(socket.AF_UNIX) as end:
            end.settimeout(1.0)
            try:
                end.connect(str(self.path))
            except ConnectionRefusedError:
                self.path.unlink(missing_ok=True)  # left over
                return
            except OSError as error:
                raise ConfigError(f"control socket {str(self.path)!r}: {error}") from error
        raise ConfigError(
            f"another daemon answers on {str(self.path)!r}; stop it, or give another runtime_directory"
        )


def ask(path: Path, **question: object) -> Any:
    """Ask a daemon.

    Raises
    ------
    LifecycleError
        No daemon answers there.
    ConfigError
        It refuses.
    """
    try:
        with socket.socket(socket.AF_UNIX) as end:
            end.settimeout(ANSWER_SECONDS)
            end.connect(str(path))
            end.sendall(json.dumps(question).encode() + b"\n")
            with end.makefile("rb") as file:
                answer = json.loads(file.readline())
    except (OSError, ValueError) as error:
        raise LifecycleError(
            f"no daemon answers on {str(path)!r}: {error}. Is the daemon running, and may you write there?"
        ) from error
    if not answer.get("ok"):
        raise ConfigError(str(answer.get("error", "refused")))
    return answer["result"]
