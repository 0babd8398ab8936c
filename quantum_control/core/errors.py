"""The errors that quantum_control raises, all under one base."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class QuantumControlError(Exception):
    """Base of every error raised on purpose by this package."""


class ConfigError(QuantumControlError, ValueError):
    """A parameter or a configuration is wrong; nothing was started or changed."""


class SensorError(QuantumControlError):
    """A measurement is missing or impossible; the size is left as it is."""


class GoneError(SensorError):
    """What was steered has ended, and what was set with it: nothing is left to be put back."""


class ActuatorError(QuantumControlError):
    """A size could not be applied, or the resource did not take it."""


class SafetyError(QuantumControlError):
    """A safety rule forbids the call, such as two controllers on one resource."""


class LifecycleError(QuantumControlError, RuntimeError):
    """A call at the wrong time: a second `start()`, or an action before the first measurement."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """Message for a name that is not known: the nearest one, or all there are."""
    names = {each.casefold(): each for each in sorted(known)}
    near = get_close_matches(name.casefold(), names, n=1)
    hint = f"did you mean {names[near[0]]!r}?" if near else f"known: {', '.join(names.values()) or 'none'}"
    return f"unknown {kind} {name!r}; {hint}"
