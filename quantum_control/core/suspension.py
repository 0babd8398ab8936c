"""When a resource that fails is handed back, and when it is taken up again."""

from __future__ import annotations

from collections.abc import Iterable

from quantum_control.core.actuator import Actuator
from quantum_control.core.chain import Keeping, Link
from quantum_control.core.errors import ActuatorError


class Suspension:
    """Hands a resource back after `limit` failures in a row, until as many good measurements in a row.

    While one of the `links` keeps a size that somebody wants, that is left
    instead, and handed back once nobody does.
    """

    def __init__(self, actuator: Actuator, limit: int, links: Iterable[Link] = ()) -> None:
        self._actuator = actuator
        self._limit = limit
        self._keeping = [link for link in links if isinstance(link, Keeping)]
        self._good = 0  # good measurements in a row since the suspension began
        self.failures = 0
        """Failures so far."""
        self.in_a_row = 0
        """Failures since the last step that went well."""
        self.active = False
        """Whether the resource is handed back."""

    @property
    def kept(self) -> bool:
        """Whether somebody wants the size as it is."""
        return any(link.keeps for link in self._keeping)

    def failed(self) -> str:
        """Count a failure; why the original size was not restored, if it had to be and was not."""
        self.failures += 1
        self.in_a_row += 1
        self._good = 0
        self.active = self.active or self.in_a_row >= self._limit
        if not self.active:
            return ""
        return "the size is left as somebody wants it" if self.kept else self._hand_back()

    def succeeded(self) -> None:
        """Take note of a step that went well."""
        self.in_a_row = 0

    def holds(self) -> str:
        """Why the control is not taken up yet, at a good measurement; nothing once it may."""
        self.in_a_row = 0
        refused = "" if self.kept else self._hand_back()  # only does something if it did not before
        self._good = 0 if refused else self._good + 1
        if self._good < self._limit:
            return refused or "waiting for good measurements"
        self.active = False
        return ""

    def _hand_back(self) -> str:
        try:
            self._actuator.restore()
        except ActuatorError as error:
            return str(error)
        return ""
