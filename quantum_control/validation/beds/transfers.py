"""TCP connections that keep a line busy for a moment: opened anew, and cut off when it is over."""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from struct import pack
from types import TracebackType
from typing import Self

from quantum_control.bench.namespace import Namespace
from quantum_control.core.errors import SensorError

PORT = 9010

CHUNK = bytes(1 << 16)

RESET = pack("ii", 1, 0)
"""SO_LINGER of a connection that is cut off: what it has not sent yet is thrown away."""


class Sink:
    """Takes connections in a namespace, and what they bring."""

    def __init__(self, namespace: Namespace, address: str) -> None:
        self.address = address
        self.listener = namespace.call(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        self.listener.bind((address, PORT))
        self.listener.listen()
        self.listener.setblocking(False)

    def forget(self) -> None:
        """Turn away who has come too late to be taken."""
        with suppress(BlockingIOError):
            while True:
                self.listener.accept()[0].close()

    def close(self) -> None:
        """Take no more."""
        self.listener.close()


class Transfers:
    """TCP connections (CUBIC) that send all they can, as a context manager.

    Parameters
    ----------
    source
        Namespace that they come from.
    sink
        Where they go to.
    begins
        Seconds from `__enter__` at which each is opened.
    """

    def __init__(self, source: Namespace, sink: Sink, begins: Sequence[float]) -> None:
        self._source = source
        self._sink = sink
        self._begins = sorted(begins)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name="transfers", daemon=True)
        self._failure: OSError | None = None

    def __enter__(self) -> Self:
        self._sink.forget()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        if self._failure is not None and error is None:
            raise SensorError(f"the TCP connections of the load failed: {self._failure}") from self._failure

    def _work(self) -> None:
        began = time.monotonic()
        senders: list[socket.socket] = []
        receivers: list[socket.socket] = []
        due = list(self._begins)
        with selectors.DefaultSelector() as waiting:
            waiting.register(self._sink.listener, selectors.EVENT_READ)
            try:
                while not self._over.is_set():
                    while due and time.monotonic() - began >= due[0]:
                        del due[0]
                        senders.append(self._open())
                        waiting.register(senders[-1], selectors.EVENT_WRITE)
                    for key, _ in waiting.select(0.01):
                        one = key.fileobj
                        assert isinstance(one, socket.socket)  # noqa: S101 - for the type checker
                        if one is self._sink.listener:
                            taken, _ = one.accept()
                            taken.setblocking(False)
                            receivers.append(taken)
                            waiting.register(taken, selectors.EVENT_READ)
                        elif key.events == selectors.EVENT_WRITE:
                            one.send(CHUNK)
                        else:
                            # TCP throws away what is asked for so, without copying it.
                            one.recv(len(CHUNK), socket.MSG_TRUNC)
            except OSError as error:
                self._failure = error
            finally:
                for each in senders + receivers:
                    each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                    each.close()

    def _open(self) -> socket.socket:
        one = self._source.call(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        one.setblocking(False)
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")
        with suppress(BlockingIOError):
            one.connect((self._sink.address, PORT))
        return one
