"""One queue of one interface: found, read, its limit set and read back."""

from __future__ import annotations

import errno
from struct import pack

from quantum_control.core.errors import ActuatorError, ConfigError, SensorError
from quantum_control.resources.netlink import ROOT, Link, Netlink, Qdisc, handle_name, handle_number
from quantum_control.resources.queue_kinds import (
    KINDS,
    check_replaceable,
    choose,
    codel_asks_for,
    codel_reads_back,
)

HEADER = 14
"""Bytes by which a packet of Ethernet is longer than the MTU, and is counted so in a queue."""

GONE = (errno.ENODEV, errno.ENOENT, errno.EINVAL)
"""What the kernel says of an interface or a queue discipline that is not there any more."""


class QueueSite:
    """A queue whose limit can be set; parameters and errors as of `QueueLimit`."""

    def __init__(self, interface: str, parent: str | None, replace: bool, netns: str | None) -> None:
        self.interface = interface
        self.added = False
        """Whether the queue discipline was put there by this object."""
        self._place = _place(parent)
        self._netlink = Netlink(netns)
        try:
            link = self._link()
            self.frame = link.mtu + HEADER
            """Bytes that a full packet counts as."""
            self.qdisc = self._find(link, replace)
            """As it was found."""
        except BaseException:
            self.close()
            raise
        self._kind = KINDS.get(self.qdisc.kind)  # None for a pfifo_fast: its limit is the interface's
        self.unit = self._kind.unit if self._kind else "packets"

    @property
    def parent(self) -> str:
        """Class that it is the queue of, as `tc` writes it."""
        return "root" if self.qdisc.parent == ROOT else handle_name(self.qdisc.parent)

    def read(self) -> tuple[Qdisc, int]:
        """The queue with its counts, and its limit, as they are now.

        Raises
        ------
        SensorError
            The interface or the queue discipline has gone, or was replaced.
        """
        qdisc = self.qdisc
        try:
            now = self._netlink.qdisc(qdisc.index, qdisc.parent)
        except OSError as error:
            raise SensorError(f"{qdisc} on {self.interface}: {_told(error)}") from error
        if now is None or (now.kind, now.handle) != (qdisc.kind, qdisc.handle):
            raise SensorError(
                f"{qdisc} on {self.interface} is gone, there is {now or 'none'} instead;"
                " it is left alone: make a new resource to steer it"
            )
        return now, self._link().queue_length if self._kind is None else self._kind.limit(now.options)

    def shrunk(self, qdisc: Qdisc, before: int, limit: int) -> int:
        """What to set in place of the limit `before`, on the way to `limit`, so that nothing is lost.

        A pfifo_fast throws away what no longer fits: it shrinks as it drains.
        """
        if self._kind is not None or limit >= before:
            return limit
        return max(limit, min(before, qdisc.backlog_packets))

    def write(self, qdisc: Qdisc, before: int, limit: int) -> int:
        """Set the limit of the queue, just read with the limit `before`; the limit that then is in force.

        Raises
        ------
        ActuatorError
            The kernel refuses, or another limit is read back; then the one before is put back.
        """
        asked = codel_asks_for(limit) if self.unit == "microseconds" else limit
        self._set(qdisc, asked)
        _, taken = self.read()
        if taken != (codel_reads_back(asked) if self.unit == "microseconds" else asked):
            self._set(qdisc, before)
            raise ActuatorError(
                f"{self.interface}: the limit is {taken} after {limit} was set; it is put back to {before}"
            )
        return taken

    def remove(self) -> None:
        """Take the queue discipline away, so that the kernel's default comes back; none is there: done.

        Raises
        ------
        ActuatorError
            The kernel refuses.
        """
        try:
            self._netlink.remove(self.qdisc)
        except OSError as error:
            if error.errno not in GONE:
                raise ActuatorError(f"taking {self.qdisc} off {self.interface}: {_told(error)}") from error

    def close(self) -> None:
        """Close the connection to the kernel and leave all as it is."""
        self._netlink.close()

    def _set(self, qdisc: Qdisc, limit: int) -> None:
        try:
            if self._kind is None:
                self._netlink.set_queue_length(qdisc.index, limit)
            else:
                self._netlink.change(qdisc, self._kind.with_limit(qdisc.options, limit))
        except OSError as error:
            raise ActuatorError(
                f"setting the limit of {qdisc} on {self.interface} to {limit}: {_told(error)}"
            ) from error

    def _link(self) -> Link:
        try:
            return self._netlink.link(self.interface)
        except OSError as error:
            raise SensorError(
                f"interface {self.interface}: {_told(error)}; `ip link` lists those there are"
            ) from error

    def _find(self, link: Link, replace: bool) -> Qdisc:
        """The queue that is steered, put there first if it has to be."""
        try:
            found = self._netlink.qdiscs(link.index)
        except OSError as error:
            raise SensorError(f"queues of {self.interface}: {_told(error)}") from error
        place = self._place
        if not replace or any(
            each.handle and each.kind in KINDS for each in found if place in (None, each.parent)
        ):
            return choose(self.interface, found, place)
        root = ROOT if place is None else place
        here = next((each for each in found if each.parent == root), Qdisc("", link.index, 0, root, b""))
        check_replaceable(self.interface, found, here)
        limit = max(1, link.queue_length) * (link.mtu + HEADER)  # as the kernel's own bfifo is born
        ours = Qdisc("bfifo", link.index, 0, ROOT if place is None else place, pack("=I", limit))
        try:
            self._netlink.add(ours)
            self.added = True
            return self._netlink.qdisc(link.index, ours.parent) or ours
        except OSError as error:
            raise ActuatorError(f"putting a bfifo on {self.interface}: {_told(error)}") from error


def _place(parent: str | None) -> int | None:
    try:
        return None if parent is None else handle_number(parent)
    except ValueError as error:
        raise ConfigError(f'parent={parent!r}: a class such as "1:10", in hexadecimal, or "root"') from error


def _told(error: OSError) -> str:
    """The kernel's words, and what can be done about them."""
    said = error.strerror or str(error)
    if error.errno in (errno.EPERM, errno.EACCES):
        return f"{said}; it needs root (CAP_NET_ADMIN)"
    if error.errno == errno.ENODEV:
        return f"{said}: the interface is not there"
    return said
