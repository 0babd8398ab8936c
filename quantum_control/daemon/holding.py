"""What is held of a resource while it is steered, and given away in the end."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from quantum_control.config import ResourceSection
from quantum_control.core.budget_share import Share
from quantum_control.core.journalled import Journalled
from quantum_control.core.resource import Resource
from quantum_control.core.writer import ResourceLock
from quantum_control.daemon.surroundings import Surroundings

_log = logging.getLogger("quantum_control")


class Holding:
    """Lock, original and part of a budget of one resource, as far as there are any.

    Kept until the original is back, however often that has to be tried: whoever
    drops it before leaves nobody who could put it back while this process lives.

    Parameters
    ----------
    name
        What people call the resource.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.resource: Any = None
        self.lock: ResourceLock | None = None
        self.journalled: Journalled | None = None
        self.share: Share | None = None

    def take(
        self,
        section: ResourceSection,
        around: Surroundings,
        kept: Callable[[], bool],
        tell: Iterable[Callable[[int], object]],
    ) -> Resource:
        """Take the resource in hand, and return what is to be steered in its place.

        Parameters
        ----------
        kept
            Whether somebody wants the size as it is, which a budget then leaves.
        tell
            Are told what a budget orders, which is nobody else's doing.
        """
        taken = self.journalled = Journalled(
            self.resource, around.journal, self.name, section.kind, section.options
        )
        narrow(taken, section)
        if section.budget is None:
            return taken
        share = self.share = around.budgets[section.budget].share(taken, section.weight)

        def told(size: int) -> None:
            for each in tell:
                each(size)

        share.kept, share.tell = kept, told
        if share.granted != share.wanted:  # it was cut to join
            told(share.granted // share.pools)
        return share

    def own(self, size: float) -> None:
        """Know a size in force as ours; as in `Journalled`."""
        if self.journalled is not None:
            with self._alone():
                self.journalled.own(size)

    def hold(self) -> None:
        """Let measuring steer no longer; as in `Journalled`."""
        if self.journalled is not None:
            with self._alone():
                self.journalled.hold()

    def go_on(self) -> None:
        """End what `hold` has begun."""
        if self.journalled is not None:
            with self._alone():
                self.journalled.go_on()

    def let_go(self, *, as_it_is: bool) -> None:
        """Put the original back, or leave what is set `as_it_is`, and give away what is held.

        Raises
        ------
        ActuatorError
            It could not be put back. The journal keeps it, and all that was held is
            held still; call again.
        """
        if self.share is not None:
            self.share.close()  # else another member could have it cut meanwhile
        if self.journalled is not None:
            if as_it_is:
                self.journalled.let_go()
            else:
                self.journalled.put_back()
        release = getattr(self.resource, "release", None)
        if callable(release):
            try:
                release()
            except Exception as error:  # noqa: BLE001 - the original is back already
                _log.warning("%s: could not be released: %s", self.name, error)
        if self.lock is not None:
            self.lock.release()
        if self.share is not None:
            self.share.leave()  # last: what it had held is free for others only now that it is given up

    def _alone(self) -> AbstractContextManager[object]:
        return nullcontext() if self.share is None else self.share.lock


def narrow(resource: Resource, section: ResourceSection) -> None:
    """Narrow the bounds of a resource to those of its section."""
    if section.min_size is not None:
        resource.min_size = max(resource.min_size, section.min_size)
    if section.max_size is not None:
        most = resource.max_size
        resource.max_size = section.max_size if most is None else min(most, section.max_size)
