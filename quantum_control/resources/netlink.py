"""Queue disciplines and links by rtnetlink, as far as they are steered here.

Of the standard library alone. pyroute2 cannot set a bfifo, and rewrites what it
does not mean to change in a tbf; here the kernel gets back the very bytes that
it gave, with the limit exchanged. Reference: rtnetlink(7), <linux/rtnetlink.h>,
<linux/pkt_sched.h>.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
import weakref
from collections.abc import Iterator
from dataclasses import dataclass

from quantum_control.resources.netns import OWN, inside, netns_identity, netns_path

RTM_NEWLINK, RTM_GETLINK = 16, 18
RTM_NEWQDISC, RTM_DELQDISC, RTM_GETQDISC = 36, 37, 38
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_ACK, NLM_F_ECHO, NLM_F_DUMP = 0x1, 0x4, 0x8, 0x300
NLM_F_EXCL, NLM_F_CREATE = 0x200, 0x400
SOL_NETLINK, NETLINK_CAP_ACK, NETLINK_EXT_ACK = 270, 10, 11
TCA_KIND, TCA_OPTIONS, TCA_STATS2, TCA_DUMP_INVISIBLE = 1, 2, 7, 10
STATS_BASIC, STATS_QUEUE = 1, 3
IFLA_IFNAME, IFLA_MTU, IFLA_TXQLEN = 3, 4, 13
ROOT = 0xFFFFFFFF
"""Parent of the queue discipline at the top of an interface."""

NESTED = 0x3FFF
"""Mask of an attribute's type, without the flags that say how it is encoded."""

REPLY_SECONDS = 2.0
"""Longest wait for the kernel; it answers in microseconds."""

_HEADER = struct.Struct("=IHHII")
_TC = struct.Struct("=BxHiIII")
_LINK = struct.Struct("=BxHiII")


@dataclass(frozen=True, slots=True)
class Link:
    """An interface."""

    index: int
    name: str
    mtu: int
    """Bytes of the largest packet, without the header of the link."""
    queue_length: int
    """Packets, `txqueuelen`: what a pfifo_fast holds, and what limits are born with."""


@dataclass(frozen=True, slots=True)
class Qdisc:
    """A queue discipline, with what it has counted."""

    kind: str
    index: int
    """Of the interface."""
    handle: int
    """0 for one that the kernel has put there by itself."""
    parent: int
    """Class that it is the queue of; `ROOT` at the top."""
    options: bytes
    """As the kernel keeps them."""
    sent_bytes: int = 0
    """Bytes that have left."""
    sent_packets: int = 0
    drops: int = 0
    """Packets refused or thrown away; wraps at 2**32."""
    backlog_bytes: int = 0
    """Bytes that wait now."""
    backlog_packets: int = 0

    def __str__(self) -> str:
        at = "root" if self.parent == ROOT else f"parent {handle_name(self.parent)}"
        return f"{self.kind} {handle_name(self.handle)} {at}"


def handle_name(handle: int) -> str:
    """Write a handle or class as `tc` does: `1:10`, in hexadecimal."""
    return f"{handle >> 16:x}:{handle & 0xFFFF:x}" if handle & 0xFFFF else f"{handle >> 16:x}:"


def handle_number(name: str) -> int:
    """Number of a handle or class as `tc` writes it; `root` too.

    Raises
    ------
    ValueError
        It is none.
    """
    if name == "root":
        return ROOT
    major, colon, minor = name.partition(":")
    high, low = int(major, 16), int(minor or "0", 16)
    if not colon or not 0 <= high <= 0xFFFF or not 0 <= low <= 0xFFFF:
        raise ValueError(name)
    return high << 16 | low


def attribute(kind: int, value: bytes) -> bytes:
    """Encode an attribute, padded to 4 bytes."""
    return struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def attributes(data: bytes, start: int = 0) -> Iterator[tuple[int, int, int]]:
    """Type, begin and end of the value of each attribute in `data`; what is cut off is left out."""
    while start + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, start)
        if length < 4 or start + length > len(data):
            return
        yield kind & NESTED, start + 4, start + length
        start += length + (-length % 4)


