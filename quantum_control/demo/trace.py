"""Recorded arrivals from a file: one count a line, or CSV with the count in the last column."""

from __future__ import annotations

import gzip
import zlib
from math import inf, isnan, nan
from pathlib import Path

import numpy as np
import numpy.typing as npt

from quantum_control.core.errors import ConfigError

FORMAT = "give one count a line, or CSV with the count in the last column; a header line may come first"

GZIP = b"\x1f\x8b"


def read(path: Path) -> npt.NDArray[np.float64]:
    """Counts of a plain or gzip file; a first line without a count is a header.

    Raises
    ------
    ConfigError
        The file cannot be read, a line's last field is not a number of 0 or
        more, or there are no counts.
    """
    what = f"trace {str(path)!r}"
    try:
        content = path.read_bytes()
        if content.startswith(GZIP):
            content = gzip.decompress(content)
        text = content.decode()
    except (OSError, EOFError, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ConfigError(f"{what} cannot be read: {reason}; give a plain or gzip file") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{what} is not text; {FORMAT}") from error
    lines = text.rstrip().splitlines()
    counts = np.array([_count(line) for line in lines])
    header = 1 if lines and isnan(counts[0]) else 0
    if len(lines) == header:
        raise ConfigError(f"{what} is empty; {FORMAT}")
    wrong = np.flatnonzero(~((counts >= 0.0) & (counts < inf)))
    if wrong.size > header:
        line = int(wrong[header])
        raise ConfigError(
            f"{what}, line {line + 1}: {lines[line].strip()[:40]!r} has no number of 0 or more; {FORMAT}"
        )
    return counts[header:]


def _count(line: str) -> float:
    """Last field as a number, nan if it is none."""
    try:
        return float(line.rpartition(",")[2])
    except ValueError:
        return nan
