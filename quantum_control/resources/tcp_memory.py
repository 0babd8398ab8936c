"""The memory of all TCP connections of the machine, against the kernel's limits (tcp_mem)."""

from __future__ import annotations

import os
from pathlib import Path

from quantum_control.core.errors import SensorError

PAGE = os.sysconf("SC_PAGE_SIZE")
"""Bytes of a page, in which the kernel counts."""

LIMITS = Path("/proc/sys/net/ipv4/tcp_mem")
MEMORY = Path("/proc/meminfo")
SOCKSTAT = Path("/proc/thread-self/net/sockstat")

SHARE = 16
"""Without a setting, the kernel presses from this part of the memory on (tcp_init_mem, net/ipv4/tcp.c)."""


def tcp_memory_low(limits: Path = LIMITS, memory: Path = MEMORY) -> int:
    """Bytes up to which the kernel does not save on TCP's memory: the first number of tcp_mem.

    In a network namespace other than the machine's it is not to be seen. Then
    it is what the kernel would set by itself: three quarters of a sixteenth of
    the memory.

    Raises
    ------
    SensorError
        Neither can be read.
    """
    try:
        if limits.exists():
            return int(limits.read_text().split()[0]) * PAGE
        total = next(line for line in memory.read_text().splitlines() if line.startswith("MemTotal:"))
        return int(total.split()[1]) * 1024 // SHARE // 4 * 3
    except (OSError, ValueError, IndexError, StopIteration) as error:
        raise SensorError(f"reading the limits of TCP's memory from {limits} or {memory}: {error}") from error


def tcp_memory_used(sockstat: Path = SOCKSTAT) -> int:
    """Bytes that all TCP connections of the machine hold; the same in every network namespace.

    Raises
    ------
    SensorError
        The file is missing or of an unknown form.
    """
    try:
        words = next(line for line in sockstat.read_text().splitlines() if line.startswith("TCP:")).split()
        return int(words[words.index("mem") + 1]) * PAGE
    except (OSError, ValueError, IndexError, StopIteration) as error:
        raise SensorError(f"reading the memory of TCP from {sockstat}: {error}") from error
