"""TCP's memory: its limit and its use, as the kernel tells or works them out."""

import pytest

from quantum_control.core.errors import SensorError
from quantum_control.resources.tcp_memory import PAGE, tcp_memory_low, tcp_memory_used


def test_memory_limits_are_read_or_estimated_as_the_kernel_does(tmp_path):
    limits, memory = tmp_path / "tcp_mem", tmp_path / "meminfo"
    memory.write_text("MemTotal:        16777216 kB\nMemFree: 1 kB\n")
    assert tcp_memory_low(limits, memory) == 16777216 * 1024 // 16 // 4 * 3
    limits.write_text("10\t20\t30\n")
    assert tcp_memory_low(limits, memory) == 10 * PAGE
    limits.write_text("\n")
    with pytest.raises(SensorError, match="limits of TCP's memory"):
        tcp_memory_low(limits, memory)


def test_memory_in_use_is_read(tmp_path):
    sockstat = tmp_path / "sockstat"
    sockstat.write_text("sockets: used 13\nTCP: inuse 1 orphan 0 tw 489 alloc 1 mem 263\n")
    assert tcp_memory_used(sockstat) == 263 * PAGE
    sockstat.write_text("TCP: inuse 1\n")
    with pytest.raises(SensorError, match="memory of TCP"):
        tcp_memory_used(sockstat)
