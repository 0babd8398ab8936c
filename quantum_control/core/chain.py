"""Links of the safety chain behind the guard: each may hold a size back, or choose a safer one."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from quantum_control.core.resource import ResourceState


class Link(Protocol):
    """One rule about when a size may be changed. Asked once a step, in order."""

    def allow(self, state: ResourceState, size: int, wanted: int, /) -> tuple[int, str]:
        """Size to apply instead of `wanted`, and why if it differs.

        `size` is the one ordered last: returning it leaves the resource alone.
        `state.size` is what is in force, `state.time` the controller's clock in
        seconds.
        """


@runtime_checkable
class Keeping(Protocol):
    """A link that holds a size because somebody wants it: failures do not put the original back meanwhile."""

    @property
    def keeps(self) -> bool:
        """Whether it does so now."""


class Pause:
    """Holds the size while told to."""

    def __init__(self) -> None:
        self.why = ""
        """Why it is held; empty lets everything pass."""

    @property
    def keeps(self) -> bool:
        """Whether it is told to."""
        return bool(self.why)

    def allow(self, state: ResourceState, size: int, wanted: int, /) -> tuple[int, str]:  # noqa: ARG002 - a Link
        """Hold if told to."""
        return (size, self.why) if self.why else (wanted, "")


class HoldOff:
    """Lets some time pass between two changes.

    Parameters
    ----------
    seconds
        From one change to the next, by the controller's clock; 0 or more.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._until = float("-inf")

    def allow(self, state: ResourceState, size: int, wanted: int, /) -> tuple[int, str]:
        """Hold if the last change was a short time ago."""
        if wanted == size:
            return wanted, ""
        if state.time < self._until <= state.time + self.seconds:  # the second half: a clock that went back
            return size, "hold-off"
        self._until = state.time + self.seconds
        return wanted, ""
