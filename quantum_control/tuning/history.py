"""Recorded histories: what was demanded, interval by interval."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator
from math import isfinite
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from quantum_control.core.errors import ConfigError

FLOW = ("flow", "arrivals", "count")
"""Columns that hold new demand per interval, the first found counts; a file of one column needs no name."""

Array = NDArray[np.float64]

SHORTEST = 200
"""Fewest intervals that say anything about a load."""


def read_flow(path: str | Path) -> Array:
    """New demand per interval, as size, from a CSV file (gzip too), shape (intervals,).

    Either a column `flow`, `arrivals` or `count`, or the columns `demand` and
    `size`, from which the flow follows: demand less the backlog
    max(0, demand - size) of the interval before. A file of a single column
    may call it anything.

    Raises
    ------
    ConfigError
        The file or a column is missing, it cannot be unpacked, a value is no
        number of 0 or more (with its line), or there are too few.
    """
    path = Path(path)
    try:
        with _open(path) as file:
            rows = list(_rows(csv.reader(file), path))
    except (OSError, EOFError, zlib.error) as error:  # gzip's too: cut off, or damaged
        raise ConfigError(f"history {str(path)!r} cannot be read: {error}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"history {str(path)!r} is not a CSV file: {error}") from error
    if len(rows) < SHORTEST:
        raise ConfigError(f"history {str(path)!r} has {len(rows)} intervals; {SHORTEST} are the least")
    values = np.array(rows)
    if values.shape[1] == 1:
        single: Array = values[:, 0]
        return single
    demand, size = values.T
    backlog = np.maximum(demand - size, 0.0)
    flow: Array = np.maximum(demand - np.concatenate(([0.0], backlog[:-1])), 0.0)
    return flow


def _open(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8", newline="")
    return path.open(encoding="utf-8", newline="")


def _rows(reader: Iterator[list[str]], path: Path) -> Iterator[list[float]]:
    header = [name.strip().lower() for name in next(reader, [])]
    named = [name for name in FLOW if name in header]
    if named:
        wanted = [header.index(named[0])]
    elif "demand" in header and "size" in header:
        wanted = [header.index("demand"), header.index("size")]
    elif len(header) == 1:
        wanted = [0]
    else:
        raise ConfigError(
            f"history {str(path)!r}: no column of demand among {', '.join(header) or 'none'}; "
            f"name one {', '.join(FLOW)}, or two demand and size"
        )
    for line, row in enumerate(reader, start=2):
        if not row:
            continue
        try:
            values = [float(row[column]) for column in wanted]
        except (ValueError, IndexError):
            raise ConfigError(
                f"history {str(path)!r}, line {line}: {','.join(row)!r} is not numbers"
            ) from None
        if not all(isfinite(value) and value >= 0.0 for value in values):
            raise ConfigError(f"history {str(path)!r}, line {line}: {values} must be 0 or more, and finite")
        yield values
