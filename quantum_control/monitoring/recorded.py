"""What was recorded of a resource, by whoever: columns over time."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantum_control.core.errors import ConfigError

Array = NDArray[np.float64]

NAMES = {
    "demand": ("demand", "flow", "arrivals", "count"),
    "size": ("size",),
    "wanted": ("wanted",),
    "force": ("force",),
}
"""What is looked for, and the columns that it may be in; the first found counts."""

SHOWN = ", ".join(name for group in NAMES.values() for name in group)


@dataclass(frozen=True, slots=True)
class Course:
    """One resource over time; nan where nothing is known."""

    time: Array
    unit: str
    """Of the time, for people."""
    columns: dict[str, Array]
    """Of `demand`, `size`, `wanted` and `force` those that were recorded; demand or size at least."""


def course_of_csv(path: Path) -> Course:
    """Read a CSV file (gzip too) with a line of names; the column `time` may be there, in seconds.

    Raises
    ------
    ConfigError
        The file cannot be read, it has no column of demand or size, or a value
        is no number (with its line).
    """
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8")
            if path.suffix == ".gz"
            else path.open(encoding="utf-8", newline="") as file
        ):
            rows = list(csv.reader(file))
    except (OSError, EOFError, zlib.error) as error:  # gzip's too: cut off, or damaged
        raise ConfigError(f"history {str(path)!r} cannot be read: {error}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"history {str(path)!r} is not a CSV file: {error}") from error
    header = [name.strip().lower() for name in rows[0]] if rows else []
    places = {
        name: next(header.index(each) for each in group if each in header)
        for name, group in (*NAMES.items(), ("time", ("time",)))
        if set(group) & set(header)
    }
    columns: dict[str, list[float]] = {name: [] for name in places}
    for line, row in enumerate(rows[1:], start=2):
        if not row:
            continue
        for name, place in places.items():
            try:
                columns[name].append(float(row[place] or nan))
            except (ValueError, IndexError):
                raise ConfigError(
                    f"history {str(path)!r}, line {line}: {','.join(row)!r} has no number for {header[place]}"
                ) from None
    return _course(columns, str(path))


def course_of_records(records: Iterable[Mapping[str, Any]], where: str) -> Course:
    """Take records of a daemon's audit log, oldest first; `where` is told in errors.

    Raises
    ------
    ConfigError
        There are none, or they are of several resources.
    """
    columns: dict[str, list[float]] = {name: [] for name in ("time", *NAMES)}
    resources = set()
    for each in records:
        resources.add(str(each.get("resource")))
        for name, values in columns.items():
            found = each.get(name)
            values.append(float(found) if isinstance(found, int | float) else nan)
    if len(resources) > 1:
        raise ConfigError(f"{where!r} holds {', '.join(sorted(resources))}: name one with --resource")
    return _course(columns, where)


def _course(columns: dict[str, list[float]], where: str) -> Course:
    made = {name: np.array(values) for name, values in columns.items() if not np.isnan(values).all()}
    times = made.pop("time", None)
    if not {"demand", "size"} & set(made):
        raise ConfigError(
            f"history {where!r}: nothing to draw; a column of demand or size is needed ({SHOWN})"
        )
    if times is None:
        return Course(np.arange(len(next(iter(made.values()))), dtype=np.float64), "interval", made)
    return Course(times - np.nanmin(times), "seconds since the first", made)
