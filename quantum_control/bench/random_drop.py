"""Packets dropped at random before they are queued: an eBPF program at the exit of an interface."""

from __future__ import annotations

import ctypes
import os
import struct
from contextlib import ExitStack

from quantum_control.core.errors import ConfigError
from quantum_control.resources.bpf_calls import (
    LINK_CREATE,
    MAP_CREATE,
    MAP_LOOKUP,
    MAP_UPDATE,
    PROG_LOAD,
    call,
)

ARRAY, SCHED_CLS, TCX_EGRESS = 2, 3, 47
"""Kinds of a map, of a program and of a place for one, of <linux/bpf.h>."""

CERTAIN = 1 << 24
"""What a probability of 1 is in the program."""

LEAST, MOST = round(0.85 * CERTAIN), round(8.5 * CERTAIN)
"""Sum of the probabilities since the last drop below which none comes, and from which on one does
(RFC 8033, 5.4): no drops on one another's heels, and no long time without."""


class RandomDrop:
    """Drops what leaves an interface with a probability that is set; from here until `close()`.

    The program is gone with the process as well, however that ends. Made, and used, by a thread in
    the interface's network namespace.

    Parameters
    ----------
    index
        Of the interface.

    Raises
    ------
    ConfigError
        The kernel (Linux 6.6 has it first) or the privilege does not allow it.
    """

    def __init__(self, index: int) -> None:
        with ExitStack() as opened:

            def keep(descriptor: int) -> int:
                opened.callback(os.close, descriptor)
                return descriptor

            try:
                self._chance = keep(call(MAP_CREATE, struct.pack("=5I", ARRAY, 4, 8, 1, 0)))
                self._counts = keep(call(MAP_CREATE, struct.pack("=5I", ARRAY, 4, 16, 1, 0)))
                program = keep(_load(_program(self._chance, self._counts)))
                keep(call(LINK_CREATE, struct.pack("=4I48x", program, index, TCX_EGRESS, 0)))
            except OSError as error:
                raise ConfigError(
                    f"dropping packets by eBPF at interface {index}: {error.strerror};"
                    " it needs root and Linux 6.6 or newer"
                ) from error
            self._opened = opened.pop_all()

    def set(self, probability: float) -> None:
        """Drop so many of those that come from now on."""
        _entry(MAP_UPDATE, self._chance, struct.pack("=Q", round(probability * CERTAIN)))

    def dropped(self) -> int:
        """How many were, so far."""
        return int(struct.unpack("=QQ", _entry(MAP_LOOKUP, self._counts, bytes(16)))[1])

    def close(self) -> None:
        """Let everything pass again."""
        self._opened.close()


def _entry(command: int, array: int, value: bytes) -> bytes:
    """Read or write the only entry of an array."""
    key, held = ctypes.c_uint32(0), ctypes.create_string_buffer(value, len(value))
    call(command, struct.pack("=I4xQQQ", array, ctypes.addressof(key), ctypes.addressof(held), 0))
    return held.raw


def _load(instructions: bytes) -> int:
    code, terms = ctypes.create_string_buffer(instructions), ctypes.create_string_buffer(b"Apache-2.0")
    count = len(instructions) // 8
    at, licence = ctypes.addressof(code), ctypes.addressof(terms)
    return call(PROG_LOAD, struct.pack("=IIQQ24x16s", SCHED_CLS, count, at, licence, b"random_drop"))


def _program(chance: int, counts: int) -> bytes:
    """Give the instructions (Linux, Documentation/bpf/instruction-set.rst).

    r6 leads to the chance; r7 to the sum of chances since the last drop, and to the count of drops.
    """

    def one(code: int, to: int = 0, source: int = 0, offset: int = 0, value: int = 0) -> bytes:
        return struct.pack("=BBhi", code, source << 4 | to, offset, value)

    return b"".join(
        [
            one(0x18, 6, 2, 0, chance) + one(0),  # r6 = the entry of that map
            one(0x18, 7, 2, 0, counts) + one(0),
            one(0x79, 1, 6),  # r1 = chance
            one(0x15, 1, 0, 14, 0),  # if it is 0: pass
            one(0x79, 2, 7),
            one(0x0F, 2, 1),
            one(0x7B, 7, 2),  # sum = r2 = sum + r1
            one(0xA5, 2, 0, 10, LEAST),  # if r2 < LEAST: pass
            one(0x35, 2, 0, 4, MOST),  # if r2 >= MOST: drop
            one(0x85, value=7),  # r0 = get_prandom_u32()
            one(0x74, 0, 0, 0, 8),  # of 24 bits
            one(0x79, 1, 6),
            one(0x3D, 0, 1, 5),  # if r0 >= chance: pass
            one(0x7A, 7),  # drop: sum = 0
            one(0xB7, 2, value=1),
            one(0xDB, 7, 2, 8),  # count += 1
            one(0xB7, 0, value=2),  # TC_ACT_SHOT
            one(0x95),
            one(0xB7, 0, value=-1),  # pass: TCX_NEXT
            one(0x95),
        ]
    )
