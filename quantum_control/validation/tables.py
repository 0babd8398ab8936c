"""Files of an experiment: written whole or not at all, and read back after a crash."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from quantum_control.core.errors import ConfigError, QuantumControlError


class UnwritableError(QuantumControlError):
    """Data could not be written; what was there before is there still."""

    def __init__(self, path: Path, error: OSError) -> None:
        super().__init__(
            f"{path} cannot be written: {error.strerror or error}; make room for it, or see to its"
            " permissions: the same command goes on after the last whole pair"
        )


def make(folder: Path) -> None:
    """Make a folder, if it is missing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnwritableError(folder, error) from error


def write(path: Path, text: str) -> None:
    """Write a file anew: after a crash it is the old one or the new one."""
    new = path.with_name(f".{path.name}.new")
    try:
        with new.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as error:
        raise UnwritableError(path, error) from error


def append(path: Path, text: str) -> None:
    """Add to a file in one write, and wait for the disk."""
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise UnwritableError(path, error) from error


def as_lines(rows: Iterable[Sequence[object]]) -> str:
    """Rows of a table, a line each."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def read(path: Path, columns: Sequence[str], later: Collection[str] = ()) -> list[dict[str, str]]:
    """Rows of a table, by its columns; a last line that was cut off by a crash is removed from the file.

    `later` are columns that data of an older version lack.

    Raises
    ------
    ConfigError
        Its columns are others.
    """
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        write(path, whole)
    head, *rows = list(csv.reader(whole.splitlines())) or [[]]
    if head != [column for column in columns if column in head or column not in later]:
        raise ConfigError(
            f"{path}: its columns are {', '.join(head)}, not {', '.join(columns)}; give another --out"
        )
    return [dict(zip(head, cells, strict=True)) for cells in rows]


def described(name: str, columns: Mapping[str, tuple[str, str, str]]) -> dict[str, Any]:
    """Description of a table, by its columns: type, unit, and what it is (Frictionless Data Package)."""
    fields = [
        {"name": column, "type": kind, "unit": unit, "description": what}
        for column, (kind, unit, what) in columns.items()
    ]
    return {"name": name.removesuffix(".csv"), "path": name, "schema": {"fields": fields}}
