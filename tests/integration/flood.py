"""Datagrams from the client of a network bed, somewhat faster than its bottleneck drains."""

import socket
import threading
import time

from quantum_control.bench.network_bed import FRAME, SERVER


class Flood:
    """Keeps the queue full while it is open, with `excess` times what the bottleneck carries."""

    def __init__(self, bed, excess=1.3):
        self._bed = bed
        self._excess = excess
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._socket = bed.client.call(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))

    def _work(self):
        owed, last = 0.0, time.monotonic()
        while not self._ending.wait(0.005):
            now = time.monotonic()
            owed += self._excess * self._bed.rate / 8.0 * min(now - last, 0.1)
            last = now
            while owed >= FRAME:
                owed -= FRAME
                self._socket.sendto(b"\0" * 1472, (SERVER, 9))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ending.set()
        self._thread.join()
        self._socket.close()


def wait_until(condition, tries=500, pause=0.01):
    """Whether `condition` becomes true within a bounded number of looks."""
    ending = threading.Event()
    return any(condition() or ending.wait(pause) for _ in range(tries))
