"""The TCP connections of a network namespace, as the kernel counts them (netlink sock_diag).

Read with the standard library, since it is in the path of every step: pyroute2's `DiagSocket` takes
some 200 µs a connection against 15 µs here, and ignores error answers.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from quantum_control.core.errors import SensorError

NETLINK_SOCK_DIAG = 4
SOCK_DIAG_BY_FAMILY = 20
NLM_F_REQUEST_DUMP = 0x301
NLMSG_ERROR = 2
NLMSG_DONE = 3
INET_DIAG_INFO = 2
INET_DIAG_SKMEMINFO = 7
INET_DIAG_CGROUP_ID = 21
"""Of <linux/netlink.h>, <linux/sock_diag.h> and <linux/inet_diag.h>."""

CARRYING = 1 << 1 | 1 << 4 | 1 << 8
"""States in which data flow: established, and each half-closed with the other direction open
(FIN_WAIT1, CLOSE_WAIT)."""

ANSWER = 1 << 16
"""Bytes received at a time; the kernel fills no more than 32 KiB."""

PATIENCE = 5.0
"""Seconds to wait for the kernel's answer; it answers at once, or not at all."""

_HEADER = struct.Struct("=IHHII")
_REQUEST = struct.Struct("=BBBBI48x")
_MESSAGE = 72  # bytes of struct inet_diag_msg; the socket's cookie is at 44
_ATTRIBUTE = struct.Struct("=HH")
_COOKIE = struct.Struct("=Q")
_MEMORY = struct.Struct("=6I")
# struct tcp_info, from tcpi_snd_mss to tcpi_sndbuf_limited.
_INFO = struct.Struct("=16xI4xI36xII20xI24xQQ8xII24xQQ")


@dataclass(frozen=True, slots=True)
class Connection:
    """One connection at one instant. Bytes and seconds; counters run from when it was opened."""

    cookie: int
    """Which connection it is; never given twice while the machine is up."""
    cgroup: int
    """Number of the cgroup v2 that it belongs to (inode of its directory); 0 if the kernel does not say."""
    send_buffer: int
    """What it may hold for sending, the kernel's overhead included."""
    send_held: int
    """What it holds for sending, the kernel's overhead included."""
    send_queued: int
    """Payload of that: not yet sent, or not yet acknowledged."""
    sent: int
    """Payload acknowledged by the peer."""
    receive_buffer: int
    """What it may hold of what was received, the kernel's overhead included."""
    window: int
    """Payload that the peer may send without waiting while the application reads all that comes
    (tcpi_rcv_ssthresh)."""
    received: int
    """Payload received."""
    round_trip: float
    """As a sender sees it now."""
    receive_round_trip: float
    """As a receiver sees it now; 0 if it does not know."""
    least_round_trip: float
    """Least of the last minutes: without queues. 0 if it is not known."""
    send_limited: float
    """Seconds in which it could have sent more but for its own send buffer."""
    peer_limited: float
    """Seconds in which it could have sent more but for the window of its peer."""


def connections() -> list[Connection]:
    """All connections that carry data in the network namespace of the calling thread.

    Raises
    ------
    SensorError
        The kernel was built without inet_diag, or refuses the question.
    """
    found: list[Connection] = []
    try:
        with socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_SOCK_DIAG
        ) as link:
            link.settimeout(PATIENCE)
            for family in (socket.AF_INET, socket.AF_INET6):
                found += _dump(link, family)
    except OSError as error:
        raise SensorError(
            f"asking the kernel for its TCP connections (sock_diag): {error.strerror or error};"
            " the module tcp_diag may have to be loaded"
        ) from error
    return found


def _dump(link: socket.socket, family: int) -> Iterator[Connection]:
    """Connections of one address family."""
    wanted = 1 << (INET_DIAG_INFO - 1) | 1 << (INET_DIAG_SKMEMINFO - 1)
    question = _REQUEST.pack(family, socket.IPPROTO_TCP, wanted, 0, CARRYING)
    header = _HEADER.pack(_HEADER.size + len(question), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST_DUMP, family, 0)
    link.send(header + question)
    while True:
        answer = link.recv(ANSWER)
        at = 0
        while at < len(answer):
            length, kind, _, _, _ = _HEADER.unpack_from(answer, at)
            if kind == NLMSG_DONE:
                return
            if kind == NLMSG_ERROR:
                number = -struct.unpack_from("=i", answer, at + _HEADER.size)[0]
                if number == errno.ENOENT:
                    return  # this address family is not built in
                raise OSError(number, os.strerror(number))
            if kind == SOCK_DIAG_BY_FAMILY and (one := _connection(answer, at, at + length)):
                yield one
            at += (length + 3) & ~3


def _connection(answer: bytes, at: int, end: int) -> Connection | None:
    """Read one message; None if the connection ended while it was being written."""
    (cookie,) = _COOKIE.unpack_from(answer, at + _HEADER.size + 44)
    at += _HEADER.size + _MESSAGE
    memory: tuple[int, ...] = ()
    info = -1
    length = cgroup = 0
    while at + _ATTRIBUTE.size <= end:
        size, kind = _ATTRIBUTE.unpack_from(answer, at)
        if kind == INET_DIAG_SKMEMINFO:
            memory = _MEMORY.unpack_from(answer, at + _ATTRIBUTE.size)
        elif kind == INET_DIAG_INFO:
            info, length = at + _ATTRIBUTE.size, size - _ATTRIBUTE.size
        elif kind == INET_DIAG_CGROUP_ID:
            (cgroup,) = _COOKIE.unpack_from(answer, at + _ATTRIBUTE.size)
        at += (size + 3) & ~3
    if not memory or length < _INFO.size:
        return None
    (mss, unacked, threshold, trip, receive_trip, acked, received, unsent, least, peer, own) = (
        _INFO.unpack_from(answer, info)
    )
    return Connection(
        cookie=cookie,
        cgroup=cgroup,
        send_buffer=memory[3],
        send_held=memory[5],
        send_queued=unsent + unacked * mss,
        sent=acked,
        receive_buffer=memory[1],
        window=threshold,
        received=received,
        round_trip=trip / 1e6,
        receive_round_trip=receive_trip / 1e6,
        # The kernel says "not known yet" with the largest number that there is.
        least_round_trip=least / 1e6 if least < 0xFFFFFFFF else 0.0,
        send_limited=own / 1e6,
        peer_limited=peer / 1e6,
    )
