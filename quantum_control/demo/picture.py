"""The picture of `quantum-control demo --plot FILE`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from quantum_control.core.errors import ConfigError
from quantum_control.demo.load import SLOT, FloatArray, Load
from quantum_control.demo.run import Played

INSTALL = "pip install 'quantum-control[plot]'"

BIN = 0.1
"""Seconds over which waits are averaged for the eye."""

LEAST = 1e-3
"""Seconds; shorter waits are drawn there."""

STEERED = "tab:blue"
OTHERS = ("tab:gray", "tab:green", "tab:purple", "tab:brown", "tab:pink", "tab:olive")


def check(path: Path) -> None:
    """Find out before the run whether it can be drawn after it.

    Raises
    ------
    ConfigError
        matplotlib is missing, does not know the format, or the file cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError(f"--plot needs matplotlib, which is not installed: {INSTALL}") from error
    known = Figure().canvas.get_supported_filetypes()
    if path.suffix[1:].lower() not in known:
        raise ConfigError(f"--plot {path}: end the name in one of {', '.join(f'.{each}' for each in known)}")
    new = not path.exists()
    try:
        path.open("ab").close()
        if new:
            path.unlink()
    except OSError as error:
        raise ConfigError(f"--plot {path}: {error.strerror}; name a file that can be written") from error


def draw(path: Path, load: Load, played: Mapping[str, Sequence[Played]]) -> None:
    """Draw demand and sizes above, waits below, over the time of the load; the last arm on top."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams["svg.hashsalt"] = "quantum_control"  # the same figures give the same file
    figure = Figure(figsize=(9.0, 5.2), layout="constrained")
    sizes, waits = figure.subplots(2, 1, sharex=True)
    time = np.arange(load.demand.size) * SLOT
    sizes.fill_between(time, load.demand, step="post", color="tab:orange", alpha=0.35, label="demand")
    colours = [OTHERS[index % len(OTHERS)] for index in range(len(played) - 1)]
    for (name, each), colour in zip(played.items(), [*colours, STEERED], strict=True):
        line = {"color": colour, "label": name, "linewidth": 1.4}
        sizes.step(*_sizes(load, each), where="post", **line)
        waits.step(*_waits(load, each), where="post", **line)
    sizes.set_ylabel("threads")
    figure.legend(*sizes.get_legend_handles_labels(), loc="outside upper center", ncols=len(played) + 1)
    waits.set_ylabel("wait of the tasks due then, ms")
    waits.set_yscale("log")
    waits.yaxis.set_major_formatter("{x:g}")
    waits.set_xlabel("time in the load, s")
    waits.set_xlim(0.0, load.seconds)
    for panel in (sizes, waits):
        panel.grid(alpha=0.3)
    figure.savefig(path, dpi=120, metadata={"Date": None} if path.suffix == ".svg" else None)


def _sizes(load: Load, played: Sequence[Played]) -> tuple[FloatArray, FloatArray]:
    """Times and threads, without what came after the end of a segment."""
    times, threads = [], []
    start = 0.0
    for segment, each in zip(load.segments, played, strict=True):
        for sample in each.samples:
            if sample.time < segment.seconds:
                times.append(start + sample.time)
                threads.append(float(sample.threads))
        start += segment.seconds
    return np.array(times), np.array(threads)


def _waits(load: Load, played: Sequence[Played]) -> tuple[FloatArray, FloatArray]:
    """Times, and mean waits in ms; where nothing was due the last one stands."""
    times, means = [], []
    start = 0.0
    for segment, each in zip(load.segments, played, strict=True):
        slot = (segment.due / BIN).astype(np.intp)
        for index in np.unique(slot):
            times.append(start + index * BIN)
            means.append(1e3 * max(float(each.waits[slot == index].mean()), LEAST))
        start += segment.seconds
    return np.array(times), np.array(means)
