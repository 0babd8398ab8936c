"""One queue of one interface: found, read, its limit set and read back."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import replace
from struct import pack
from zlib import crc32

from quantum_control.core.errors import ActuatorError, ConfigError, GoneError, SensorError
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

GONE = (errno.ENODEV, errno.ENOENT)
"""What the kernel says of an interface, class or queue discipline that is not there any more."""


class QueueSite:
    """A queue whose limit can be set; parameters and errors as of `QueueLimit`."""

    def __init__(self, interface: str, parent: str | None, replace: bool, netns: str | None) -> None:
        self.interface = interface
        self._place = _place(parent)
        self._netlink = Netlink(netns)
        try:
            link = self._link()
            self._name = link.name  # what is given may be an alternative name
            self.frame = link.mtu + HEADER
            """Bytes that a full packet counts as."""
            found, bfifo, added = self._find(link, replace)
        except BaseException:
            self.close()
            raise
        self.found = found
        """The queue discipline as it was found."""
        self.bfifo = bfifo
        """With `replace`: what takes the place of the kernel's default when the first limit is set, with
        the limit that the kernel's own one is born with. None where the queue found is steered itself."""
        self.added = added
        """Whether it is there."""
        self._kind = KINDS.get((bfifo or found).kind)  # None for a pfifo_fast: its limit is the interface's
        self.unit = self._kind.unit if self._kind else "packets"

    @property
    def born(self) -> int | None:
        """Limit that the bfifo is born with; None if the queue found is steered itself."""
        return None if self.bfifo is None else KINDS["bfifo"].limit(self.bfifo.options)

    @property
    def qdisc(self) -> Qdisc:
        """The queue discipline that is there, as it was found or put there."""
        return self.bfifo if self.bfifo is not None and self.added else self.found

    def snapshot(self) -> dict[str, object]:
        """Where the queue is, what was found there, and the handle of the bfifo in its place (0: none)."""
        found = self.found
        return {
            "interface": self._name,
            "index": found.index,
            "netns": self._netlink.namespace,
            "parent": "root" if found.parent == ROOT else handle_name(found.parent),
            "kind": found.kind,
            "handle": found.handle,
            "added": 0 if self.bfifo is None else self.bfifo.handle,
        }

    def recognize(self, snapshot: Mapping[str, object]) -> None:
        """Make sure that this is what the snapshot was taken of; raises as the function `recognize`."""
        self._look()
        recognize(self._netlink, snapshot)

    def read(self) -> tuple[Qdisc, int]:
        """The queue with its counts, and its limit, as they are now.

        The limit of a default that is to be replaced is the one that a bfifo would be born with.

        Raises
        ------
        GoneError
            The namespace, the interface or the queue discipline has gone, or was replaced.
        SensorError
            The kernel cannot be asked; or a pfifo_fast was replaced, whose limit, the interface's, stays.
        """
        self._look()
        there = self.qdisc
        try:
            now = self._there(there)
        except OSError as error:
            raise _failed(f"{there} on {self.interface}", error) from error
        if now.handle != there.handle or (now.kind != there.kind and not self._waiting):
            kind = SensorError if self._kind is None else GoneError
            raise kind(
                f"{there} on {self.interface} is gone, there is {now} instead;"
                " it is left alone: make a new resource to steer it"
            )
        if self._kind is None:
            return now, self._link().queue_length
        return now, self._kind.limit(self.bfifo.options if self.bfifo and self._waiting else now.options)

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
        if self.bfifo is not None and self._waiting:
            return self._add(self.bfifo, limit)
        self._set(qdisc, limit)
        _, taken = self.read()
        if taken != (codel_reads_back(codel_asks_for(limit)) if self.unit == "microseconds" else limit):
            self._set(qdisc, before)
            raise ActuatorError(
                f"{self.interface}: the limit is {taken} after {limit} was set; it is put back to {before}"
            )
        return taken

    def remove(self) -> None:
        """Take the bfifo away, so that the kernel's default comes back; none is there: done.

        Raises
        ------
        ActuatorError
            The kernel refuses.
        """
        if self.bfifo is None or not self.added:
            return
        try:
            if not self._netlink.lost():
                self._netlink.remove(self.bfifo)
        except OSError as error:
            if error.errno not in (*GONE, errno.EINVAL):  # the last: another one is there by now
                raise ActuatorError(f"taking {self.bfifo} off {self.interface}: {_told(error)}") from error
        self.added = False

    def close(self) -> None:
        """Close the connection to the kernel and leave all as it is."""
        self._netlink.close()

    def _look(self) -> None:
        if self._netlink.lost():
            raise GoneError(f"the network namespace of {self.interface} is not where it was found any more")

    @property
    def _waiting(self) -> bool:
        """Whether the kernel's default is still there, and a bfifo is to take its place."""
        return self.bfifo is not None and not self.added

    def _add(self, bfifo: Qdisc, limit: int) -> int:
        try:
            self._netlink.add(replace(bfifo, options=pack("=I", limit)))
        except OSError as error:
            raise ActuatorError(f"putting a bfifo on {self.interface}: {_told(error)}") from error
        self.added = True
        _, taken = self.read()
        if taken != limit:
            self.remove()
            raise ActuatorError(f"{self.interface}: a bfifo of {limit} bytes has {taken}; it is taken away")
        return taken

    def _set(self, qdisc: Qdisc, limit: int) -> None:
        try:
            if self._kind is None:
                self._netlink.set_queue_length(qdisc.index, limit)
            else:
                asked = codel_asks_for(limit) if self.unit == "microseconds" else limit
                self._netlink.change(qdisc, self._kind.with_limit(qdisc.options, asked))
        except OSError as error:
            raise ActuatorError(
                f"setting the limit of {qdisc} on {self.interface} to {limit}: {_told(error)}"
            ) from error

    def _link(self) -> Link:
        try:
            return self._netlink.link(self.interface)
        except OSError as error:
            raise _failed(
                f"interface {self.interface}", error, "; `ip link` lists those there are"
            ) from error

    def _find(self, link: Link, replace: bool) -> tuple[Qdisc, Qdisc | None, bool]:
        """`found`, `bfifo` and `added`."""
        place = ROOT if self._place is None else self._place
        try:
            found = self._netlink.qdiscs(link.index)
            if not replace:
                return choose(self.interface, found, self._place), None, False
            limit = max(1, link.queue_length) * self.frame  # as the kernel's own bfifo is born
            ours = Qdisc("bfifo", link.index, _handle(place), place, pack("=I", limit))
            here = self._there(ours)
        except OSError as error:
            raise _failed(f"queues of {self.interface}", error) from error
        if (here.kind, here.handle) == (ours.kind, ours.handle):  # left by a process that was killed
            return _none(ours), ours, True
        if here.handle:
            return choose(self.interface, found, self._place), None, False
        check_replaceable(self.interface, found, here)
        return here, ours, False

    def _there(self, place: Qdisc) -> Qdisc:
        """What is at the interface and class of `place` now, hidden or not; raises `OSError`."""
        shown = self._netlink.qdisc(place.index, place.parent)  # fails where there is no such class
        if shown is not None:
            return shown
        hidden = self._netlink.qdiscs(place.index, hidden=True)
        return next((each for each in hidden if each.parent == place.parent), _none(place))


