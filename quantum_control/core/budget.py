"""A budget that several resources share: the sum of their sizes never exceeds it."""

from __future__ import annotations

import logging
import threading
from math import inf
from typing import Protocol, runtime_checkable

from quantum_control.core.budget_share import Share
from quantum_control.core.errors import ActuatorError, ConfigError, QuantumControlError, SafetyError
from quantum_control.core.resource import Resource
from quantum_control.core.waterfilling import water_fill

_log = logging.getLogger("quantum_control")


class Allowance(Protocol):
    """What a process may have of something that other processes have a part of, too."""

    capacity: int
    """The most that it could ever have. As size."""

    def claim(self, wanted: int, floor: int, held: int) -> int:
        """Say what this process wants, needs at least and holds; answers what it may hold, `floor` or more.

        Raises
        ------
        ConfigError, ActuatorError
            A floor that is higher than before cannot be had.
        """

    def close(self) -> None:
        """Give everything back."""


@runtime_checkable
class Sparing(Protocol):
    """A resource that goes on holding for a while what it no longer uses."""

    spare_seconds: float


class Budget:
    """What several resources may have together.

    For instance the connections of one database server, which the pools of a
    process share: `budget = Budget(100, reserve=10)`, and each pool's
    controller steers `budget.share(resource)` in place of the resource.

    The sum of what they hold is at most `total - reserve`. Who asks for more
    gets it from what nobody holds and, in a shortage, from those who hold more
    than their fair share: they are shrunk first, and only what they have really
    given up is handed on. A resource whose shrink takes time says how much it
    still holds in its metric `held`; one whose size is that of each of several
    says of how many in `pools`, and counts as often.

    A member whose size somebody wants as it is (`Share.kept`) is not shrunk for
    the others' sake, only where the sum would be above the budget.

    Locks are taken in one order: the budget's, then a member's, which nobody
    holds while asking for the budget's.

    Parameters
    ----------
    total
        What there is, as size; or, where other processes share it, the
        allowance of this one (`fleet.shares.SharedBudget`).
    reserve
        Part of it that is left to others: superusers, migrations, people.

    Raises
    ------
    ConfigError
        Not whole numbers, or nothing is left to share.
    """

    def __init__(self, total: int | Allowance, reserve: int = 0) -> None:
        self._allowance: Allowance | None = None
        if not isinstance(total, int):
            if reserve:
                raise ConfigError("an allowance has a reserve of its own; give it there")
            self._allowance, total = total, total.capacity
        given: dict[str, object] = {"total": total, "reserve": reserve}
        for name, value in given.items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise ConfigError(f"{name}={value!r}: a whole number, 0 or more")
        if total - reserve < 1:
            raise ConfigError(f"a total of {total} less a reserve of {reserve} leaves nothing to share")
        self.capacity = total - reserve
        """What the members may hold together. As size."""
        self._most = self.capacity
        self._members: list[Share] = []
        # One at a time: a member's request may shrink others, whose controllers run on their own threads.
        self._lock = threading.RLock()

    @property
    def held(self) -> int:
        """What the members hold together. As size."""
        with self._lock:
            return sum(member.held for member in self._members)

    def share(self, resource: Resource, weight: float = 1.0) -> Share:
        """Let a resource take part; the answer is the resource to be steered in its place.

        Its size is cut now if it does not fit in with those of the others.

        Parameters
        ----------
        resource
            Its `min_size` is what it gets in any case.
        weight
            Its part in a shortage, relative to the others'.

        Raises
        ------
        ConfigError
            The weight is not above 0, the resource takes part already, or the
            members' floors do not fit in.
        SensorError
            Its size cannot be measured.
        ActuatorError
            A size could not be cut; it does not take part then.
        """
        if not 0.0 < weight < inf:
            raise ConfigError(f"weight={weight!r}: a number above 0")
        with self._lock:
            if any(member.resource is resource for member in self._members):
                raise ConfigError(f"{resource!r} takes part in this budget already")
            if isinstance(resource, Sparing):
                resource.spare_seconds = 0.0  # what one holds in reserve the others cannot have
            found = max(1, round(resource.measure_state().size))
            joining = Share(self, resource, weight, found)
            self._members.append(joining)
            try:
                self._negotiate()
                self._shrink_others(joining)
                if min(self._shares(joining)[-1], self._free(joining)) < joining.granted:
                    self._grant(joining, joining.granted)
            except BaseException:
                self.leave(joining)
                raise
            return joining

    def leave(self, share: Share) -> None:
        """Let a member take part no longer; what it holds is free from now on.

        Where other processes cannot be told now, they learn of it later.
        """
        with self._lock:
            if share not in self._members:
                return
            self._members.remove(share)
            try:
                self._negotiate()
            except Exception as error:  # noqa: BLE001 - a store may fail in any way; who leaves is not kept by it
                _log.warning("budget: %r has left, of which the others learn later: %s", share, error)

    def request(self, share: Share, size: int) -> None:
        """Give a member as much of `size` (all its pools together) as is its due, taking it from others.

        Less than it has it gets in any case.

        Raises
        ------
        SafetyError
            The member has left.
        ActuatorError
            Not even its present size can be kept, or the resource did not take the size.
        """
        with self._lock:
            if share not in self._members:
                raise SafetyError(
                    "this share has left its budget; budget.share() lets the resource join again"
                )
            share.wanted = size
            try:
                self._negotiate(share)
            except QuantumControlError as error:
                if size >= share.granted:
                    raise
                _log.warning("budget: %r takes less than it has, for which nobody is asked: %s", share, error)
                share.order(size)
                return
            self._shrink_others(share)
            self._grant(share, size)

    def measured(self, share: Share, size: int, still: int | None) -> None:
        """Take what a member was found to have, and cut it if others have changed it past the budget."""
        with self._lock:
            if share not in self._members:
                return
            share.found(size)
            share.still = still
            try:
                self._negotiate()
                due = dict(zip(self._members, self._shares(), strict=True))[share]
            except (ConfigError, ActuatorError) as error:  # more pools than fit in, even at their least
                _log.warning("budget: %r: %s", share, error)
                due = share.floor
            target = max(share.floor, min(due, self._free(share)))
            if self.held <= self.capacity or target >= share.granted:
                return
            try:
                share.order(target)
            except Exception as error:  # noqa: BLE001 - a resource may fail in any way; tried at every measurement
                _log.warning("budget: %d of %d are held; %r: %s", self.held, self.capacity, share, error)

    @property
    def most(self) -> int:
        """The most that `capacity` could ever be. As size."""
        return self._most

    def _negotiate(self, asking: Share | None = None) -> None:
        """Learn what this process may have now, where others share it."""
        if self._allowance is not None and not self._members:
            self._allowance.close()
        elif self._allowance is not None:
            members = self._members
            floor = sum(member.floor for member in members)
            wanted = sum(max(m.floor, m.wanted if m is asking else m.claim) for m in members)
            self.capacity = self._allowance.claim(min(wanted, self._most), floor, self.held)

    def _shares(self, asking: Share | None = None) -> list[int]:
        members = self._members
        weights = [member.weight for member in members]
        floors = [member.floor for member in members]
        # What somebody wants as it is, as far as that leaves the others what they need at least.
        fixed = [member.granted if member.fixed and member is not asking else 0 for member in members]
        least = [size or floor for size, floor in zip(fixed, floors, strict=True)]
        if sum(least) > self.capacity:
            return water_fill(self.capacity, [member.wanted for member in members], floors, weights)
        wants = [size or member.wanted for size, member in zip(fixed, members, strict=True)]
        return water_fill(self.capacity, wants, least, weights)

    def _free(self, share: Share) -> int:
        """What `share` could hold without the sum passing the capacity."""
        return self.capacity - sum(member.held for member in self._members if member is not share)

    def _shrink_others(self, asking: Share) -> None:
        """Cut those who were given more than their due, as far as the one who asks is short of it."""
        shares = dict(zip(self._members, self._shares(asking), strict=True))
        # Judged by what was given, not by what is held: who is shrinking already is not cut again.
        missing = shares[asking] + sum(m.granted for m in self._members if m is not asking) - self.capacity
        for member, due in shares.items():
            if member is asking or member.granted <= due or missing <= 0:
                continue
            target = max(due, member.granted - missing)
            before = member.granted
            try:
                member.order(target)
            except Exception as error:  # noqa: BLE001 - a resource may fail in any way; the sum still holds
                _log.warning("budget: %r could not be cut to %d: %s", member.resource, target, error)
                continue
            missing -= before - member.granted

    def _grant(self, share: Share, size: int) -> None:
        due = dict(zip(self._members, self._shares(share), strict=True))[share]
        size = min(size, due, self._free(share))
        if size < share.floor:
            raise ActuatorError(
                f"budget: {size} of {self.capacity} are free, less than the {share.floor} that"
                f" {share.resource!r} needs at least; another member could not be cut"
            )
        share.order(size)
