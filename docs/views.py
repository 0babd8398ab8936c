"""Draws the pictures of page.md and grafana.md from simulated resources: `python docs/views.py`.

That of the history is the same each time; those of the terminal and of the page show a daemon that runs
for a minute, and so differ in their figures. The page needs Chromium and its driver.
"""

from __future__ import annotations

import csv
import io
import re
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.support.wait import WebDriverWait
from simulated import daemon

from quantum_control import QuantumController
from quantum_control.bench.browser import DARK, LIGHT, browser, prefer
from quantum_control.daemon.control import ask
from quantum_control.daemon.standing import ordered
from quantum_control.daemon.top import table
from quantum_control.monitoring.plot import draw
from quantum_control.monitoring.recorded import course_of_csv
from quantum_control.simulation.loads import LOADS
from quantum_control.simulation.plants import FluidQueue, PlantResource

PICTURES = Path(__file__).parent / "pictures"

STEPS = 600
"""Intervals of the history."""

WATCHED_SECONDS = 66.0
"""For which the daemon runs before it is drawn: the page's curves are full then."""

WIDTH = 1320
"""Of the page."""

PAGES = {
    "page-light": ("#/", LIGHT, 850),
    "page-dark": ("#/", DARK, 850),
    "page-shadow-light": ("#/search-heap", LIGHT, 1200),
    "page-active-dark": ("#/api-threads", DARK, 1200),
}
"""Picture of the page: address, what the browser prefers, height."""


def main() -> None:
    """Draw all of them."""
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
    with daemon() as (page, socket):
        time.sleep(WATCHED_SECONDS)
        with browser(WIDTH) as driver:
            for name, (view, scheme, height) in PAGES.items():
                picture(driver, page + view, scheme, height, PICTURES / f"{name}.png")
        console = Console(record=True, width=110, file=io.StringIO())
        console.print(table(ordered(ask(socket, do="status"))))
    svg = console.export_svg(title="quantum-control top")
    # Without the fonts, which rich would have fetched from elsewhere.
    plain = re.sub(r"@font-face \{.*?\}\n", "", svg, flags=re.DOTALL)
    (PICTURES / "top.svg").write_text(plain, encoding="utf-8")


def picture(driver: WebDriver, address: str, scheme: dict[str, object], height: int, path: Path) -> None:
    """Draw the page once it shows something."""
    screen = {"width": WIDTH, "height": height, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    prefer(driver, scheme)
    driver.get("about:blank")  # or the browser would go on in the same page
    driver.get(address)
    WebDriverWait(driver, 60).until(
        lambda page: page.execute_script("return document.querySelector('svg path.demand[d^=M]') !== null")
    )
    driver.save_screenshot(str(path))


def simulated(load: str, law: str) -> QuantumController:
    """Give a controller of a queue under a load."""
    plant = FluidQueue()
    resource = PlantResource(plant, LOADS[load].arrivals(1, seed=1)[:, 0], size=40)
    return QuantumController(resource, law, clock=plant.clock)


if __name__ == "__main__":
    main()
