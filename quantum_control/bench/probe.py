"""How long a packet takes on its way one way: sent and received here, stamped by the kernel on arrival."""

from __future__ import annotations

import socket
import struct
import threading
import time
from contextlib import suppress
from math import inf
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from quantum_control.bench.namespace import Namespace

SO_TIMESTAMPNS = 35
"""Of <asm-generic/socket.h>: ask for the time of arrival with each packet, in nanoseconds."""

PORT = 9009
PERIOD = 0.01
"""Seconds between packets."""

SIZE = 100
"""Bytes of a packet's content; at 100 packets a second that is 1 % of 10 Mbit/s."""


class Probe:
    """Small UDP packets from one namespace to another, one every `period` seconds while it is open.

    Sender and receiver share this machine's clock, so that the delay of one
    direction is measured, and no way back spoils it.
    """

    def __init__(self, source: Namespace, sink: Namespace, address: str, period: float = PERIOD) -> None:
        self._period = period
        self._sender = source.call(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self._receiver = sink.call(_receiver)
        self._receiver.bind((address, PORT))
        self._sender.connect((address, PORT))
        self._sent: list[float] = []  # seconds on the monotonic clock
        self._stamps: list[int] = []  # nanoseconds on the clock of the kernel's stamps
        self._arrived: dict[int, int] = {}
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._work, name="quantum_control(probe)", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self._thread.join()
        self._collect()
        self._sender.close()
        self._receiver.close()

    def delays(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """When each packet left (seconds on the monotonic clock) and its delay (seconds; inf if lost)."""
        count = len(self._stamps)
        delays = [
            (self._arrived[i] - self._stamps[i]) / 1e9 if i in self._arrived else inf for i in range(count)
        ]
        return np.array(self._sent[:count]), np.array(delays)

    def _work(self) -> None:
        due = time.monotonic()
        while not self._ending.wait(max(0.0, due - time.monotonic())):
            due += self._period
            number = len(self._stamps)
            self._sent.append(time.monotonic())
            self._stamps.append(time.time_ns())
            with suppress(OSError):  # refused on its way out: lost like any other
                self._sender.send(struct.pack("!I", number).ljust(SIZE, b"\0"))
            self._collect()

    def _collect(self) -> None:
        """Take in what has arrived, with the kernel's stamps."""
        while True:
            try:
                content, extras, _, _ = self._receiver.recvmsg(SIZE, 128)
            except BlockingIOError:
                return
            for level, kind, data in extras:
                if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
                    seconds, nanoseconds = struct.unpack("qq", data[:16])
                    number = struct.unpack_from("!I", content)[0]
                    self._arrived[number] = seconds * 1_000_000_000 + nanoseconds


def _receiver() -> socket.socket:
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    receiver.setblocking(False)
    return receiver
