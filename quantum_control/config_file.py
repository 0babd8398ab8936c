"""Reading the configuration file: every error at once, with its line, what is allowed and what is near."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, ValidationError

from quantum_control import config_lines
from quantum_control.config import Config, ResourceSection
from quantum_control.config_problems import Problem, problems_between
from quantum_control.core.errors import ConfigError, unknown_name

PREFIX = "QUANTUM_CONTROL_"
"""Of environment variables that override the file: QUANTUM_CONTROL_RESOURCES__WEB__MODE=active."""

OF_COMMANDS = frozenset({"QUANTUM_CONTROL_SOCKET"})
"""Variables that begin like that and are no part of the configuration."""

SHOWN = 60
"""Characters of a wrong value that are repeated in an error."""

HIDDEN = frozenset({"options", "password", "store"})
"""Keys under which a password may stand that nobody should have put there: no error repeats what does."""


def read_config(path: str | os.PathLike[str], environment: Mapping[str, str] = os.environ) -> Config:
    """Read and check a configuration.

    Parameters
    ----------
    path
        A file that ends in .toml, .yaml or .yml.
    environment
        Variables that begin with QUANTUM_CONTROL_ override what the file says.

    Raises
    ------
    ConfigError
        The file cannot be read or is wrong; the message has one line for each
        error, with file, line and key.
    """
    path = Path(path)
    content, lines = _parsed(path)
    origins: dict[tuple[str, ...], str] = {}
    problems = list(_override(content, environment, origins))
    merged = _with_defaults(content)
    config = None
    try:
        config = Config.model_validate(merged)
    except ValidationError as error:
        problems += [_explained(each) for each in error.errors(include_url=False)]
    problems += problems_between(merged)
    if config is not None and not problems:
        return config
    told: dict[str, int] = {}
    for found, what in problems:
        where = found
        if len(where) > 2 and where[0] == "resources" and _has(merged, where) and not _has(content, where):
            where = ("defaults", *where[2:])  # told once, where it stands
        place, line = _place(path, where, lines, origins)
        told.setdefault(f"{place}: {'.'.join(where) or 'the file'}: {what}", line)
    # In the order of the file; what comes of the environment stands first.
    raise ConfigError("\n".join(sorted(told, key=lambda each: told[each])))


def _parsed(path: Path) -> tuple[dict[str, Any], config_lines.Lines]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"configuration {str(path)!r} cannot be read: {error}") from error
    try:
        if path.suffix == ".toml":
            content: object = tomllib.loads(text)
            return cast(dict[str, Any], content), config_lines.of_toml(text)
        if path.suffix in (".yaml", ".yml"):
            content, lines = config_lines.of_yaml(text)
        else:
            raise ConfigError(
                f"configuration {str(path)!r}: name it .toml, .yaml or .yml, so that it is known which"
            )
    except (ValueError, RecursionError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{path}: {error}") from error
    if content is None:
        return {}, lines
    if not isinstance(content, dict):
        raise ConfigError(
            f"{path}:1: a mapping is needed, such as `resources:`, not {type(content).__name__}"
        )
    return content, lines


def _with_defaults(content: dict[str, Any]) -> dict[str, Any]:
    """Give every resource what it does not say itself, one section deep."""
    merged = deepcopy(content)
    defaults, resources = merged.get("defaults"), merged.get("resources")
    if not isinstance(defaults, dict) or not isinstance(resources, dict):
        return merged
    for name, section in resources.items():
        if isinstance(section, dict):
            both = {**deepcopy(defaults), **section}
            for key, value in defaults.items():
                if isinstance(value, dict) and isinstance(section.get(key), dict):
                    both[key] = {**value, **section[key]}
            resources[name] = both
    return merged


def _override(
    content: dict[str, Any], environment: Mapping[str, str], origins: dict[tuple[str, ...], str]
) -> Iterator[Problem]:
    for variable in sorted(environment):
        if not variable.startswith(PREFIX) or variable in OF_COMMANDS:
            continue
        where: list[str] = []
        inner: Any = content
        steps = variable.removeprefix(PREFIX).split("__")
        for step in steps:
            known = {_spoken(key): key for key in (*_keys_at(tuple(where)), *_text_keys(inner))}
            if step not in known:
                yield (f"${variable}",), unknown_name("key", step.lower(), known.values())
                break
            where.append(known[step])
            inner = inner.get(known[step]) if isinstance(inner, dict) else None
        else:
            _set(content, where, _value(environment[variable]))
            origins[tuple(where)] = f"${variable}"


def _text_keys(content: object) -> list[str]:
    return [str(key) for key in content] if isinstance(content, dict) else []


def _spoken(key: str) -> str:
    return re.sub(r"[^A-Z0-9]", "_", key.upper())


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _set(content: dict[str, Any], where: list[str], value: Any) -> None:
    for step in where[:-1]:
        inner = content.setdefault(step, {})
        if not isinstance(inner, dict):
            return  # the file is wrong there already, which is told
        content = inner
    content[where[-1]] = value


def _keys_at(where: tuple[str, ...]) -> list[str]:
    """Keys that may stand in the section at `where`."""
    if where == ("defaults",):
        return list(ResourceSection.model_fields)
    section: Any = Config
    for step in where:
        section = _inner(section, step)
    return list(section.model_fields) if section is not None else []


def _inner(section: Any, step: str) -> Any:
    """Model of what stands under `step` of a model, or of a mapping to models; None if it is no model."""
    if isinstance(section, tuple):
        return section[0]
    field = section.model_fields.get(step) if section is not None else None
    kind = field.annotation if field is not None else None
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind
    values = [each for each in getattr(kind, "__args__", ()) if isinstance(each, type)]
    models = [each for each in values if issubclass(each, BaseModel)]
    if type(None) in values:  # a section that may be left out
        return next(iter(models), None)
    return _Mapping(models) or None


class _Mapping(tuple[Any, ...]):
    """Models of the values of a mapping; the mapping itself has any keys."""

    __slots__ = ()
    model_fields: Mapping[str, object] = {}


def _explained(error: Any) -> Problem:
    where = tuple(str(step) for step in error["loc"] if step != "[key]")
    kind, given = error["type"], error["input"]
    if kind == "extra_forbidden":
        return where, unknown_name("key", where[-1], _keys_at(where[:-1]))
    if kind == "missing":
        return where, "is missing"
    if HIDDEN.intersection(where) or isinstance(given, dict | list) or kind in ("model_type", "dict_type"):
        return where, error["msg"]  # nor one of a section that stands in a wrong place, or is a text
    shown = repr(given)
    shown = f"{shown[:SHOWN]}…" if len(shown) > SHOWN else shown
    if kind in ("enum", "literal_error"):
        allowed = re.findall(r"'([^']+)'", error["ctx"]["expected"])
        return where, unknown_name("value", str(given), allowed) + f"; allowed: {', '.join(allowed)}"
    if kind == "string_pattern_mismatch":
        return where, f"{shown} is not allowed; it has to match {error['ctx']['pattern']}"
    wanted = error["msg"].removeprefix("Input should be ")
    return where, f"{shown} is not allowed; it should be {wanted}"


def _place(
    path: Path,
    where: tuple[str, ...],
    lines: config_lines.Lines,
    origins: Mapping[tuple[str, ...], str],
) -> tuple[str, int]:
    """File and line, or the variable of the environment, that an error is about."""
    if where and where[0].startswith("$"):
        return "environment", 0
    for length in range(len(where), -1, -1):
        if where[:length] in origins:
            return origins[where[:length]], 0
        if where[:length] in lines:
            return f"{path}:{lines[where[:length]]}", lines[where[:length]]
    return f"{path}:1", 1


def _has(content: Any, where: tuple[str, ...]) -> bool:
    for step in where:
        if not isinstance(content, dict) or step not in content:
            return False
        content = content[step]
    return True
