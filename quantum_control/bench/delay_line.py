"""Distance in user space: packets of one TUN interface come out of another, later.

For kernels without netem. Run as `python -m quantum_control.bench.delay_line FROM TO SECONDS`
with the two TUN devices as inherited file descriptors.
"""

from __future__ import annotations

import os
import select
import sys
import time
from collections import deque
from fcntl import ioctl
from struct import pack

from quantum_control.core.errors import ConfigError

TUNSETIFF = 0x400454CA
IFF_TUN_NO_PI = 0x0001 | 0x1000
"""Bare IP packets, without a header of the driver's."""

LARGEST = 65_535 + 14
"""Bytes of the largest packet read."""

MOST_WAITING = 200_000
"""Packets under way at most, a bound on memory: 250 MB of full ones."""


def open_tun(name: str) -> int:
    """File descriptor of a new TUN interface in the network namespace of the calling thread.

    Raises
    ------
    ConfigError
        There is no /dev/net/tun, or the privilege is missing.
    """
    try:
        descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigError(f"a delay line needs /dev/net/tun: {error.strerror}") from error
    try:
        ioctl(descriptor, TUNSETIFF, pack("16sH22x", name.encode(), IFF_TUN_NO_PI))
    except OSError as error:
        os.close(descriptor)
        raise ConfigError(f"making the TUN interface {name}: {error.strerror}; it needs root") from error
    return descriptor


def carry(source: int, sink: int, seconds: float) -> None:
    """Hand packets from `source` to `sink`, each `seconds` after it came, until the source is gone."""
    waiting: deque[tuple[float, bytes]] = deque()
    while True:
        pause = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
        if select.select([source], [], [], pause)[0]:
            now = time.monotonic()
            try:
                while packet := os.read(source, LARGEST):
                    if len(waiting) < MOST_WAITING:
                        waiting.append((now + seconds, packet))
            except BlockingIOError:
                pass
            except OSError:
                return  # the interface is gone
        now = time.monotonic()
        while waiting and waiting[0][0] <= now:
            try:
                os.write(sink, waiting.popleft()[1])
            except OSError:
                continue  # full or down: lost, as on a wire


if __name__ == "__main__":
    carry(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
