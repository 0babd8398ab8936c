"""When a resource that fails is handed back, and when it is taken up again."""

from __future__ import annotations

from quantum_control.core.actuator import Actuator
from quantum_control.core.errors import ActuatorError


class Suspension:
    """Hands a resource back after `limit` failures in a row, until as many good measurements in a row."""

    def __init__(self, actuator: Actuator, limit: int) -> None:
        self._actuator = actuator
        self._limit = limit
        self._good = 0  # good measurements in a row since the suspension began
        self.failures = 0
        """Failures so far."""
        self.in_a_row = 0
        """Failures since the last step that went well."""
        self.active = False
        """Whether the resource is handed back."""

    def failed(self) -> str:
        """Count a failure; why the original size could not be restored, if it had to be and was not."""
        self.failures += 1
        self.in_a_row += 1
        self._good = 0
        self.active = self.active or self.in_a_row >= self._limit
        return self._hand_back() if self.active else ""

    def succeeded(self) -> None:
        """Take note of a step that went well."""
        self.in_a_row = 0

    def holds(self) -> str:
        """Why the control is not taken up yet, at a good measurement; nothing once it may."""
        self.in_a_row = 0
        refused = self._hand_back()  # only does something if it failed before
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
