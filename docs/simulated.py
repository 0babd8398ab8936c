"""A daemon over simulated resources, for the pictures: `docs/views.py` starts it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from quantum_control.bench.balancers import free_port
from quantum_control.simulation.loads import LOADS
from quantum_control.simulation.plants import FluidQueue, PlantResource

INTERVAL = 0.1
"""Seconds: ten times as fast as services usually are, so that a minute shows much."""

START_SECONDS = 60.0

SHOWN = {
    "api-threads": ("bursts", "optomechanical", "active"),
    "checkout-threads": ("periodic", "parametric", "active"),
    "mail-workers": ("steady", "coherent", "observe"),
    "orders-db": ("periodic", "parametric", "active"),
    "payments-db": ("steady", "optomechanical", "active"),
    "reports-db": ("steady", "coherent", "shadow"),
    "search-heap": ("bursts", "auto", "shadow"),
    "thumbnails": ("bursts", "optomechanical", "shadow"),
}
"""Name, load, law and mode of what is steered; one more cannot be reached."""


class Simulated(PlantResource):
    """A queue under a load."""

    def __init__(self, load: str, seed: int = 1) -> None:
        super().__init__(FluidQueue(), LOADS[load].arrivals(1, seed=seed)[:, 0], size=90, max_size=400)


class Unreachable(Simulated):
    """One that cannot be begun."""

    def __init__(self) -> None:
        raise ConnectionRefusedError("connection refused by 192.0.2.7:5432")


@contextmanager
def daemon() -> Iterator[tuple[str, Path]]:
    """Run a daemon; gives the address of its page and its control socket."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        info = folder / "plugin" / "simulated-1.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: simulated\nVersion: 1\n", "ascii")
        (info / "entry_points.txt").write_text(
            "[quantum_control.resources]\n"
            "simulated = simulated:Simulated\nunreachable = simulated:Unreachable\n",
            "ascii",
        )
        port = free_port()
        lines = [f"state_directory = {json.dumps(str(folder / 'state'))}"]
        lines += [f"runtime_directory = {json.dumps(str(folder / 'run'))}", '[log]\nlevel = "error"']
        lines += [f"[metrics]\nport = {port}", f"[defaults]\ninterval = {INTERVAL}"]
        for number, (resource, (load, law, mode)) in enumerate(SHOWN.items()):
            lines.append(
                f'[resources.{resource}]\nkind = "simulated"\nphysics_model = "{law}"\nmode = "{mode}"'
            )
            lines.append(f'options = {{ load = "{load}", seed = {number} }}')
        lines.append('[resources.warehouse-db]\nkind = "unreachable"\nmode = "active"')
        config = folder / "config.toml"
        config.write_text("\n".join(lines) + "\n", "utf-8")
        path = os.pathsep.join([str(info.parent), str(Path(__file__).parent)])
        process = subprocess.Popen(  # noqa: S603 - our own interpreter
            [sys.executable, "-m", "quantum_control", "run", str(config)],
            env={**os.environ, "PYTHONPATH": path},
        )
        socket = folder / "run" / "control.sock"
        try:
            until = time.monotonic() + START_SECONDS
            while not socket.exists():
                if process.poll() is not None or time.monotonic() > until:
                    raise SystemExit("the daemon did not begin")
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port}/", socket
        finally:
            process.terminate()
            process.wait(60)
