"""The size of a resource as it was found, as it is ordered and as it is in force."""

from __future__ import annotations

import logging
from math import nan

from quantum_control.core.errors import ActuatorError
from quantum_control.core.resource import Resource

_log = logging.getLogger("quantum_control")

PATIENCE = 3
"""Intervals, beyond the delay, after which a size in force that is not the one ordered, nor on its
way there, is taken as it is."""


class Actuator:
    """Orders sizes, notices when others are in force, and puts back the one that was found."""

    def __init__(self, resource: Resource) -> None:
        self._resource = resource
        self.original = 0
        """Size found at the first measurement, or when the resource was found anew; 0 before it."""
        self.size = 0
        """Size last ordered; at first the original, 0 before there is one."""
        self.exact: float = nan
        """`size` with the fraction of a unit that forces have added up to since it was ordered: without
        it a weak force on a small size would be rounded away for ever. At most half a unit off `size`,
        and none after an order, so that a size between two wishes does not chatter."""
        # An order has failed, or was given up, so that what is or will be in force may be neither the old
        # size nor the new.
        self._doubtful = False
        self._seen = nan  # size in force at the last measurement
        self._found_anew = 0  # of the resource, when the original was found
        self._astray = 0  # measurements in a row at which `_seen` was not `size`, nor closer to it
        self._told = nan  # size in force that was last logged as strange, so that each is told once

    def see(self, size: float, delay: int) -> None:
        """Take note of the size in force, `delay` intervals after it was ordered.

        A resource may have `found_anew`, how often it has come upon another setting
        that is to be put back in the end: of a JVM that was started anew, or by
        somebody else's hand. Its size is the original then.
        """
        found_anew = getattr(self._resource, "found_anew", 0)
        if not self.original or found_anew != self._found_anew:
            self._found_anew = found_anew
            self._go_on_from(size)
            self.original = self.size
            return
        seen, self._seen = self._seen, size
        if abs(size - self.size) < 1.0 or (size - seen) * (self.size - seen) > 0.0:
            self._astray = 0
            return
        self._astray += 1
        if self._astray <= PATIENCE + delay:
            return
        if size != self._told:
            self._told = size
            _log.warning(
                "the size of %s is %g, not %d as ordered; going on from there",
                type(self._resource).__name__,
                size,
                self.size,
            )
        self._go_on_from(size)
        self._doubtful = True  # the order may still come into force

    def order(self, size: int) -> None:
        """Set the size."""
        self._doubtful = True
        self._resource.apply_control(size)
        self._doubtful = False
        self.size = size
        self.exact = float(size)

    def restore(self) -> None:
        """Put the original size back, if there is another.

        Raises
        ------
        ActuatorError
            The resource did not take it. Calling again tries again.
        """
        if self.size == self.original and not self._doubtful:
            return
        try:
            self.order(self.original)
        except Exception as error:
            raise ActuatorError(
                f"the original size {self.original} could not be restored (now {self.size}): {error}"
            ) from error

    def _go_on_from(self, size: float) -> None:
        self.size = max(1, round(size))
        self.exact = float(self.size)
        self._astray = 0
