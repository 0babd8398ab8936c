"""Whose size a pool has: the one that was found, ours, or somebody else's."""

from __future__ import annotations

import logging
from collections.abc import Callable
from math import inf

from quantum_control.core.errors import QuantumControlError, SafetyError

_log = logging.getLogger("quantum_control")


class PoolCustody:
    """Tells a size that somebody else has set from those that were ordered here, and leaves it alone.

    A size that was ordered and whose order failed may be in force all the same
    (the answer was lost), or come into force yet (the other side hung). It
    counts as ours until an order succeeds.

    Parameters
    ----------
    found
        Size that was found at the beginning.
    hands_off
        Seconds for which a size set by somebody else is left alone.
    clock
        Any callable that returns seconds and does not run backwards.
    """

    def __init__(self, found: int, hands_off: float, clock: Callable[[], float]) -> None:
        self.original = found
        """What is put back in the end."""
        self.ordered = found
        """Size in force as far as is known: as last set here, or as last found."""
        self.theirs = False
        """Whether somebody else has set the size in force, and nothing was ordered since."""
        self._attempted: set[int] = set()  # orders of which it is not known whether they got there
        self._hands_off = hands_off
        self._clock = clock
        self._until = -inf

    @property
    def left_alone(self) -> bool:
        """Whether a size set by somebody else is being left alone now."""
        return self._until > self._clock()

    @property
    def changed(self) -> bool:
        """Whether another size than the original is, or may be, in force."""
        return self.ordered != self.original or bool(self._attempted)

    def notice(self, size: int) -> None:
        """Notice a size that was not set here; a reload or restart brings the original back."""
        if size == self.ordered:
            return
        ordered, self.ordered = self.ordered, size
        if size in self._attempted:
            self.theirs = False
            _log.warning("the size is %d: an order whose answer was lost has come into force", size)
        elif size == self.original:
            self.theirs, self._until = False, -inf
            _log.warning("the pool fell back from %d to its original size %d; steering on", ordered, size)
        else:
            self.theirs = True
            self._until = self._clock() + self._hands_off
            _log.warning(
                "the size was changed from %d to %d by somebody else; left alone for %g s",
                ordered,
                size,
                self._hands_off,
            )

    def check(self, size: int) -> None:
        """See that a size may be ordered.

        Raises
        ------
        SafetyError
            Somebody else's is to be left alone.
        """
        left = self._until - self._clock()
        if left > 0.0 and size != self.ordered:
            raise SafetyError(
                f"the size was set to {self.ordered} by somebody else"
                f" and is left alone for another {left:.0f} s"
            )

    def order(self, size: int, write: Callable[[], object]) -> None:
        """Set a size by `write`, whose errors go through; what somebody else has set already stays theirs."""
        if self.theirs and size == self.ordered:
            return
        self._attempted.add(size)
        write()
        self._attempted.clear()
        self.ordered = size
        self.theirs = False

    def put_back(self, size: int, write: Callable[[], object]) -> None:
        """Set, by `write`, the size that was found, here or by another process."""
        self.order(size, write)
        self.original = size
        self._until = -inf


def quietly(give_back: Callable[[], object]) -> None:
    """Give a pool back where nobody is left to be told of an error, which is logged."""
    try:
        give_back()
    except QuantumControlError as error:
        _log.warning("%s", error)
