"""What is wrong with a configuration beyond the types of its values."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from quantum_control.config import resource_type
from quantum_control.core.errors import ConfigError, unknown_name
from quantum_control.core.plugins import names
from quantum_control.core.quiet import QuietHours
from quantum_control.core.secret import Secret
from quantum_control.monitoring.endpoint import endpoint_fault

TOGETHER = {"certificate": "key", "key": "certificate", "user": "password", "password": "user"}
"""Keys of [metrics], and those without which they mean nothing."""

Problem = tuple[tuple[str, ...], str]
"""Where in the configuration, and what is wrong there."""


def problems_between(content: Mapping[str, Any]) -> Iterator[Problem]:
    """What is wrong with a configuration beyond the types of its values.

    Takes the content as it was read, which may be wrong in any other way too.
    """
    yield from _problems_of_metrics(content.get("metrics"))
    yield from _problems_of_opentelemetry(content.get("opentelemetry"))
    budgets = content.get("budgets")
    resources = content.get("resources")
    for name, section in budgets.items() if isinstance(budgets, dict) else ():
        if not isinstance(section, dict):
            continue
        total, reserve = section.get("total"), section.get("reserve")
        if isinstance(total, int) and isinstance(reserve, int) and 0 < total <= reserve:
            yield ("budgets", str(name), "reserve"), f"{reserve} leaves nothing of total = {total}"
    for name, section in resources.items() if isinstance(resources, dict) else ():
        if not isinstance(section, dict):
            continue
        where = ("resources", str(name))
        law = section.get("physics_model", "optomechanical")
        if isinstance(law, str) and law not in names("physics"):
            yield (*where, "physics_model"), unknown_name("physics model", law, names("physics"))
        budget = section.get("budget")
        if isinstance(budget, str) and budget not in (budgets if isinstance(budgets, dict) else ()):
            yield (*where, "budget"), unknown_name("budget", budget, budgets or ())
        low, high = section.get("min_size"), section.get("max_size")
        if isinstance(low, int) and isinstance(high, int) and low > high:
            yield (*where, "min_size"), f"{low} is above max_size = {high}"
        quiet = section.get("quiet")
        try:
            if isinstance(quiet, list) and all(isinstance(times, str) for times in quiet):
                QuietHours(quiet)
        except ConfigError as error:
            yield (*where, "quiet"), str(error)
        yield from _problems_of_kind(where, section.get("kind"), section.get("options", {}))


def _problems_of_metrics(section: object) -> Iterator[Problem]:
    if not isinstance(section, dict):
        return
    for key, other in TOGETHER.items():
        if section.get(key) is not None and section.get(other) is None:
            yield ("metrics", key), f"needs {other!r} as well"
    password = section.get("password")
    if isinstance(password, str):
        try:
            Secret("password", password)
        except ConfigError as error:
            yield ("metrics", "password"), str(error)


def _problems_of_opentelemetry(section: object) -> Iterator[Problem]:
    endpoint = section.get("endpoint") if isinstance(section, dict) else None
    if isinstance(endpoint, str) and (fault := endpoint_fault(endpoint)):
        yield ("opentelemetry", "endpoint"), fault


def _problems_of_kind(where: tuple[str, ...], kind: object, options: object) -> Iterator[Problem]:
    if not isinstance(kind, str) or not isinstance(options, dict):
        return
    try:
        made = resource_type(kind)
    except ConfigError as error:
        yield (*where, "kind"), str(error)
        return
    taken = inspect.signature(made).parameters
    if not any(each.kind is each.VAR_KEYWORD for each in taken.values()):
        for option in options:
            if option not in taken:
                yield (*where, "options", str(option)), unknown_name("option", str(option), taken)
    for each in taken.values():
        needed = each.default is each.empty and each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL)
        if needed and each.name not in options:
            yield (*where, "options"), f"option {each.name!r} is missing; {kind!r} needs it"
