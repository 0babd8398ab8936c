"""The picture of `quantum-control bench laws`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from quantum_control.bench.contest import FORESIGHT, OURS, TUNED
from quantum_control.bench.standings import Standings

SHOWN = 3.0
"""Right end of the axis: what costs more than this many foresights is drawn at the edge."""


def draw(path: Path, standings: Standings, names: Sequence[str], loads: Sequence[str]) -> None:
    """Draw cost over perfect foresight, a row for each law and a panel for each load, into `path`."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams["svg.hashsalt"] = "quantum_control"  # the same figures give the same file
    laws = [law for law in names if law != FORESIGHT]
    figure = Figure(figsize=(2.1 * len(loads) + 1.5, 0.26 * len(laws) + 1.4), layout="constrained")
    axes = figure.subplots(1, len(loads), sharey=True, squeeze=False)[0]
    for panel, load in zip(axes, loads, strict=True):
        for row, law in enumerate(reversed(laws)):
            standing = standings.standing(law, load)
            if standing is None:
                continue
            colour = "tab:blue" if law.rstrip(TUNED) in OURS else "tab:gray"
            panel.plot([standing.low, standing.high], [row, row], color=colour, linewidth=2)
            panel.plot(min(standing.to_foresight, SHOWN), row, "o", color=colour, markersize=4)
        panel.axvline(1.0, color="black", linewidth=0.8)
        panel.set_xlim(0.95, SHOWN)
        panel.set_title(load, fontsize=9)
        panel.grid(axis="x", alpha=0.3)
    axes[0].set_yticks(range(len(laws)), list(reversed(laws)), fontsize=8)
    figure.supxlabel("cost over perfect foresight (1 is the bound)", fontsize=9)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