def qdisc_of(message: bytes) -> Qdisc:
    """Decode the body of an RTM_NEWQDISC."""
    _, _, index, handle, parent, _ = _TC.unpack_from(message)
    found = {kind: message[begin:end] for kind, begin, end in attributes(message, _TC.size)}
    stats = found.get(TCA_STATS2, b"")
    counted = {kind: stats[begin:end] for kind, begin, end in attributes(stats)}
    sent = struct.unpack_from("=QI", counted.get(STATS_BASIC, b"").ljust(12, b"\0"))
    queue = struct.unpack_from("=III", counted.get(STATS_QUEUE, b"").ljust(12, b"\0"))
    return Qdisc(
        kind=found.get(TCA_KIND, b"").rstrip(b"\0").decode(errors="replace"),
        index=index,
        handle=handle,
        parent=parent,
        options=found.get(TCA_OPTIONS, b""),
        sent_bytes=sent[0],
        sent_packets=sent[1],
        backlog_packets=queue[0],
        backlog_bytes=queue[1],
        drops=queue[2],
    )


def link_of(message: bytes) -> Link:
    """Decode the body of an RTM_NEWLINK."""
    index = _LINK.unpack_from(message)[2]
    found = {kind: message[begin:end] for kind, begin, end in attributes(message, _LINK.size)}
    mtu, length = (
        struct.unpack("=I", found.get(kind, b"")[:4].ljust(4, b"\0"))[0] for kind in (IFLA_MTU, IFLA_TXQLEN)
    )
    return Link(index, found.get(IFLA_IFNAME, b"").rstrip(b"\0").decode(errors="replace"), mtu, length)


