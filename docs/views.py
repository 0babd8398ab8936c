"""Draws the pictures of grafana.md from simulated resources: `python docs/views.py`.

The same code gives the same files.
"""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from quantum_control import QuantumController
from quantum_control.daemon.top import ordered, table
from quantum_control.monitoring.plot import draw
from quantum_control.monitoring.recorded import course_of_csv
from quantum_control.simulation.loads import LOADS
from quantum_control.simulation.plants import FluidQueue, PlantResource

PICTURES = Path(__file__).parent / "pictures"

STEPS = 600
"""Intervals of the history."""

LATER = 150
"""Intervals after which the terminal is drawn."""

SHOWN = {
    "api-threads": ("bursts", "optomechanical", "active"),
    "orders-db": ("periodic", "parametric", "active"),
    "reports-db": ("steady", "coherent", "shadow"),
    "search-heap": ("bursts", "auto", "shadow"),
}
"""Name, load, law and mode of what the terminal shows."""


def main() -> None:
    """Draw both pictures."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "history.csv"
        controller = simulated("bursts", "optomechanical")
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["time", "demand", "size", "wanted", "force"])
            for _ in range(STEPS):
                decision = controller.optimize()
                state = decision.state
                writer.writerow([decision.time, state.demand, state.size, decision.wanted, decision.force])
        draw(course_of_csv(path), PICTURES / "history.svg")
    console = Console(record=True, width=100, file=io.StringIO())
    console.print(table(ordered([status(name, *what) for name, what in SHOWN.items()])))
    svg = console.export_svg(title="quantum-control top")
    # Without the fonts, which rich would have fetched from elsewhere.
    plain = re.sub(r"@font-face \{.*?\}\n", "", svg, flags=re.DOTALL)
    (PICTURES / "top.svg").write_text(plain, encoding="utf-8")


def simulated(load: str, law: str) -> QuantumController:
    """Give a controller of a queue under a load."""
    plant = FluidQueue()
    resource = PlantResource(plant, LOADS[load].arrivals(1, seed=1)[:, 0], size=40)
    return QuantumController(resource, law, clock=plant.clock)


def status(name: str, load: str, law: str, mode: str) -> dict[str, object]:
    """Say what a daemon would of such a resource after some steps."""
    controller = simulated(load, law)
    for _ in range(LATER):
        decision = controller.optimize()
    return {
        "resource": name,
        "mode": mode,
        "state": decision.outcome.value,
        "size": controller.size,
        "wanted": decision.wanted,
        "demand": decision.state.demand,
        "force": decision.force,
        "paused": "",
        "why": decision.reasons,
    }


if __name__ == "__main__":
    main()
