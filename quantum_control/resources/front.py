"""What the fronts of buffers and of memory have in common: they hand everything on to what is steered."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import TracebackType
from typing import Any, Protocol, Self, cast

from quantum_control.core.errors import ConfigError, unknown_name
from quantum_control.core.resource import Resource, ResourceState


class _Restorable(Protocol):
    """What a front asks of the classes behind it, besides what a resource must have."""

    def snapshot(self) -> dict[str, object]: ...

    def restore(self, snapshot: Mapping[str, object], /) -> None: ...

    def release(self) -> None: ...


class Front:
    """Hands the calls of a `Resource` on to `steered`; to be inherited before `Resource`.

    As a context manager it calls `release()` at the end.
    """

    steered: Resource
    """The instance of the class that was chosen."""

    def _choose(
        self, what: str, control: str, ways: Mapping[str, tuple[str, str]], options: dict[str, Any]
    ) -> None:
        """Make an instance of the class that `control` names, with its bounds and unit.

        `ways` has module and class of each control; the module is imported only now.

        Raises
        ------
        ConfigError
            The control is unknown, or does not take these options; and what the class raises.
        """
        if control not in ways:
            raise ConfigError(unknown_name(f"control of {what}", control, ways))
        module, name = ways[control]
        kind = getattr(import_module(f"quantum_control.resources.{module}"), name)
        try:
            self.steered = kind(**options)
        except TypeError as error:
            raise ConfigError(f"control={control!r}: {error}") from error
        self.unit = self.steered.unit
        self.min_size = self.steered.min_size
        self.max_size = self.steered.max_size

    @property
    def outlives_boot(self) -> bool:
        """Whether what is set here is there still when this machine has started anew."""
        return bool(getattr(self.steered, "outlives_boot", False))

    @property
    def found_anew(self) -> int:
        """How often `snapshot()` has changed, as it was started anew or set by somebody else."""
        return int(getattr(self.steered, "found_anew", 0))

    @property
    def started_anew(self) -> tuple[int, int]:
        """How often it was started anew, and the size that it was started with the last time."""
        started: tuple[int, int] = getattr(self.steered, "started_anew", (0, 0))
        return started

    @property
    def steers_while_measuring(self) -> bool:
        """Whether measuring changes something; set to False, it only looks."""
        return bool(getattr(self.steered, "steers_while_measuring", False))

    @steers_while_measuring.setter
    def steers_while_measuring(self, steers: bool) -> None:
        steered: Any = self.steered
        if hasattr(steered, "steers_while_measuring"):
            steered.steers_while_measuring = steers

    def measure_state(self) -> ResourceState:
        """Measure what is steered; errors as of its class."""
        return self.steered.measure_state()

    def apply_control(self, new_size: int) -> None:
        """Set the size of what is steered; errors as of its class."""
        self.steered.apply_control(new_size)

    def get_metrics(self) -> dict[str, float]:
        """Figures of what is steered."""
        return self.steered.get_metrics()

    def snapshot(self) -> dict[str, object]:
        """The whole setting as it was found, for `restore`."""
        return cast(_Restorable, self.steered).snapshot()

    def restore(self, snapshot: Mapping[str, object]) -> None:
        """Put back what `snapshot()` returned, also in another process; errors as of the class."""
        cast(_Restorable, self.steered).restore(snapshot)

    def release(self) -> None:
        """Take away what was put in place to steer, and close what is open; for after `stop()`."""
        cast(_Restorable, self.steered).release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.steered!r}>"