class Netlink:
    """A connection to the kernel's routing part of one network namespace; closed when collected.

    All questions raise `OSError` with the kernel's number and words.

    Parameters
    ----------
    netns
        Name or path of the namespace; None is the caller's.

    Raises
    ------
    GoneError, SensorError
        There is no such namespace, or it may not be entered.
    """

    def __init__(self, netns: str | None = None) -> None:
        self._netns = netns
        # The second is for whoever compares namespaces, as of `netns_identity`.
        self._socket, self.namespace, self._inode = inside(
            netns, lambda: (_open(), netns_identity(), OWN.stat().st_ino)
        )
        self._lost = False
        # Whoever forgets close() is not warned of it: nothing is lost.
        self._closing = weakref.finalize(self, self._socket.close)
        self._sequence = 0
        self._turn = threading.Lock()  # a question and its answer belong together

    def close(self) -> None:
        """Close the connection."""
        self._closing()

    def lost(self) -> bool:
        """Whether the namespace is no longer where it was found; the connection is closed then.

        Open, it would keep a namespace that has been deleted from ending, with all its
        interfaces, and they would answer as if nothing had happened.
        """
        if self._closing.alive and self._netns is not None:
            try:  # no other can have its inode number while the connection holds it
                self._lost = netns_path(self._netns).stat().st_ino != self._inode
            except FileNotFoundError:
                self._lost = True
            except OSError:
                return False  # it may not be looked at any more
            if self._lost:
                self.close()
        return self._lost

    def links(self) -> list[Link]:
        """All interfaces."""
        return [link_of(each) for each in self._ask(RTM_GETLINK, NLM_F_DUMP, _LINK.pack(0, 0, 0, 0, 0))]

    def link(self, name: str) -> Link:
        """The interface of that name, as it is now."""
        asked = _LINK.pack(0, 0, 0, 0, 0) + attribute(IFLA_IFNAME, name.encode() + b"\0")
        return link_of(self._ask(RTM_GETLINK, NLM_F_ACK, asked)[0])

    def set_queue_length(self, index: int, packets: int) -> None:
        """Set the `txqueuelen` of an interface, packets."""
        length = attribute(IFLA_TXQLEN, struct.pack("=I", packets))
        self._ask(RTM_NEWLINK, NLM_F_ACK, _LINK.pack(0, 0, index, 0, 0) + length)

    def qdiscs(self, index: int | None = None, *, hidden: bool = False) -> list[Qdisc]:
        """Queue disciplines, of one interface if its index is given.

        `hidden`: those too that `tc` leaves out, which the kernel gives the classes of an htb by itself.
        """
        asked = _TC.pack(0, 0, 0, 0, 0, 0) + (attribute(TCA_DUMP_INVISIBLE, b"") if hidden else b"")
        found = [qdisc_of(each) for each in self._ask(RTM_GETQDISC, NLM_F_DUMP, asked)]
        return [each for each in found if index in (None, each.index)]

    def qdisc(self, index: int, parent: int) -> Qdisc | None:
        """The queue discipline at one place, as it is now; None if the kernel shows none there."""
        found = self._ask(RTM_GETQDISC, NLM_F_ACK | NLM_F_ECHO, _TC.pack(0, 0, index, 0, parent, 0))
        return qdisc_of(found[0]) if found else None

    def change(self, qdisc: Qdisc, options: bytes) -> None:
        """Give a queue discipline other options; what it holds stays."""
        self._ask(RTM_NEWQDISC, NLM_F_ACK, _described(qdisc, options))

    def add(self, qdisc: Qdisc) -> None:
        """Put a queue discipline in place of the kernel's own default; what that one holds is lost."""
        self._ask(RTM_NEWQDISC, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, _described(qdisc, qdisc.options))

    def remove(self, qdisc: Qdisc) -> None:
        """Take a queue discipline away; the kernel puts its default there again."""
        self._ask(RTM_DELQDISC, NLM_F_ACK, _TC.pack(0, 0, qdisc.index, qdisc.handle, qdisc.parent, 0))

    def _ask(self, kind: int, flags: int, body: bytes) -> list[bytes]:
        """Send a request; the bodies of what comes back, up to the acknowledgement."""
        with self._turn:
            self._sequence = sequence = self._sequence + 1
            self._socket.send(
                _HEADER.pack(_HEADER.size + len(body), kind, flags | NLM_F_REQUEST, sequence, 0) + body
            )
            answers: list[bytes] = []
            while True:
                data = self._socket.recv(1 << 17)
                start = 0
                while start + _HEADER.size <= len(data):
                    length, kind, _, number, _ = _HEADER.unpack_from(data, start)
                    content = data[start + _HEADER.size : start + length]
                    start += max(length, _HEADER.size) + (-length % 4)
                    if number != sequence:
                        continue  # the rest of an answer that came too late
                    if kind in (NLMSG_ERROR, NLMSG_DONE):
                        _check(content)
                        return answers
                    answers.append(content)


def _open() -> socket.socket:
    opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
    opened.bind((0, 0))
    opened.settimeout(REPLY_SECONDS)
    opened.setsockopt(SOL_NETLINK, NETLINK_CAP_ACK, 1)
    opened.setsockopt(SOL_NETLINK, NETLINK_EXT_ACK, 1)
    return opened


def _check(content: bytes) -> None:
    """Raise what the kernel has refused, in its own words where it has any."""
    number = -int(struct.unpack_from("=i", content)[0]) if len(content) >= 4 else 0
    if number:
        words = [
            content[begin:end] for kind, begin, end in attributes(content, 4 + _HEADER.size) if kind == 1
        ]
        told = words[0].rstrip(b"\0").decode(errors="replace") if words else os.strerror(number)
        raise OSError(number, told)


def _described(qdisc: Qdisc, options: bytes) -> bytes:
    place = _TC.pack(0, 0, qdisc.index, qdisc.handle, qdisc.parent, 0)
    return place + attribute(TCA_KIND, qdisc.kind.encode() + b"\0") + attribute(TCA_OPTIONS, options)
