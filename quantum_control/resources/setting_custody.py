"""Whose a setting is: as it was found, as it was ordered, or as somebody else has set it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from math import inf
from typing import Generic, TypeVar

from quantum_control.core.errors import ConfigError, SafetyError

_log = logging.getLogger("quantum_control")

HANDS_OFF_SECONDS = 300.0
"""Seconds for which what somebody else has set is left alone: long enough to work by hand, short enough that
what is forgotten is steered again."""

Value = TypeVar("Value", bound=Hashable)


def hands_off_seconds(seconds: float) -> float:
    """Return the seconds if they are some.

    Raises
    ------
    ConfigError
        Negative, infinite or nan.
    """
    if not 0.0 <= seconds < inf:
        raise ConfigError(f"hands_off={seconds!r}: seconds, 0 or more")
    return seconds


class SettingCustody(Generic[Value]):
    """One setting in our care.

    A value that is neither the one ordered last, nor one of an order that failed
    on its way, is somebody else's: it is left alone for a while, and is what is
    put back from then on.

    Parameters
    ----------
    what
        Name of the setting, for messages.
    found
        Value in force at the beginning.
    hands_off
        Seconds for which a value that somebody else has set is left alone.
    clock
        Any callable that returns seconds and does not run backwards.

    Raises
    ------
    ConfigError
        `hands_off` is no number of seconds.
    """

    def __init__(self, what: str, found: Value, hands_off: float, clock: Callable[[], float]) -> None:
        self._what, self._hands_off, self._clock = what, hands_off_seconds(hands_off), clock
        self.original = found
        """What is put back."""
        self.replaced = found
        """What was put back before that; whoever has not measured since still asks for it in the end."""
        self.ordered = found
        """What is in force as far as is known: as ordered last, or as found."""
        self.found_anew = 0
        """How often there was another original since: somebody else's, or of what was started anew."""
        self._attempted: set[Value] = set()  # orders of which it is not known whether they got there
        self._theirs_until = -inf
        self._just_noticed = False

    @property
    def left_alone(self) -> float:
        """Seconds for which somebody else's value is still left alone; 0 if there is none."""
        return max(0.0, self._theirs_until - self._clock())

    @property
    def theirs(self) -> bool:
        """Whether somebody else's value is to stay: it is left alone, or the last look has come upon it.

        Whoever writes originals down has yet to see it then, however short it is left alone.
        """
        return self._just_noticed or self.left_alone > 0.0

    def notice(self, in_force: Value) -> bool:
        """Notice the value in force; true if somebody else has set it."""
        if in_force in self._attempted:
            self.ordered = in_force
        if in_force == self.ordered:
            self._just_noticed = False
            return False
        _log.warning(
            "%s was changed from %s to %s by somebody else; left alone for %g s, and put back in the end",
            self._what,
            self.ordered,
            in_force,
            self._hands_off,
        )
        self.begin(in_force)
        self._just_noticed = True
        self._theirs_until = self._clock() + self._hands_off
        return True

    def begin(self, in_force: Value) -> None:
        """Begin anew from a value that was found."""
        self.replaced = self.original
        self.original = self.ordered = in_force
        self.found_anew += 1
        self._attempted.clear()
        self._just_noticed = False
        self._theirs_until = -inf

    def check(self, value: Value) -> None:
        """See that a value may be ordered.

        Raises
        ------
        SafetyError
            It is `theirs`, and this is another.
        """
        if self.theirs and value != self.ordered:
            raise SafetyError(
                f"{self._what} was set to {self.ordered} by somebody else"
                f" and is left alone for another {self.left_alone:.0f} s"
            )

    def order(self, value: Value, write: Callable[[Value], Value]) -> None:
        """Set a value by `write`, which returns what is in force then, and whose errors go through.

        Raises
        ------
        SafetyError
            As `check` does.
        """
        self.check(value)
        self._attempted.add(value)
        self.ordered = write(value)
        self._attempted.clear()