def recognize(netlink: Netlink, snapshot: Mapping[str, object]) -> None:
    """Make sure that the queue that a snapshot was taken of is still there.

    Raises
    ------
    GoneError
        It has ended, and its limit with it; there may be another one in its place.
    SensorError
        The kernel cannot be asked, or the interface has another name by now.
    ActuatorError
        It is no snapshot of a queue.
    """
    try:
        interface, place = str(snapshot["interface"]), handle_number(str(snapshot["parent"]))
        kind, handle, added = snapshot["kind"], snapshot["handle"], snapshot["added"]
        netns, index = snapshot["netns"], snapshot["index"]
    except (KeyError, ValueError) as error:
        raise ActuatorError(f"no snapshot of a queue: {dict(snapshot)!r}") from error
    try:
        here = next((each for each in netlink.links() if each.index == index), None)
        if here is None or netlink.namespace != netns:
            raise GoneError(f"{interface} is not there any more; another interface may have its name")
        if here.name != interface:
            raise SensorError(f"{interface} is called {here.name} by now: give it its name again")
        now = netlink.qdisc(here.index, place)
    except OSError as error:
        raise _failed(f"queue of {interface}", error) from error
    if added:  # where the kernel's default is back nothing is left to be done, which does no harm
        same = now is None or now.handle in (0, added)
    else:  # the limit of a pfifo_fast is the interface's
        same = kind == "pfifo_fast" or (now is not None and (now.kind, now.handle) == (kind, handle))
    if not same:
        raise GoneError(f"{interface} has {now or 'no queue'} by now, not the {kind} that was recorded")


def _none(place: Qdisc) -> Qdisc:
    """What stands for a queue discipline that the kernel does not show."""
    return Qdisc("noop", place.index, 0, place.parent, b"")


def _place(parent: str | None) -> int | None:
    try:
        return None if parent is None else handle_number(parent)
    except ValueError as error:
        raise ConfigError(f'parent={parent!r}: a class such as "1:10", in hexadecimal, or "root"') from error


def _handle(place: int) -> int:
    """Handle of the bfifo that is put at this class.

    Known before it is there, so that it can be written down, and found by whoever clears
    up. Below those that the kernel gives out by itself, above those that people choose.
    """
    return (0x4000 | crc32(pack("=I", place)) & 0x3FFF) << 16


def _failed(what: str, error: OSError, hint: str = "") -> SensorError:
    kind = GoneError if error.errno in GONE else SensorError
    return kind(f"{what}: {_told(error)}{hint}")


def _told(error: OSError) -> str:
    """The kernel's words, and what can be done about them."""
    said = error.strerror or str(error)
    if error.errno in (errno.EPERM, errno.EACCES):
        return f"{said}; it needs root (CAP_NET_ADMIN)"
    if error.errno == errno.ENODEV:
        return f"{said}: the interface is not there"
    return said
