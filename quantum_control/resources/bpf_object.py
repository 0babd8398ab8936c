"""What an eBPF object file holds: one program, its maps, its license.

A reader for objects of our own, which need no relocation but that of their maps: no BTF, no
CO-RE, no calls between functions. A loading library would bring all of these and its own shared objects.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from quantum_control.core.errors import ConfigError

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_RELOCATION = struct.Struct("<QQ")
_MAP = struct.Struct("<5I")

EM_BPF = 247
R_BPF_64_64 = 1
INSTRUCTION = 8
"""Bytes of an instruction; the load of a map takes two."""

LOAD_64 = 0x18
PSEUDO_MAP_FD = 1
"""Source register that says that a constant is the file descriptor of a map; <linux/bpf.h>."""


@dataclass(frozen=True, slots=True)
class MapDefinition:
    """What a map is made of; bytes."""

    kind: int
    key_size: int
    value_size: int
    entries: int
    flags: int


@dataclass(frozen=True, slots=True)
class BpfObject:
    """One program and its maps, not loaded yet."""

    instructions: bytes
    maps: Mapping[str, MapDefinition]
    uses: tuple[tuple[int, str], ...]
    """Where in the instructions, in bytes, which map is loaded."""
    license: bytes

    def linked(self, descriptors: Mapping[str, int]) -> bytes:
        """Instructions with the file descriptors of the maps put in."""
        linked = bytearray(self.instructions)
        for at, name in self.uses:
            linked[at + 1] = linked[at + 1] & 0x0F | PSEUDO_MAP_FD << 4
            struct.pack_into("<i", linked, at + 4, descriptors[name])
        return bytes(linked)


def read_object(data: bytes, section: str) -> BpfObject:
    """Read the program in `section`, with the maps of the section "maps".

    Raises
    ------
    ConfigError
        It is no eBPF object, has no such section, or needs what is not done here.
    """
    try:
        return _read(data, section)
    except (struct.error, IndexError, ValueError, KeyError) as error:
        raise ConfigError(f"no eBPF object with a program in {section!r}: {error!r}") from error


def _read(data: bytes, section: str) -> BpfObject:
    identity, _, machine, *_, table, _, _, _, _, _, count, names = _HEADER.unpack_from(data)
    if identity[:6] != b"\x7fELF\x02\x01" or machine != EM_BPF:
        raise ConfigError("not an eBPF object for little-endian machines; build it with scripts/build-bpf")
    sections = [_SECTION.unpack_from(data, table + i * _SECTION.size) for i in range(count)]

    def content(index: int) -> bytes:
        start, size = sections[index][4:6]
        return data[start : start + size]

    def text(strings: bytes, at: int) -> str:
        return strings[at : strings.index(b"\0", at)].decode()

    named = {text(content(names), each[0]): i for i, each in enumerate(sections)}
    strings = content(named[".strtab"])
    symbols = list(_SYMBOL.iter_unpack(content(named[".symtab"])))
    maps = {
        text(strings, at): MapDefinition(*_MAP.unpack_from(content(place), value))
        for at, info, _, place, value, _ in symbols
        if place == named["maps"] and info & 0xF == 1  # data: not the section itself
    }
    instructions = content(named[section])
    uses = []
    for at, info in _RELOCATION.iter_unpack(content(named[f".rel{section}"])):
        name = text(strings, symbols[info >> 32][0])
        if info & 0xFFFFFFFF != R_BPF_64_64 or name not in maps or instructions[at] != LOAD_64:
            raise ConfigError(f"instruction {at // INSTRUCTION} refers to {name!r}, which is not a map")
        uses.append((at, name))
    return BpfObject(instructions, maps, tuple(uses), content(named["license"]))
