"""Which queues of this machine could be steered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from quantum_control.core.discovery import Found
from quantum_control.core.errors import ConfigError, SensorError
from quantum_control.resources.netlink import Link, Netlink, Qdisc, handle_name
from quantum_control.resources.queue_kinds import KINDS, choose

LOOPBACK = "lo"
"""Has no queue worth steering: what is sent there is there."""


def find() -> Iterator[Found]:
    """Interfaces of this network namespace with their queues, and whether they can be steered."""
    try:
        netlink = Netlink()
    except (OSError, SensorError):
        return  # no network
    try:
        links, qdiscs = netlink.links(), netlink.qdiscs()
    except OSError:
        return
    finally:
        netlink.close()
    for link in links:
        queues = [each for each in qdiscs if each.index == link.index]
        if queues and link.name != LOOPBACK:  # without any it is down
            yield from _found(link, queues)


def _found(link: Link, qdiscs: Sequence[Qdisc]) -> Iterator[Found]:
    options: dict[str, object] = {"interface": link.name, "control": "queue"}
    try:
        chosen = [choose(link.name, qdiscs, None)]
    except ConfigError as error:
        chosen = [each for each in qdiscs if each.kind in KINDS and each.handle]
        if not chosen:
            yield Found("buffer", f"queue-{link.name}", options, str(error), possible=False)
            return
    for each in chosen:
        several = len(chosen) > 1
        name = f"queue-{link.name}-{handle_name(each.parent)}" if several else f"queue-{link.name}"
        place = {"parent": handle_name(each.parent)} if several else {}
        yield Found("buffer", name, options | place, f"{each}: {_size(link, each)}")


def _size(link: Link, qdisc: Qdisc) -> str:
    kind = KINDS.get(qdisc.kind)
    if kind is None:
        return f"{link.queue_length} packets"
    try:
        return f"{kind.limit(qdisc.options)} {kind.unit}"
    except SensorError as error:
        return str(error)
