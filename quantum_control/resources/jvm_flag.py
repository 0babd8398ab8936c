"""Whose a JVM's SoftMaxHeapSize is: as it was found, as it was ordered, or as somebody else has set it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from math import inf

from quantum_control.core.errors import SafetyError
from quantum_control.resources.jvm_ratios import FLAG
from quantum_control.resources.jvm_reading import Jvm

_log = logging.getLogger("quantum_control")


class FlagCustody:
    """The flag of one JVM in our care.

    A value that is neither the one ordered last, nor one of an order that failed
    on its way, is somebody else's: it is left alone for a while, and is what is
    put back from then on.

    Parameters
    ----------
    jvm
        Whose flag it is.
    hands_off
        Seconds for which a value that somebody else has set is left alone.
    clock
        Seconds.

    Raises
    ------
    SensorError
        The JVM cannot be asked.
    """

    def __init__(self, jvm: Jvm, hands_off: float, clock: Callable[[], float]) -> None:
        self._jvm, self._hands_off, self._clock = jvm, hands_off, clock
        self.original = self.ordered = jvm.flag(FLAG)
        """What is put back, and what was ordered last, at first the same."""
        self.found_anew = 0
        """How often there was another original since: of a JVM started anew, or set by somebody else."""
        self._attempted: set[int] = set()  # orders of which it is not known whether they got there
        self._theirs_until = -inf

    @property
    def left_alone(self) -> float:
        """Seconds for which somebody else's value is still left alone; 0 if there is none."""
        return max(0.0, self._theirs_until - self._clock())

    def notice(self, in_force: int) -> None:
        """Notice a value that was not set here."""
        if in_force in self._attempted:
            self.ordered = in_force
        if in_force == self.ordered:
            return
        _log.warning(
            "%s of %r was changed from %d to %d by somebody else; left alone for %g s, and restored",
            FLAG,
            self._jvm,
            self.ordered,
            in_force,
            self._hands_off,
        )
        self.begin(in_force)
        self._theirs_until = self._clock() + self._hands_off

    def begin(self, in_force: int) -> None:
        """Begin anew from a value that was found."""
        self.original = self.ordered = in_force
        self.found_anew += 1
        self._attempted.clear()
        self._theirs_until = -inf

    def order(self, value: int) -> None:
        """Set it and read it back.

        Raises
        ------
        SafetyError
            Somebody else's is left alone, and this is another.
        ActuatorError
            It was not taken, or it is not known whether it was.
        """
        if self.left_alone and value != self.ordered:
            raise SafetyError(
                f"{FLAG} was set to {self.ordered} by somebody else"
                f" and is left alone for another {self.left_alone:.0f} s"
            )
        self._attempted.add(value)
        self._jvm.set_flag(FLAG, value)
        self._attempted.clear()
        self.ordered = value
