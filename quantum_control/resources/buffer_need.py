"""How much buffer TCP connections can make use of, from two readings of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from quantum_control.resources.tcp_connections import Connection

COMFORT = 2.0
"""Buffer over what is under way that the kernel itself aims at in both directions
(tcp_sndbuf_expand: twice the congestion window; tcp_rcv_space_adjust: twice what a round trip brings)."""

OVERHEAD = 2.0
"""Bytes of buffer per byte of payload where a connection does not show its own: packets of full size."""

MOST_OVERHEAD = 4.0
"""Cap on what a connection shows: for a moment, with tiny packets, it may be anything."""

FULL = 0.65
"""Share of a send buffer in flight from which on it is the limit: the kernel wakes a writer only once
a third is free again (sk_stream_min_wspace)."""

FORGET = 0.25
"""Part of a permission that is of no use which is taken back per measurement while it fills queues:
what a single odd round trip says is not believed at once."""

QUEUED = 1.5
"""Round trip over the least one from which on the difference is taken for a queue, not for noise."""


@dataclass(frozen=True, slots=True)
class Need:
    """What the connections of one namespace can make use of. Bytes of buffer, the kernel's overhead included.

    The bandwidth-delay product with the *least* round trip: what a connection
    has under way beyond it waits in a queue and makes it no faster (Kleinrock's
    operating point, as in BBR, doi:10.1145/3012426.3022184). A connection that its buffer limits
    has all of it under way, so that COMFORT times that asks for more; one that fills a queue does not.
    """

    send: float = 0.0
    """Largest of any connection."""
    receive: float = 0.0
    send_held: int = 0
    """Largest buffer that any connection has."""
    receive_held: int = 0
    bytes_per_second: float = 0.0
    """Payload of all connections, both ways."""
    limited: float = 0.0
    """Largest share of the time in which a connection waited for its own send buffer. Unit 1."""
    peer_limited: float = 0.0
    """Largest share of the time in which one waited for the window of its peer. Unit 1."""
    queueing: float = 0.0
    """Most seconds over the least round trip, among connections that fill their buffer."""
    bloated: bool = False
    """Some connection fills its buffer, and with it a queue."""
    connections: int = 0

    def figures(self) -> dict[str, float]:
        """Metrics that do not depend on what is steered."""
        return {
            "bytes_per_second": self.bytes_per_second,
            "limited": self.limited,
            "peer_limited": self.peer_limited,
            "queueing_seconds": self.queueing,
            "connections": float(self.connections),
        }


def need(last: Mapping[int, Connection], now: Iterable[Connection], elapsed: float) -> Need:
    """What can be made use of, by what was carried in the `elapsed` seconds since `last` (by cookie)."""
    send = receive = total = limited = peer_limited = queueing = 0.0
    send_held = receive_held = count = 0
    bloated = False
    for one in now:
        count += 1
        send_held = max(send_held, one.send_buffer)
        receive_held = max(receive_held, one.receive_buffer)
        before = last.get(one.cookie)
        if before is None or not one.least_round_trip:
            continue
        sent = (one.sent - before.sent) / elapsed
        received = (one.received - before.received) / elapsed
        total += sent + received
        limited = max(limited, (one.send_limited - before.send_limited) / elapsed)
        peer_limited = max(peer_limited, (one.peer_limited - before.peer_limited) / elapsed)

        out = sent * _overhead(one.send_held, one.send_queued)
        into = received * _overhead(one.receive_buffer, one.window)
        send = max(send, COMFORT * out * one.least_round_trip)
        receive = max(receive, COMFORT * into * one.least_round_trip)

        receive_trip = one.receive_round_trip or one.round_trip
        for carried, trip, buffer in (
            (out, one.round_trip, one.send_buffer),
            (into, receive_trip, one.receive_buffer),
        ):
            if trip > QUEUED * one.least_round_trip and carried * trip > FULL * buffer:
                queueing = max(queueing, trip - one.least_round_trip)
                bloated = True
    return Need(
        send=send,
        receive=receive,
        send_held=send_held,
        receive_held=receive_held,
        bytes_per_second=total,
        limited=min(limited, 1.0),
        peer_limited=min(peer_limited, 1.0),
        queueing=queueing,
        bloated=bloated,
        connections=count,
    )


class Permission:
    """How large a buffer may be, by what connections can make use of.

    At least what was found, or has been of use since: a permission that nobody
    uses costs nothing. It is taken back where it does harm: while a connection
    fills a queue with its buffer, and while TCP holds more memory than `low`
    bytes. What was taken back is forgotten, so that the size does not swing up
    again as soon as the harm is over.
    """

    def __init__(self, found: int, low: int) -> None:
        self._found = self._peak = found
        self.low = low
        self._standing = float(found)
        self._lacking = 0.0

    def update(self, size: float, asked: float, held: float, bloated: bool, used: int) -> float:
        """Demand, as a size.

        Parameters
        ----------
        size
            In force.
        asked
            Size that is of use.
        held
            Largest that any connection has; 0 if there is none.
        bloated
            As in `Need`.
        used
            Bytes that TCP holds.
        """
        self._peak = max(self._peak, round(size))
        if bloated and asked < self._standing:
            self._standing += FORGET * (asked - self._standing)
        self._standing = max(self._standing, asked)
        if used > self.low:
            # By what connections have and not by what they may have, so that memory which only comes
            # free when they end does not make the size sink further at every step.
            self._standing = min(self._standing, min(held or self._found, self._peak) * self.low / used)
        # What is lacking is asked for on top of the next demand, as work that waits would be: the loop
        # takes all demand past the size for a backlog, and what was a backlog before for no new demand.
        demand = self._standing + min(self._lacking, self._standing)
        self._lacking = max(0.0, demand - size)
        return demand


def _overhead(held: int, payload: int) -> float:
    """Bytes of buffer per byte of payload."""
    return min(max(held / payload, 1.0), MOST_OVERHEAD) if held and payload else OVERHEAD
