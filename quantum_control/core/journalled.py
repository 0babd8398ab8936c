"""A resource that is written down before it is changed, and put back from what was written."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from math import nan
from typing import Any

from quantum_control.core.errors import ActuatorError, GoneError
from quantum_control.core.journal import Journal, Original
from quantum_control.core.resource import Resource, ResourceState
from quantum_control.core.writer import Writer

SETTLING = 0.5
"""Seconds in which a size that was put back has to move: some resources take their time."""


class Journalled(Resource):
    """A resource whose original is written down before its first change.

    Steer it in place of the resource, and call `put_back` in the end.

    Parameters
    ----------
    resource
        What is steered. If it has `snapshot()` and `restore(snapshot)`, those
        are what is written down and put back; else its size. Here `restore` is
        called on the object that took the snapshot, which may know what somebody
        else has set since, and leave that. Whoever puts the original of a dead
        process back makes a new object (`core.recovery`).
        If it has `found_anew`, how often it has come upon another setting that is
        to be put back (as of a JVM that was started anew), that is written down
        before the next change.
        If it has `found_more`, how often it has come upon more that is to be put
        back (as of a back end that joins a balancer) while orders are in force, the
        snapshot is written down anew before it is called again.
    journal
        Where to.
    name, kind, options
        As in `Original`.
    now
        Seconds since 1970.
    """

    def __init__(
        self,
        resource: Resource,
        journal: Journal,
        name: str,
        kind: str,
        options: Mapping[str, object],
        now: Callable[[], float] = time.time,
    ) -> None:
        self.resource = resource
        self.min_size, self.max_size, self.unit = resource.min_size, resource.max_size, resource.unit
        outlives = bool(getattr(resource, "outlives_boot", False))
        self._journal = journal
        self._original = Original(name, kind, options, 0, Writer.this(), outlives_boot=outlives)
        self._kept = False
        self._found_anew = 0  # of the resource, when the original was found
        self._found_more = 0  # of the resource, when the snapshot was taken
        self._held = False  # whether measuring would steer, if it were not for `hold`
        self._seen = nan  # size in force, as it was measured or ordered last
        self._now = now

    @property
    def found_anew(self) -> int:
        """How often the resource has come upon another original."""
        return int(getattr(self.resource, "found_anew", 0))

    def measure_state(self) -> ResourceState:
        """Measure the resource; the first size is the original.

        Raises
        ------
        ActuatorError, SafetyError
            As `apply_control`, where measuring itself steers (a load balancer's weights).
        """
        self._keep_more()
        if not self._original.size and getattr(self.resource, "steers_while_measuring", False):
            return self._look_first()
        state = self.resource.measure_state()
        self._renew()
        self._seen = state.size
        if state.size == state.size and not self._original.size:
            found = max(1, round(state.size))
            self._original = replace(self._original, size=found, taken=self._now())
        return state

    def apply_control(self, new_size: int) -> None:
        """Set the size, once the original and this order are written down.

        Raises
        ------
        ActuatorError
            They could not be written, or the resource did not take the size.
        SafetyError
            Another process changed it and did not put it back.
        """
        original = self._original
        if not self._kept and new_size != original.size:
            self._keep()
        try:
            self._keep_more()
            if new_size != original.size:
                self._note(new_size)
        except ActuatorError:
            if new_size != original.size:  # the way back must be open even if the disk is full
                raise
        self.resource.apply_control(new_size)
        self._seen = float(new_size)

    def get_metrics(self) -> dict[str, float]:
        """Metrics of the resource."""
        return self.resource.get_metrics()

    def own(self, size: float) -> None:
        """Know a size found in force as ours: what comes of an order may be other than what was ordered.

        Not for one that somebody else has set (`core.hands`), which whoever puts
        the original back after the death of this process is to leave.

        Raises
        ------
        ActuatorError
            It could not be written.
        """
        if self._kept and not self._original.left_by_us(size):
            self._note(max(1, round(size)))

    def put_back(self) -> None:
        """Restore the original, if it was ever changed, and strike it out.

        Where the size is all that is put back it is measured afterwards: one that
        has not moved at all for `SETTLING` seconds was not taken. Where there is a
        snapshot the resource itself sees to that.

        Raises
        ------
        ActuatorError
            The resource did not take it; the journal keeps it.
        """
        self._renew()
        if not self._kept:
            return
        before, original = self._seen, self._original
        try:
            restore(original, self.resource)
        except ActuatorError as error:
            if not isinstance(error.__cause__, GoneError):
                raise
        until = time.monotonic() + SETTLING
        while (now := self._in_force()) == before and round(now) != original.size:
            if time.monotonic() > until:
                raise ActuatorError(
                    f"the original size {original.size} of {original.name} could not be restored:"
                    f" {now:g} is in force still"
                )
            time.sleep(SETTLING / 10.0)
        self.let_go()

    def _in_force(self) -> float:
        """Size in force; nan where that does not tell whether an original is back, or cannot be measured."""
        if self._original.snapshot is not None:
            return nan
        try:
            return self.resource.measure_state().size
        except Exception:  # noqa: BLE001 - a sensor that fails is no reason to take a restore for refused
            return nan

    def hold(self) -> None:
        """Let measuring steer no longer, and restore what it has set; the journal keeps the original.

        For a resource whose size is all that is steered this does nothing.

        Raises
        ------
        ActuatorError
            The resource did not take it; call again.
        """
        resource: Any = self.resource
        if self._held or getattr(resource, "steers_while_measuring", False):
            resource.steers_while_measuring = False
            self._held = True
            if self._kept:
                restore(self._original, resource)

    def go_on(self) -> None:
        """End what `hold` has begun."""
        if self._held:
            resource: Any = self.resource
            resource.steers_while_measuring = True
            self._held = False

    def let_go(self) -> None:
        """Strike the original out without putting it back: what is set now is somebody's wish."""
        if self._kept:
            self._journal.forget(self._original)
            self._original = replace(self._original, ours=None, snapshot=None, size=0)
            self._kept = False

    def _renew(self) -> None:
        """Strike out what is not to be put back any more: nothing of ours is in force at such a moment."""
        if self.found_anew != self._found_anew:
            self.let_go()
            self._original = replace(self._original, size=0)
            self._found_anew = self.found_anew

    def _look_first(self) -> ResourceState:
        """Measure without steering, and write down what was found: from here on measuring changes it."""
        resource: Any = self.resource
        resource.steers_while_measuring = False
        try:
            state: ResourceState = resource.measure_state()
            self._original = replace(self._original, size=max(1, round(state.size)), taken=self._now())
            self._keep()
        except BaseException:
            self._original = replace(self._original, size=0)
            raise
        finally:
            resource.steers_while_measuring = True
        return state

    def _keep_more(self) -> None:
        """Write the snapshot down anew where the resource has found more, and changed none of that yet."""
        found_more = getattr(self.resource, "found_more", 0)
        if self._kept and found_more != self._found_more:
            self._original = replace(self._original, snapshot=snapshot(self.resource))
            self._journal.renew(self._original)
            self._found_more = found_more

    def _keep(self) -> None:
        self._found_more = getattr(self.resource, "found_more", 0)
        self._original = replace(self._original, snapshot=snapshot(self.resource))
        self._journal.keep(self._original)
        self._kept = True

    def _note(self, size: int) -> None:
        low, high = self._original.ours or (size, size)
        ours = (min(low, size), max(high, size))
        if ours == self._original.ours:
            return
        self._journal.ours(self._original.key, ours)
        self._original = replace(self._original, ours=ours)


def snapshot(resource: Resource) -> Mapping[str, object] | None:
    """Take the whole setting of a resource; None if its size is all there is."""
    take = getattr(resource, "snapshot", None)
    taken: Mapping[str, object] | None = None if take is None else take()
    return taken


def restore(original: Original, resource: Resource) -> None:
    """Put an original back.

    Raises
    ------
    ActuatorError
        The resource did not take it.
    """
    try:
        if original.snapshot is not None and hasattr(resource, "restore"):
            resource.restore(original.snapshot)
        else:
            resource.apply_control(original.size)
    except Exception as error:
        raise ActuatorError(
            f"the original size {original.size} of {original.name} could not be restored: {error}"
        ) from error
