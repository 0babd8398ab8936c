"""What the limit of each kind of queue discipline is, and where in its options it stands.

Layouts: <linux/pkt_sched.h>. What is not the limit is handed back to the kernel
byte for byte.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from quantum_control.core.errors import ConfigError, SensorError
from quantum_control.resources.netlink import ROOT, Qdisc, attribute, attributes, handle_name

TBF_PARAMETERS = 1
"""TCA_TBF_PARMS: two 12-byte rates, then the limit."""

CODEL_TARGET = 1
"""TCA_CODEL_TARGET and TCA_FQ_CODEL_TARGET: microseconds, kept by the kernel in units of 1.024."""

MANAGED = ("cake", "fq", "fq_pie", "pie", "red", "sfb", "gred", "choke", "sfq", "hhf", "dualpi2")
"""Kinds that manage their queue by themselves, or keep one for each flow."""

MANAGING = (*MANAGED, "codel", "fq_codel")
"""Those, and the kinds that keep a delay of which the target can be set."""

CLASSFUL = ("htb", "hfsc", "prio", "drr", "qfq", "ets", "mq", "mqprio", "multiq", "cbq")
"""Kinds that hold no packets: their leaves do."""


@dataclass(frozen=True, slots=True)
class QueueKind:
    """How the limit of a kind of queue discipline is read and written."""

    unit: str
    """ "bytes", "packets", or "microseconds" of delay that a discipline of its own aims at."""
    key: int = 0
    """Attribute in which the limit stands; 0 if the options are not made of attributes."""
    offset: int = 0
    """Bytes before it."""
    partial: bool = False
    """Whether the kernel takes the one attribute alone, and leaves the others."""

    def limit(self, options: bytes) -> int:
        """Limit that stands in `options`.

        Raises
        ------
        SensorError
            The kernel has sent fewer options than this kind has.
        """
        return int(struct.unpack_from("=I", options, self._place(options))[0])

    def with_limit(self, options: bytes, limit: int) -> bytes:
        """The options that set the limit to `limit` and leave all else as it is."""
        if self.partial:
            return attribute(self.key, struct.pack("=I", limit))
        place = self._place(options)
        return options[:place] + struct.pack("=I", limit) + options[place + 4 :]

    def _place(self, options: bytes) -> int:
        begin, end = 0, len(options)
        if self.key:
            begin, end = next(((b, e) for key, b, e in attributes(options) if key == self.key), (0, 0))
        if begin + self.offset + 4 > end:
            raise SensorError("the kernel's answer has no limit in it; this kernel is not known here")
        return begin + self.offset


KINDS: Mapping[str, QueueKind] = {
    "bfifo": QueueKind("bytes"),
    "pfifo": QueueKind("packets"),
    "pfifo_head_drop": QueueKind("packets"),
    "tbf": QueueKind("bytes", key=TBF_PARAMETERS, offset=24),
    "codel": QueueKind("microseconds", key=CODEL_TARGET, partial=True),
    "fq_codel": QueueKind("microseconds", key=CODEL_TARGET, partial=True),
}
"""By the kind's name."""


def codel_reads_back(microseconds: int) -> int:
    """What the kernel says after a CoDel target of `microseconds` was set: whole units of 1.024 µs."""
    return ((microseconds * 1000 >> 10) << 10) // 1000


def codel_asks_for(wanted: int) -> int:
    """The target (µs) to set so that `wanted`, or what comes nearest below it, is read back."""
    return next((each for each in (wanted, wanted + 1) if codel_reads_back(each) == wanted), wanted)


def choose(interface: str, found: Sequence[Qdisc], parent: int | None) -> Qdisc:
    """The queue discipline of `interface` whose limit is meant, out of all it has.

    Where `parent` does not say it, the only one that has a limit: a tbf
    counts only without a leaf of its own, since packets wait in the leaf.

    Raises
    ------
    ConfigError
        There is none, or more than one; the message says what there is and what can be done.
    """
    if parent is not None:
        return _at(interface, found, parent)
    parents = {each.parent >> 16 for each in found if each.parent != ROOT}
    fit = [
        each
        for each in found
        if each.kind in KINDS and each.handle and not (each.kind == "tbf" and each.handle >> 16 in parents)
    ]
    if len(fit) == 1:
        return fit[0]
    if fit:
        names = ", ".join(f"{each.kind} at parent={handle_name(each.parent)!r}" for each in fit)
        raise ConfigError(f"{interface} has several queues: {names}; choose one with parent=")
    root = next((each for each in found if each.parent == ROOT), None)
    if root is None:
        raise ConfigError(f"{interface} has no queue discipline")
    return _at(interface, found, ROOT)


def check_replaceable(interface: str, found: Sequence[Qdisc], here: Qdisc) -> None:
    """Make sure that a bfifo may take the place of `here`, which the kernel has put there by itself.

    Raises
    ------
    ConfigError
        It manages its queue by itself, or what would go with it does: a bfifo would be worse.
    """
    below = found if here.parent == ROOT else ()
    for each in (here, *below):
        if each.kind in MANAGING:
            raise ConfigError(f"{_left_alone(interface, each)}, with replace=True too: a bfifo is worse")


def _left_alone(interface: str, qdisc: Qdisc) -> str:
    return f"{qdisc.kind} on {interface} manages its queue by itself and is left alone"


def _at(interface: str, found: Sequence[Qdisc], parent: int) -> Qdisc:
    name = "root" if parent == ROOT else handle_name(parent)
    here = next((each for each in found if each.parent == parent), None)
    if here is None:
        raise ConfigError(
            f"{interface} has no queue discipline of its own at {name}, only the kernel's hidden default,"
            " whose limit cannot be changed; add one (tc qdisc add dev"
            f" {interface} parent {name} bfifo limit ...), or give replace=True"
        )
    kind = here.kind
    if kind == "pfifo_fast" and parent == ROOT:
        return here
    if kind in MANAGED:
        raise ConfigError(f"{_left_alone(interface, here)}; there is nothing to steer")
    if kind in CLASSFUL:
        managing = next((each for each in found if each.kind in MANAGING and not each.handle), None)
        if managing is not None:
            raise ConfigError(f"{_left_alone(interface, managing)}; there is nothing to steer")
        leaves = [handle_name(each.parent) for each in found if each.parent != ROOT and each.handle]
        told = f"queues are at {', '.join(leaves)}" if leaves else "no class has a queue of its own"
        raise ConfigError(
            f"{kind} on {interface} holds no packets itself, {told};"
            " choose a class with parent=, and replace=True where its queue is the kernel's default"
        )
    if kind not in KINDS:
        raise ConfigError(
            f"{interface} has a {kind} at {name}, whose limit is not known here; known: {', '.join(KINDS)}"
            f"{'; replace=True puts a bfifo there' if not here.handle else ''}"
        )
    if not here.handle and kind in MANAGING:
        place = "root" if parent == ROOT else f"parent {name}"
        raise ConfigError(
            f"{_left_alone(interface, here)} while it is the kernel's default; for its target to be steered,"
            f" put one there by hand: tc qdisc replace dev {interface} {place} {kind}"
        )
    if not here.handle:
        raise ConfigError(
            f"the {kind} at {name} of {interface} is the kernel's default, which cannot be changed in place;"
            " replace=True puts a bfifo there, at the price of what is queued at that moment"
        )
    return here
