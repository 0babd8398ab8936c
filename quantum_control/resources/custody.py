"""Whose weights are whose: what was found, what was ordered, what somebody else has changed since."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from quantum_control.core.errors import ActuatorError
from quantum_control.core.forked import Owner
from quantum_control.resources.balancer import Balancer, Reading

_log = logging.getLogger("quantum_control")


class Custody:
    """The weights of a balancer in our care.

    A back end is in our care unless it had no weight when it was first seen
    (somebody keeps it out), or its weight is no longer the one ordered last:
    somebody else has changed it. Then it is left alone, also by `give_back`,
    until its weight is again the one ordered last, or the balancer has been
    restarted and with it all weights set while it ran. What a process has ordered
    it gives back itself, and not its copy in a forked child.
    """

    def __init__(self, balancer: Balancer) -> None:
        self.balancer = balancer
        self.original: dict[str, int] = {}
        """Weight of each back end when it was first seen."""
        self.ordered: dict[str, int] = {}
        """Weight that each was given last, by us or as it was found."""
        self.foreign: dict[str, int] = {}
        """Weight of each that somebody else has changed, or keeps in reserve or out of service (0)."""
        self.added: set[str] = set()
        """Back ends that we have added."""
        self.fresh: set[str] = set()
        """Those that have come into our care, or were found with another weight, at the last reading. None
        is ordered a weight before the next, so that what was found of them can be written down before."""
        self.found_more = 0
        """How often there were such."""
        self._attempted: dict[str, int] = {}  # orders of which it is not known whether they got there
        self._run = ""
        self._owner = Owner()

    def in_care(self) -> dict[str, int]:
        """Weight, as found, of each back end in our care but for those that we have added."""
        return {name: weight for name, weight in self.original.items() if weight and self.own(name)}

    def notice(self, reading: Reading) -> None:
        """Compare what is in force with what was ordered."""
        before = self.in_care()
        if reading.run != self._run:
            if self._run:
                _log.warning("%r was restarted; going on from the weights that it has now", self.balancer)
            self._run = reading.run
            self._forget(reading)
        for name in [name for name in self.original if name not in reading.back_ends]:
            if name not in self._attempted:
                _log.warning("%r: back end %s was removed by somebody else", self.balancer, name)
            self._drop(name)
        for name, back_end in reading.back_ends.items():
            self._compare(name, back_end.weight, back_end.spare)
        self._attempted.clear()
        self.fresh = {name for name, weight in self.in_care().items() if before.get(name) != weight}
        self.found_more += bool(self.fresh)

    def own(self, name: str) -> bool:
        """Whether the weight of this back end is in our care."""
        return name in self.original and name not in self.foreign

    def steerable(self, name: str) -> bool:
        """Whether this back end may be ordered a weight."""
        return self.own(name) and name not in self.fresh

    def why_not(self, name: str) -> str:
        """Say why a back end that was found may not be ordered a weight."""
        if name not in self.original:
            return f"{name} is not there any more"
        if self.own(name):
            return f"{name} was handed over only now"
        return f"{name} is left at the weight {self.foreign[name]}, which somebody else has set"

    def order(self, weights: Mapping[str, int]) -> None:
        """Set weights of back ends in our care.

        Raises
        ------
        ActuatorError
            The balancer did not take them; it was left as it was, or the message says how not.
        """
        self._owner.claim()
        self._attempted = dict(weights)
        self.balancer.write(weights)
        self._attempted = {}
        self.ordered.update(weights)

    def add(self, address: str) -> str:
        """Take a new back end in, drained; its original state is not to be there.

        Raises
        ------
        ActuatorError
            The balancer did not take it, or not whole: what is there of it is taken out like any other.
        """
        name = self.balancer.name_of(address)
        self._owner.claim()
        # Before the order: what becomes of one that fails is known at the next reading only.
        self.original[name] = self.ordered[name] = 0
        self.added.add(name)
        self._attempted = {name: 0}
        self.balancer.add(address)
        self._attempted = {}
        return name

    def remove(self, name: str) -> bool:
        """Take out a back end that was added; False while requests hold on to it.

        Raises
        ------
        ActuatorError
            The balancer refused.
        """
        if not self.balancer.remove(name):
            return False
        self._drop(name)
        return True

    def give_back(self) -> None:
        """Put the original weights back and take out what was added; what somebody else changed stays.

        Raises
        ------
        SensorError
            Weights cannot be read, so that nobody knows what somebody else has changed; nothing was done.
        ActuatorError
            The balancer did not take them, or requests hold on to what was added.
        """
        if self._owner.elsewhere:  # a forked child's copy: its parent steers on
            return
        if not self.added and not self._attempted and self.ordered == self.original:
            return
        self.notice(self.balancer.read_weights())
        weights = {
            name: weight
            for name, weight in self.original.items()
            if self.own(name) and self.ordered[name] != weight
        }
        if weights:
            self.order(weights)
        self._remove_added()

    def put_back(self, weights: Mapping[str, int], added: Sequence[str]) -> None:
        """Set these weights, of those that are still there, and take out what was `added`.

        They are what another process has found; what is there now is its doing.

        Raises
        ------
        SensorError
            It cannot be read; nothing was done.
        ActuatorError
            The balancer did not take them, or requests hold on to what was added.
        """
        there = self.balancer.read_weights().back_ends
        kept = {name: weight for name, weight in weights.items() if name in there}
        changed = {name: weight for name, weight in kept.items() if there[name].weight != weight}
        changed |= {name: 0 for name in added if name in there and there[name].weight}
        if changed:
            self.balancer.write(changed)
        for name, weight in kept.items():
            self.original[name] = self.ordered[name] = weight
            self.foreign.pop(name, None)
        self.added.update(name for name in added if name in there)
        self._remove_added()

    def _remove_added(self) -> None:
        for name in list(self.added):
            if not self.remove(name):
                raise ActuatorError(
                    f"{self.balancer!r}: {name} was added and requests hold on to it; it gets no new ones."
                    " Release or restore once more when they have ended"
                )

    def _forget(self, reading: Reading) -> None:
        """Take what a restart has changed as found; what it has kept (a state file) stays in our care."""
        for name, ordered in list(self.ordered.items()):
            back_end = reading.back_ends.get(name)
            if back_end is None or back_end.weight != ordered:
                self._drop(name)

    def _drop(self, name: str) -> None:
        for record in (self.original, self.ordered, self.foreign):
            record.pop(name, None)
        self.added.discard(name)

    def _compare(self, name: str, weight: int, spare: bool) -> None:
        if name not in self.original:
            self.original[name] = self.ordered[name] = weight
            if spare or weight == 0:
                self.foreign[name] = 0
        elif name in self.foreign:
            self._watch(name, weight, spare)
        elif weight == self._attempted.get(name):
            self.ordered[name] = weight
        elif weight != self.ordered[name]:
            self.foreign[name] = weight
            _log.warning(
                "%r: the weight of %s is %d, not %d as ordered: somebody else has changed it."
                " It is left alone from here on; set it back to %d to hand it over again",
                self.balancer,
                name,
                weight,
                self.ordered[name],
                self.ordered[name],
            )

    def _watch(self, name: str, weight: int, spare: bool) -> None:
        if spare:
            return
        found_out = self.original[name] == 0 and name not in self.added
        if found_out and weight > 0:
            self.original[name] = self.ordered[name] = weight  # put into service: ours from here on
            del self.foreign[name]
        elif not found_out and weight == self.ordered[name]:
            _log.info("%r: the weight of %s is %d again; steering it", self.balancer, name, weight)
            del self.foreign[name]
        else:
            self.foreign[name] = weight
