"""Server programs of this machine and where they listen, from /proc and without privilege."""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")

LISTENS = "0A"
"""State of a TCP socket that takes connections (Linux, include/net/tcp_states.h: TCP_LISTEN)."""

ACCEPTS = 0x10000
"""Flag of a unix socket that takes connections (Linux, include/uapi/linux/net.h: __SO_ACCEPTCON)."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where something listens: a port of an address, or the path of a unix socket."""

    host: str = ""
    port: int = 0
    path: str = ""

    @property
    def local(self) -> str:
        """Address to reach it at from here."""
        return "127.0.0.1" if self.host == "0.0.0.0" else "::1" if self.host == "::" else self.host  # noqa: S104 - read


@dataclass(frozen=True, slots=True)
class Listener:
    """A process of a server program."""

    pid: int
    arguments: tuple[str, ...]
    """Its command line, as far as it may be read."""
    places: tuple[Place, ...]
    """Where it listens."""
    known: bool
    """Whether the places are those of the process itself; else they are those of its user."""

    def option(self, *names: str) -> list[str]:
        """Values of an option of the command line: `-f FILE`, `--config FILE`, `--config=FILE`."""
        found = []
        for index, word in enumerate(self.arguments):
            name, equals, value = word.partition("=")
            if name in names and equals:
                found.append(value)
            elif word in names:
                found.extend(self.arguments[index + 1 : index + 2])
        return found


class UnixSocket(NamedTuple):
    """A unix socket that has a name."""

    accepts: bool
    """Whether it takes connections."""
    state: str
    """As the kernel writes it."""
    inode: int
    """0 of a connection that nobody has accepted yet."""
    name: str


def listeners(program: str, proc: Path = PROC) -> Iterator[Listener]:
    """Processes of a program that listen somewhere, one for each set of places, the oldest first.

    The sockets of other users' processes cannot be seen; there the places are all of that user's.
    """
    sockets, owners = _sockets(proc)
    seen: set[tuple[Place, ...]] = set()
    pids = sorted(int(each.name) for each in proc.iterdir() if each.name.isdecimal())
    for pid in pids:
        home = proc / str(pid)
        try:
            # The kernel cuts a name at 15 bytes, be it in the middle of a letter.
            if home.joinpath("comm").read_text("utf-8", "replace").strip() != program:
                continue
            arguments = home.joinpath("cmdline").read_bytes().decode("utf-8", "replace").split("\0")
            owner = home.stat().st_uid
        except OSError:
            continue  # it has ended, or is hidden
        inodes = _inodes(home)
        if inodes is None:
            places = tuple(place for inode, place in sockets.items() if owners.get(inode) == owner)
        else:
            places = tuple(sockets[inode] for inode in sorted(inodes & sockets.keys()))
        if places and places not in seen:
            seen.add(places)
            words = tuple(word for word in arguments if word)
            yield Listener(pid, words, places, known=inodes is not None)


def _inodes(home: Path) -> set[int] | None:
    """Inodes of the sockets of a process; None if they may not be seen."""
    found = set()
    try:
        for each in home.joinpath("fd").iterdir():
            try:
                target = str(each.readlink())
            except FileNotFoundError:
                continue  # closed meanwhile
            if target.startswith("socket:["):
                found.add(int(target[8:-1]))
    except OSError:
        return None
    return found


def _sockets(proc: Path) -> tuple[Mapping[int, Place], Mapping[int, int]]:
    """Listening sockets of this network namespace by inode, and user ids by inode."""
    places, owners = {}, {}
    for name in ("tcp", "tcp6"):
        for fields in table(proc / "net" / name):
            if len(fields) > 9 and fields[3] == LISTENS:
                address, _, port = fields[1].partition(":")
                inode = int(fields[9])
                places[inode] = Place(host=_address(address), port=int(port, 16))
                owners[inode] = int(fields[7])
    for socket in unix_sockets(proc / "net"):
        # A name that begins with @ is in no file system.
        if socket.accepts and socket.name.startswith("/"):
            places[socket.inode] = Place(path=socket.name)
            try:
                owners[socket.inode] = Path(socket.name).stat().st_uid
            except OSError:
                continue
    return places, owners


def unix_sockets(net: Path) -> Iterator[UnixSocket]:
    """Unix sockets that have a name; `net` is the folder with the kernel's tables."""
    for fields in table(net / "unix", words=8):
        try:
            yield UnixSocket(bool(int(fields[3], 16) & ACCEPTS), fields[5], int(fields[6]), fields[7])
        except (IndexError, ValueError):
            continue  # it has no name, or this is a part of one with a line break in it


def table(path: Path, skip: int = 1, words: int = 0) -> list[list[str]]:
    """Words of each line of a table of the kernel, behind its heading; none if it cannot be read.

    With `words` the last of so many is all that is left of the line, spaces included.
    """
    try:
        text = path.read_bytes().decode("utf-8", "replace")
    except OSError:
        return []
    return [line.split(maxsplit=words - 1) for line in text.split("\n")[skip:] if line]


def _address(text: str) -> str:
    """Address of its hexadecimal words, each in the machine's own order of bytes."""
    words = [int(text[i : i + 8], 16).to_bytes(4, sys.byteorder) for i in range(0, len(text), 8)]
    return str(ipaddress.ip_address(b"".join(words)))
