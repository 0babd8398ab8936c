"""The C heap of a process of our own, filled with holes."""

import ctypes
import subprocess
import sys

import pytest

from quantum_control.core.errors import SensorError
from quantum_control.resources import fragmentation

HOLES = """
import ctypes
from quantum_control.resources.fragmentation import heap, trim
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes, libc.free.argtypes = [ctypes.c_size_t], [ctypes.c_void_p]
blocks = [libc.malloc(32768) for _ in range(2000)]
for block in blocks:
    ctypes.memset(block, 1, 32768)
full = heap()
for block in blocks[:-1]:  # the last one keeps the top of the heap where it is
    libc.free(block)
holes = heap()
brought = trim()
after = heap()
print(full.used - holes.used, holes.free - full.free, brought, full.resident - after.resident)
print(full.fragmentation, holes.fragmentation, trim(worth=1 << 40))
"""


def test_holes_are_measured_and_trimmed():
    told = subprocess.run([sys.executable, "-c", HOLES], capture_output=True, text=True, check=True)  # noqa: S603
    first, second = told.stdout.splitlines()
    freed, free, brought, fallen = map(int, first.split())
    almost = 0.9 * 2000 * 32768
    assert freed > almost
    assert free > almost
    assert brought > almost
    assert fallen > almost
    full, holes, nothing = map(float, second.split())
    assert full < 0.5 < holes
    assert nothing == 0


STEERED = """
import ctypes
from quantum_control import MemoryResource, QuantumController
from quantum_control.resources.fragmentation import EVERY, heap
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes, libc.free.argtypes = [ctypes.c_size_t], [ctypes.c_void_p]
now = 0.0
with MemoryResource(control="cpython", clock=lambda: now) as memory:
    controller = QuantumController(memory, clock=lambda: now)
    controller.optimize()
    blocks = [libc.malloc(32768) for _ in range(2000)]
    for block in blocks:
        ctypes.memset(block, 1, 32768)
    for block in blocks[:-1]:
        libc.free(block)
    full = heap().resident
    now = 1.0
    controller.optimize()
    early = memory.get_metrics()["trimmed_bytes"]
    now = EVERY + 1.0
    controller.optimize()
    print(early, memory.get_metrics()["trimmed_bytes"], full - heap().resident, controller.failures)
    controller.stop()
"""


def test_steering_this_process_gives_back_what_it_does_not_use():
    told = subprocess.run([sys.executable, "-c", STEERED], capture_output=True, text=True, check=True)  # noqa: S603
    early, trimmed, fallen, failures = map(float, told.stdout.split())
    assert early == 0.0
    assert trimmed > 0.9 * 2000 * 32768
    assert fallen > 0.9 * 2000 * 32768
    assert failures == 0


def test_a_trim_that_brings_nothing_makes_the_next_one_rarer(monkeypatch):
    trims = []
    monkeypatch.setattr(fragmentation, "heap", lambda: fragmentation.Heap(100, 50, 50))
    monkeypatch.setattr(fragmentation, "trim", lambda: trims.append(now) or 0)
    trimming = fragmentation.Trimming()
    for now in range(0, 200, 10):
        assert trimming.step(float(now)) == {"heap_unused_ratio": 0.5, "trimmed_bytes": 0.0}
    assert trims == [10, 30, 70, 150]


def test_without_the_library_there_are_no_figures(monkeypatch):
    monkeypatch.setattr(fragmentation, "_library", lambda: object())
    assert fragmentation.Trimming().step(0.0) == {}


def test_what_is_not_worth_it_is_left(monkeypatch):
    monkeypatch.setattr(fragmentation, "heap", lambda: fragmentation.Heap(100, 50, 1))
    assert fragmentation.trim() == 0


def test_another_c_library_is_told(monkeypatch):
    monkeypatch.setattr(fragmentation, "_library", lambda: object())
    with pytest.raises(SensorError, match=r"glibc 2\.33"):
        fragmentation.heap()


def test_an_empty_heap_is_not_fragmented():
    assert fragmentation.Heap(0, 0, 0).fragmentation == 0.0
    assert ctypes.sizeof(fragmentation._Mallinfo2) == 10 * ctypes.sizeof(ctypes.c_size_t)
