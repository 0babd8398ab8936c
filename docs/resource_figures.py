"""Draws the pictures of two resources from the code that steers them: `python docs/resource_figures.py`.

The same code gives the same files.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from quantum_control.core.shares import optimal_shares
from quantum_control.resources.useful_connections import UsefulConnections

PICTURES = Path(__file__).parent / "pictures"

CAPACITIES = {"fast": 100.0, "middle": 50.0, "slow": 25.0}
"""Requests per second of three servers."""

CORES = 4
IN_USE = 40.0
"""Connections in use."""

COMPETING = np.repeat([0.9, 0.2, 0.6], 20)
"""Part of those in use that compete for the server, in each interval."""


def main() -> None:
    """Draw them all."""
    mpl.rcParams.update({"svg.hashsalt": "quantum_control", "svg.fonttype": "none", "font.size": 9})
    for name, figure in (("loadbalancer", loadbalancer()), ("connections", connections())):
        figure.savefig(PICTURES / f"{name}.svg", metadata={"Date": None})


def loadbalancer() -> Figure:
    """Shares of unequal servers by utilisation, and what a request takes with them."""
    total = sum(CAPACITIES.values())
    loads = np.linspace(0.02, 0.97, 96)
    shares = {
        "equal": [dict.fromkeys(CAPACITIES, 1.0 / len(CAPACITIES)) for _ in loads],
        "by capacity": [{name: each / total for name, each in CAPACITIES.items()} for _ in loads],
        "as set here": [optimal_shares(CAPACITIES, float(load * total)) for load in loads],
    }
    figure = Figure(figsize=(7.5, 3.0), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name in CAPACITIES:
        left.plot(loads, [each[name] for each in shares["as set here"]], label=name)
    left.set_ylabel("share of the requests")
    left.legend(frameon=False)
    for way, each in shares.items():
        seconds = [_seconds(share, load * total) for share, load in zip(each, loads, strict=True)]
        right.plot(loads, 1e3 * np.array(seconds), label=way)
    right.set_ylim(0.0, 200.0)
    right.set_ylabel("mean time of a request, ms")
    right.legend(frameon=False, loc="center left")
    for panel in (left, right):
        panel.set_xlabel("rate over capacity")
    return figure


def _seconds(shares: dict[str, float], rate: float) -> float:
    """Mean over the requests of 1/(mu - lambda), M/M/1; nan where a server cannot keep up."""
    times = [
        share / (CAPACITIES[name] - share * rate) if share * rate < CAPACITIES[name] else np.nan
        for name, share in shares.items()
    ]
    return float(np.sum(times))


def connections() -> Figure:
    """Connections that are of use, as the part of them that competes for the server changes."""
    useful = UsefulConnections(CORES)
    limits = []
    for part in COMPETING:
        useful.observe(IN_USE, float(part * IN_USE))
        limits.append(useful.limit)
    figure = Figure(figsize=(7.5, 3.0), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    above.step(range(len(limits)), limits, where="post")
    above.set_ylim(bottom=0.0)
    above.set_ylabel("connections of use")
    below.step(range(len(limits)), COMPETING, where="post", color="0.5")
    below.set_ylim(0.0, 1.0)
    below.set_ylabel("part competing")
    below.set_xlabel("interval")
    return figure


if __name__ == "__main__":
    main()
