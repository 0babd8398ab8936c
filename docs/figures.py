"""Draws the pictures of these pages from the laws themselves: `python docs/figures.py [NAME...]`.

Prints the figures that the pages quote. The same code gives the same files.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure

from quantum_control import QuantumController
from quantum_control.bench.contest import competitor, observer
from quantum_control.core.physics import Objective, PhysicsModel
from quantum_control.core.resource import ResourceState
from quantum_control.physics.optomechanical import Optomechanical
from quantum_control.physics.staffing import Staffing
from quantum_control.simulation.loads import LOADS
from quantum_control.simulation.oscillator import Particle, seen
from quantum_control.simulation.plants.queues import FluidQueue
from quantum_control.simulation.plants.resource import PlantResource
from quantum_control.simulation.rollout import Episode, rollout
from quantum_control.simulation.traffic import FloatArray
from quantum_control.tuning.selection import Auto

PICTURES = Path(__file__).parent / "pictures"
OURS, PEER = "tab:blue", "tab:orange"

BURSTS = {
    "optomechanical": ("bursts", 4, slice(880, 1000)),
    "parametric": ("periodic", 4, slice(1000, 1240)),
    "coherent": ("steady", 4, slice(300, 420)),
}
"""Load, seed and intervals that are drawn of each law."""


def main(names: list[str]) -> None:
    """Draw the pictures of these names, all by default."""
    mpl.rcParams.update({"svg.hashsalt": "quantum_control", "svg.fonttype": "none", "font.size": 9})
    logging.disable(logging.WARNING)  # a delay that is being learnt is told of as a strange size
    for name in names or DRAWN:
        DRAWN[name](name).savefig(PICTURES / f"{name}.svg", metadata={"Date": None})


# ---- a burst of each law -----------------------------------------------------------------------


def steered(law: PhysicsModel, arrivals: FloatArray) -> Episode:
    """What `law` does with `arrivals`, behind the estimator that the controller puts before it."""
    return rollout(law, FluidQueue(), arrivals, observe=observer(law))


def burst(law: str) -> Figure:
    """Demand and sizes above, backlog below, of a law and of the EWMA peer."""
    load, seed, shown = BURSTS[law]
    arrivals = LOADS[load].arrivals(1, seed)
    episodes = {name: steered(competitor(name, load, Objective()), arrivals) for name in (law, "ewma")}
    for name, episode in episodes.items():
        moved = np.abs(np.diff(episode.sizes[:, 0])).mean()
        print(f"{law}.svg, load {load}: {name} costs {episode.cost()[0]:.1f}, moves {moved:.2f} an interval")
    figure, (sizes, backlogs) = _panels()
    _compare(sizes, backlogs, arrivals, episodes, shown, law)
    return figure


def _panels() -> tuple[Figure, tuple[Axes, Axes]]:
    figure = Figure(figsize=(7.5, 3.8), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    return figure, (above, below)


def _compare(
    above: Axes, below: Axes, arrivals: FloatArray, episodes: dict[str, Episode], shown: slice, ours: str
) -> None:
    time = np.arange(shown.start, shown.stop)
    above.fill_between(time, arrivals[shown, 0], step="mid", color="0.85", label="new demand (flow)")
    for name, episode in episodes.items():
        colour = OURS if name == ours else PEER
        above.step(time, episode.sizes[shown, 0], where="mid", color=colour, label=f"size, {name}")
        backlog = np.maximum(episode.demands - episode.sizes, 0.0)[shown, 0]
        below.step(time, backlog, where="mid", color=colour)
    above.set_ylabel("units of size")
    above.set_ylim(bottom=0.0)
    above.legend(loc="upper right", fontsize=8, ncols=3, frameon=False)
    above.margins(x=0.0)
    above.set_ylim(top=1.25 * above.get_ylim()[1])
    below.set_ylabel("backlog")
    below.set_xlabel("interval")


# ---- the selection -----------------------------------------------------------------------------


MEAN_OF = 10
"""Intervals that are drawn as one."""


def selection(name: str) -> Figure:
    """A load that changes in kind, and the law in use."""
    parts = [LOADS[load].arrivals(1, 3, 1000) for load in ("steady", "periodic", "bursts")]
    arrivals = np.concatenate(parts)
    law = Auto(tune=True)
    used: list[int] = []
    watch = observer(law)

    def look(measured: ResourceState) -> ResourceState:
        used.append(0 if law.selector is None else int(law.selector.current[0]))
        return watch(measured)

    episodes = {
        name: rollout(law, FluidQueue(), arrivals, observe=look),
        "ewma": steered(competitor("ewma", "steady", Objective()), arrivals),
    }
    figure, (above, below) = _panels()
    for who, values, colour in (
        ("flow", arrivals, "0.7"),
        ("size, auto", episodes[name].sizes, OURS),
        ("size, ewma", episodes["ewma"].sizes, PEER),
    ):
        means = values[:, 0].reshape(-1, MEAN_OF).mean(axis=1)
        above.plot(MEAN_OF * (np.arange(len(means)) + 0.5), means, color=colour, label=who, linewidth=1.0)
    above.set_ylabel(f"means of {MEAN_OF} intervals")
    above.set_ylim(0.0, 1.25 * above.get_ylim()[1])
    above.legend(loc="upper left", fontsize=8, ncols=3, frameon=False)
    below.step(np.arange(len(used)), used, where="mid", color=OURS)
    below.set_yticks(range(len(law.laws)), [each.name for each in law.laws])
    below.set_xlabel("interval")
    for who, episode in episodes.items():
        print(f"{name}.svg: {who} costs {episode.cost()[0]:.1f}")
    print(f"{name}.svg: law changes at {[int(step) for step in np.flatnonzero(np.diff(used)) + 1]}")
    return figure


# ---- the stability map -------------------------------------------------------------------------

DELAYS = range(4)
GAINS = np.arange(0.05, 2.3, 0.025)
RETRIES = np.arange(0.0, 4.01, 0.25)
SURGE = 400
"""Intervals of a run with a surge in it."""
LAWS = ("optomechanical", "parametric", "coherent")


def stability(name: str) -> Figure:
    """Where a trap is stable: by gain and delay; and the whole controller: by retries and delay."""
    figure = Figure(figsize=(7.5, 6.0), layout="constrained")
    grid = figure.subplots(2, 1, height_ratios=(1, 1.25))
    tops = grid[0].get_subplotspec().subgridspec(1, 2)
    grid[0].remove()
    panels = [figure.add_subplot(spec) for spec in tops]
    for panel, coordinate, title in zip(
        panels,
        ("x", "ordered"),
        ("measured from the size in force", "measured from the size ordered (as here)"),
        strict=True,
    ):
        growth = np.array([_growth(delay, coordinate) for delay in DELAYS])
        mesh = panel.pcolormesh(
            GAINS, DELAYS, np.clip(growth, -1.0, 1.0), cmap="RdBu_r", vmin=-1.0, vmax=1.0, rasterized=True
        )
        limits = [2.0 * np.sin(np.pi / (4 * delay + 2)) for delay in DELAYS]
        if coordinate == "x":
            panel.step([*limits, limits[-1]], [-0.5, 0.5, 1.5, 2.5, 3.5], color="black", where="pre")
        panel.axvline(0.8, color="black", linestyle=":")
        panel.set_title(title, fontsize=9)
        panel.set_xlabel("gain per interval")
        panel.set_yticks(list(DELAYS))
        for delay in DELAYS:
            stable = GAINS[growth[delay] < 0.0]
            print(f"{name}.svg: {coordinate}, delay {delay}: stable up to gain {stable.max():.3f}")
    panels[0].set_ylabel("delay, intervals")
    figure.colorbar(mesh, ax=panels, label="growth per 10 intervals\n(log10, clipped)", shrink=0.9)
    below = grid[1].get_subplotspec().subgridspec(1, len(LAWS))
    grid[1].remove()
    kinds = ListedColormap(["#4393c3", "#fddbc7", "#b2182b"])
    for index, law in enumerate(LAWS):
        panel = figure.add_subplot(below[index])
        ends = np.array([[_surge(law, delay, float(retries)) for retries in RETRIES] for delay in DELAYS])
        panel.pcolormesh(
            RETRIES, DELAYS, ends, cmap=kinds, norm=BoundaryNorm([-0.5, 0.5, 1.5, 2.5], 3), rasterized=True
        )
        panel.set_title(f"surge with retries: {law}", fontsize=9)
        panel.set_xlabel("retries per waiting unit")
        panel.set_ylabel("delay, intervals" if index == 0 else "")
        panel.set_yticks(list(DELAYS))
        for delay in DELAYS:
            bad = np.flatnonzero(ends[delay])
            served = RETRIES[bad[0] - 1 if bad.size else -1]
            print(f"{name}.svg: {law}, delay {delay}: served, and at rest, for all up to {served:g} retries")
    return figure


def _growth(delay: int, coordinate: str) -> FloatArray:
    """log10 of the growth of |x| per 10 intervals under the production trap, for each gain."""
    law = Optomechanical(
        Staffing(0.0, 0.0),
        damping=GAINS,  # type: ignore[arg-type]
        burst=0.0,
        ceiling=1e9,
    )
    particle = Particle(np.full(len(GAINS), 1e-3), delay=delay)
    places = []
    for _ in range(60):
        particle.advance(law.calculate_force(seen(np.clip(getattr(particle, coordinate), -300.0, 300.0))))
        places.append(np.abs(particle.x))
    swing = np.array(places) + 1e-300
    early, late = swing[10:30].max(axis=0), swing[40:60].max(axis=0)
    at_rest = late < 1e-12  # below that the law sees rounding only
    return np.where(at_rest, -np.inf, np.log10(late / early) / 3.0)


def _surge(law: str, delay: int, retries: float) -> int:
    """0 if a surge of three times the load is served although every waiting unit adds `retries`."""
    plant = FluidQueue(delay=delay)

    def arrivals() -> Iterator[float]:
        for step in range(SURGE):
            yield (120.0 if 60 <= step < 90 else 40.0) + retries * min(plant.backlog, 1e12)

    resource = PlantResource(plant, arrivals(), size=50)
    controller = QuantumController(resource, law, clock=plant.clock)
    sizes = [controller.optimize().allowed for _ in range(SURGE)]
    if plant.backlog > 1.0:
        return 2
    return 0 if np.ptp(sizes[-20:]) <= 2 else 1


DRAWN = {**dict.fromkeys(BURSTS, burst), "auto": selection, "stability": stability}
"""What is drawn, by the name of its file."""


if __name__ == "__main__":
    main(sys.argv[1:])
