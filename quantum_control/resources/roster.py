"""Which back ends are in use, and what weights their shares mean."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from math import isnan
from statistics import median_high

from quantum_control.core.ejection import HOLD, LONGEST_HOLD, Standing
from quantum_control.core.errors import ActuatorError
from quantum_control.core.shares import RAMP, Share
from quantum_control.resources.balancer import FULL_WEIGHT, Reading
from quantum_control.resources.custody import Custody

_log = logging.getLogger("quantum_control")

LEAST = (Standing.TRIAL, Standing.DOWN)
"""Who has the weight 1 at least: one on trial, and one that is to start low when it is up again."""

FEWEST_WEIGHED = 2
"""Healthy back ends, of those in use, that have the weight 1 at least, however light the load: where the
only one with a weight breaks down, every request would fail until the next step."""


class Roster:
    """The back ends in our care: in use, kept out of use, and addresses that may be added.

    Parameters
    ----------
    custody
        Whose weights are whose; those in its care by now are the ones found.
    spares
        Addresses that may be added.
    steer_weights
        Whether what joins starts low, for `weigh` to raise it, or at its full weight.
    """

    def __init__(self, custody: Custody, spares: Sequence[str], steer_weights: bool) -> None:
        self.orders = 0
        """Times that weights were ordered."""
        self._custody = custody
        self._spares = list(spares)
        self._joining = RAMP if steer_weights else 1.0
        self._idle: set[str] = set()  # kept out of use, to be within the size
        self._addresses: dict[str, str] = {}  # of what was added
        self._hold = HOLD  # intervals from one change of places to the next
        self._since = LONGEST_HOLD  # intervals since the last
        self._found = self.members()

    def members(self) -> list[str]:
        """Back ends in our care and in use."""
        custody = self._custody
        return [name for name in custody.original if custody.own(name) and name not in self._idle]

    def _settled(self) -> list[str]:
        """Those of them that may be ordered a weight."""
        return list(filter(self._custody.steerable, self.members()))

    def weigh(self, plan: Mapping[str, Share], capacities: Mapping[str, float]) -> None:
        """Order the weights that the shares mean, unless all changes are within the dead band.

        The fastest FEWEST_WEIGHED of the healthy have one whatever their share.

        Raises
        ------
        ActuatorError
            The balancer did not take them.
        """
        ordered = self._custody.ordered
        weights = {**self._weights(plan, capacities), **dict.fromkeys(self._idle, 0)}
        changed = {
            name: weight
            for name, weight in weights.items()
            if self._custody.steerable(name) and weight != ordered[name]
        }
        band = self._custody.balancer.dead_band
        if any(abs(new - ordered[name]) > band * max(new, ordered[name]) for name, new in changed.items()):
            self._order(changed)

    def use(
        self, size: int, plan: Mapping[str, Share], capacities: Mapping[str, float], reading: Reading
    ) -> None:
        """Have `size` back ends in use.

        Of as many as were found, those that are there are taken: somebody else may
        have taken others away since, which the log then names.

        Raises
        ------
        ActuatorError
            There are not so many, and it is not the number found; or the balancer refused.
        """
        members = self.members()
        short = size - len(members)
        available = len(self._waiting(reading)) + len(self._free())
        if short <= 0:
            # One that has just come is in use and may be down for all we know: nobody is drained for it.
            if (surplus := len(self._settled()) - size) > 0:
                self.dismiss(surplus, plan, capacities, reading)
        elif short <= available:
            self.enlist(short, reading)
        elif size != len(self._found):
            raise ActuatorError(
                f"{self._custody.balancer!r}: no {size} back ends are in our care; there are"
                f" {len(members)} in use, and {available} kept out or spare"
            )
        else:
            # The number found is what is ordered last, when nobody is to raise a weight any more.
            self.enlist(available, reading, 1.0)
            _log.warning(
                "%r: %d back ends were to be in use, as found, and %d are: %s",
                self._custody.balancer,
                size,
                len(members) + available,
                ", ".join(map(self._custody.why_not, sorted({*self._found} - {*self.members()}))),
            )

    def enlist(self, count: int, reading: Reading, part: float | None = None) -> None:
        """Take up to `count` more back ends into use, those kept out first, then spares.

        Of those kept out the usable come first. Each begins with `part` of its weight as
        found; by default with what leaves room to be raised.

        Raises
        ------
        ActuatorError
            The balancer refused.
        """
        part = self._joining if part is None else part
        typical = median_high([self._custody.ordered[name] for name in self.members()] or [FULL_WEIGHT])
        joining = self._waiting(reading)[:count]
        for address in self._free()[: max(0, count - len(joining))]:
            self._spares.remove(address)
            self._addresses[self._name(address)] = address
            self._idle.add(self._name(address))  # until it has its weight
            joining.append(self._custody.add(address))
        if joining:
            self._order(
                {name: max(1, round(part * (self._custody.original[name] or typical))) for name in joining}
            )
            self._idle.difference_update(joining)

    def dismiss(
        self, count: int, plan: Mapping[str, Share], capacities: Mapping[str, float], reading: Reading
    ) -> None:
        """Drain `count` back ends: the sick first, then what was added, then the slow.

        Raises
        ------
        ActuatorError
            The balancer refused.
        """

        def worth(name: str) -> tuple[bool, bool, float]:
            return _well(name, plan, reading), name not in self._custody.added, capacities.get(name, 0.0)

        leaving = sorted(self._settled(), key=worth)[:count]
        self._order(dict.fromkeys(leaving, 0))
        self._idle.update(leaving)

    def tidy(
        self, size: int, plan: Mapping[str, Share], capacities: Mapping[str, float], reading: Reading
    ) -> None:
        """Take out what was added and is out of use and empty; have `size` back ends in use.

        Somebody else may have taken one away, or handed one over again. And
        where none of those in use is well (down, ejected, or in use only for
        want of another), one that is kept out and usable takes the place of
        one of them: at once the first time, then at growing intervals, as
        what all have in common no change of places can cure.

        Raises
        ------
        ActuatorError
            The balancer refused.
        """
        self._since += 1
        self._idle.intersection_update(self._custody.original)
        for name in self._custody.added & self._idle:
            back_end = reading.back_ends.get(name)
            if back_end is not None and back_end.in_flight == 0 and self._custody.remove(name):
                self._idle.discard(name)
                self._spares.append(self._addresses.pop(name))
        members, settled = self.members(), self._settled()
        well = [name for name in self._idle if self._custody.steerable(name) and _usable(name, reading)]
        if len(members) < size:
            self.enlist(size - len(members), reading)
        elif len(settled) > size:
            self.dismiss(len(settled) - size, plan, capacities, reading)
        elif well and not any(_well(name, plan, reading) for name in members):
            self._change_places(plan, capacities, reading)

    def _change_places(
        self, plan: Mapping[str, Share], capacities: Mapping[str, float], reading: Reading
    ) -> None:
        if any(_usable(name, reading) for name in self.members()):
            if self._since < self._hold:
                return
            # Whoever has served for long enough begins anew.
            self._hold = HOLD if self._since > 2 * self._hold else min(2 * self._hold, LONGEST_HOLD)
        self._since = 0
        self.enlist(1, reading)
        self.dismiss(1, plan, capacities, reading)

    def clear(self) -> None:
        """Begin anew, once everything has been given back."""
        self._idle.clear()
        self._spares.extend(self._addresses.values())
        self._addresses.clear()

    def _waiting(self, reading: Reading) -> list[str]:
        # One that was added and is not usable is half in or half out: `tidy` takes it out.
        waiting = [
            name
            for name in self._custody.original
            if name in self._idle
            and self._custody.steerable(name)
            and (name not in self._custody.added or _usable(name, reading))
        ]
        return sorted(waiting, key=lambda name: not _usable(name, reading))

    def _free(self) -> list[str]:
        for name in self._addresses.keys() - self._custody.added:
            # A restart, or somebody else, has taken it out, or it was never taken in.
            self._spares.append(self._addresses.pop(name))
        # What is there already is not ours to add, and so not to take out.
        return [address for address in self._spares if self._name(address) not in self._custody.original]

    def _name(self, address: str) -> str:
        return self._custody.balancer.name_of(address)

    def _weights(self, plan: Mapping[str, Share], capacities: Mapping[str, float]) -> dict[str, int]:
        custody = self._custody
        due = {name: plan[name] for name in self.members() if name in plan}
        if not due:
            return {}
        largest = max(one.share for one in due.values())
        if any(isnan(one.share) for one in due.values()) or largest <= 0.0:
            # No share is known: only who is out is. Who is back gets what it was found with.
            return {
                name: 0
                if one.standing is Standing.OUT
                else custody.ordered[name] or custody.original[name] or 1
                for name, one in due.items()
            }
        scale = FULL_WEIGHT / largest
        if any(custody.foreign.values()):
            # The weight that somebody else has set means a share of what all weights add up to: keep that.
            scale = min(scale, sum(custody.ordered[name] for name in due))
        healthy = [name for name, one in due.items() if one.standing is Standing.IN and not one.reason]
        fastest = sorted(healthy, key=lambda name: capacities.get(name, 0.0), reverse=True)[:FEWEST_WEIGHED]
        return {
            name: max(round(scale * one.share), 1 if one.standing in LEAST or name in fastest else 0)
            for name, one in due.items()
        }

    def _order(self, weights: Mapping[str, int]) -> None:
        if weights:
            self._custody.order(weights)
            self.orders += 1


def _usable(name: str, reading: Reading) -> bool:
    """Whether the balancer took it for usable when it was read; what has come since is believed to be."""
    back_end = reading.back_ends.get(name)
    return back_end is None or back_end.up


def _well(name: str, plan: Mapping[str, Share], reading: Reading) -> bool:
    """Whether it is usable and nothing is held against it; of what has just come nothing is known."""
    return _usable(name, reading) and (
        name not in plan or (plan[name].standing is Standing.IN and not plan[name].reason)
    )
