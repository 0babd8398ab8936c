"""Real load traces: where they are looked for, and how they are read."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from quantum_control.core.errors import ConfigError, unknown_name
from quantum_control.simulation.traffic import FloatArray

TRACES = {
    "nasa": "nasa_http_1s.csv.gz",
    "twitter": "twitter_stream_1s.csv.gz",
    "worldcup": "worldcup98_1min.csv.gz",
}
"""Short names of the traces that the benchmarks use, and their files."""

_VARIABLE = "QC_TRACES"


def traces_directory() -> Path | None:
    """Folder of the traces, None if there is none.

    `QC_TRACES` from the environment, else `shared/traces` beside the checkout
    (the traces are too large for the package and are not installed with it).
    """
    configured = os.environ.get(_VARIABLE)
    if configured:
        path = Path(configured)
        return path if path.is_dir() else None
    path = Path(__file__).resolve().parents[3] / "shared" / "traces"
    return path if path.is_dir() else None


def trace(
    path_or_name: str | Path,
    directory: str | Path | None = None,
    bin: int = 5,
    steps: int | None = None,
) -> FloatArray:
    """Arrivals of a recorded trace, `bin` rows of the file summed into one interval.

    Parameters
    ----------
    path_or_name
        A name in `TRACES`, or the path of a gzip or plain file of one integer
        a line under one header line.
    directory
        Where a name is looked up; `traces_directory()` by default.
    bin
        Rows of the file per interval. A rest at the end is dropped.
    steps
        Cut the trace into consecutive windows of so many intervals, one a run
        (a rest is dropped); None keeps it whole, as one run.

    Returns
    -------
    Array of shape (steps, runs). A recording has no known intensity, hence no
    `Traffic`.
    """
    counts = np.loadtxt(_file(path_or_name, directory), skiprows=1, dtype=np.float64)
    whole: FloatArray = counts[: counts.size // bin * bin].reshape(-1, bin).sum(axis=1)
    if steps is None:
        return whole[:, None]
    runs = whole.size // steps
    if runs < 1:
        raise ConfigError(
            f"trace {str(path_or_name)!r} has {whole.size} bins of {bin}, fewer than steps={steps}"
        )
    windows: FloatArray = np.ascontiguousarray(whole[: runs * steps].reshape(runs, steps).T)
    return windows


def _file(path_or_name: str | Path, directory: str | Path | None) -> Path:
    path = Path(path_or_name)
    if path.suffix:
        return path if directory is None else Path(directory) / path
    if str(path_or_name) not in TRACES:
        raise ConfigError(unknown_name("trace", str(path_or_name), TRACES))
    folder = traces_directory() if directory is None else Path(directory)
    if folder is None:
        raise ConfigError(f"no folder of traces: set {_VARIABLE}, or pass directory=")
    return folder / TRACES[str(path_or_name)]
