"""What the daemon's page takes with a thousand resources: `python benchmarks/page.py`.

Times it in Chromium, with a new profile each time, and adds up what is sent until all is shown; then the
processor time of the daemon for each look. Prints each figure beside its target.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.request import urlopen

from daemon_cost import START_SECONDS
from selenium.webdriver.support.wait import WebDriverWait

from quantum_control.bench.balancers import free_port
from quantum_control.bench.browser import browser

RESOURCES = 1000
REPEATS = 5
LOOKS = 50
SETTLE_SECONDS = 20.0
"""After which every resource has been begun, and has a course."""

SHOWN = "return document.querySelectorAll('#rows tbody tr').length >= 50"

MEASURED = """
const paint = performance.getEntriesByName("first-contentful-paint")[0].startTime;
const all = [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")];
const rows = all.find((each) => each.name.includes("resources.json"));
return [paint, rows.responseEnd, all.reduce((sum, each) => sum + each.transferSize, 0), all.length];
"""


def main() -> None:
    """Measure."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        info = folder / "plugin" / "page-1.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: page\nVersion: 1\n", "ascii")
        (info / "entry_points.txt").write_text(
            "[quantum_control.resources]\nbenchqueue = daemon_cost:Queue\n", "ascii"
        )
        port = free_port()
        lines = [f"state_directory = {json.dumps(str(folder / 'state'))}"]
        lines += [f"runtime_directory = {json.dumps(str(folder / 'run'))}", '[log]\nlevel = "error"']
        lines += [f"[metrics]\nport = {port}"]
        for number in range(RESOURCES):
            lines.append(f'[resources.r{number:04}]\nkind = "benchqueue"\noptions = {{ number = {number} }}')
        config = folder / "config.toml"
        config.write_text("\n".join(lines) + "\n", "utf-8")
        path = os.pathsep.join([str(info.parent), str(Path(__file__).parent)])
        process = subprocess.Popen(  # noqa: S603 - our own interpreter
            [sys.executable, "-m", "quantum_control", "run", str(config)],
            env={**os.environ, "PYTHONPATH": path},
        )
        try:
            measure(process.pid, f"http://127.0.0.1:{port}/", folder / "run" / "control.sock")
        finally:
            process.terminate()
            process.wait(60)


def measure(supervisor: int, page: str, socket: Path) -> None:
    """Measure the page at an address."""
    until = time.monotonic() + START_SECONDS
    while not socket.exists():
        if time.monotonic() > until:
            raise SystemExit("the daemon did not begin")
        time.sleep(0.05)
    time.sleep(SETTLE_SECONDS)
    paints, shown, sent = [], [], []
    for _ in range(REPEATS):
        with browser() as driver:
            driver.get(page)
            WebDriverWait(driver, 60).until(lambda page: page.execute_script(SHOWN))
            paint, rows, transferred, _ = driver.execute_script(MEASURED)
        paints.append(paint)
        shown.append(rows)
        sent.append(transferred)
    print(
        f"{RESOURCES} resources, first paint: median {statistics.median(paints):.0f} ms, worst of {REPEATS}"
        f" {max(paints):.0f} ms (target 1000); rows there after {statistics.median(shown):.0f} ms,"
        f" worst {max(shown):.0f} ms; {max(sent) / 1e3:.0f} kB in all (target 200)"
    )
    child = int(Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text("ascii").split()[0])
    idle = cpu_seconds(child), time.monotonic()
    time.sleep(5.0)
    share = (cpu_seconds(child) - idle[0]) / (time.monotonic() - idle[1])
    begun = cpu_seconds(child), time.monotonic()
    for _ in range(LOOKS):
        with urlopen(f"{page}resources.json?sort=demand") as answer:  # noqa: S310 - our own daemon
            answer.read()
    took = time.monotonic() - begun[1]
    each = (cpu_seconds(child) - begun[0] - share * took) / LOOKS
    print(
        f"a look, of which an open page takes one in 2 s: {each * 1e3:.0f} ms of the daemon's processor time"
    )


def cpu_seconds(pid: int) -> float:
    """CPU time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
