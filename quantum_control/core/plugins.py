"""Plug-ins by entry point; the built-ins come in by the same door."""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from quantum_control.core.errors import ConfigError, unknown_name
from quantum_control.core.physics import Objective, PhysicsModel

SINGULAR = {"physics": "physics model", "resources": "resource", "sources": "source", "tuning": "tuning"}
"""What one plug-in of a group is called."""


@cache
def _entry_points(group: str) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=group)}


def names(group: str) -> list[str]:
    """Names registered in `quantum_control.<group>`, sorted."""
    return sorted(_entry_points(f"quantum_control.{group}"))


def load(group: str, name: str) -> Any:
    """Load the object registered as `name` in `quantum_control.<group>`.

    Raises
    ------
    ConfigError
        The name is not registered (the nearest one is suggested), or what it
        names cannot be imported.
    """
    points = _entry_points(f"quantum_control.{group}")
    if name not in points:
        raise ConfigError(unknown_name(SINGULAR.get(group, group), name, points))
    try:
        return points[name].load()
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"{group} {name!r} is registered as {points[name].value!r} but cannot be loaded: {error}"
        ) from error


def law(chosen: object, objective: Objective) -> PhysicsModel:
    """Return the law that `chosen` names, made for the prices of `objective`, or `chosen` if it is one.

    Raises
    ------
    ConfigError
        As `load`; or what is chosen is no law.
    """
    if isinstance(chosen, PhysicsModel):
        return chosen
    if not isinstance(chosen, str):
        raise ConfigError(f"physics_model={chosen!r}: the name of a law or a PhysicsModel instance is needed")
    kind: object = load("physics", chosen)
    if not (isinstance(kind, type) and issubclass(kind, PhysicsModel)):
        raise ConfigError(f"physics model {chosen!r} is registered as {kind!r}, which is no PhysicsModel")
    return kind.create(objective)
