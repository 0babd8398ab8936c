"""What the daemon costs and how even its intervals are: share of a core, memory, jitter, time to recover.

    python benchmarks/daemon_cost.py [--seconds S] [--mode MODE]

Runs real daemons over resources that cost nothing to measure, so that all that is seen is the daemon's.
Prints each figure beside its target; times depend on the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from quantum_control import Resource, ResourceState
from quantum_control.daemon.audit import read_records
from quantum_control.daemon.control import ask

START_SECONDS = 60.0
"""For which a daemon may begin."""

SETTLE_SECONDS = 6.0
"""After which the making of laws is over."""


class Queue(Resource):
    """Random demand, and a size in memory or in a file."""

    def __init__(self, number: int = 0, path: str = "") -> None:
        self.random = random.Random(number)
        self.path = path
        self.size = int(Path(path).read_text("ascii")) if path else 10

    def measure_state(self) -> ResourceState:
        """Answer at once."""
        return ResourceState.from_demand(self.random.uniform(5.0, 15.0), size=self.size)

    def apply_control(self, new_size: int) -> None:
        """Take the size."""
        self.size = new_size
        if self.path:
            beside = Path(f"{self.path}.{os.getpid()}")
            beside.write_text(str(new_size), "ascii")
            beside.replace(self.path)  # at once: killed in the middle, it is the old size or the new

    def get_metrics(self) -> dict[str, float]:
        """Nothing."""
        return {}


class Daemon:
    """A daemon with `count` resources, in a folder of its own."""

    def __init__(self, folder: Path, count: int, interval: float, mode: str, in_files: bool = False) -> None:
        info = folder / "plugin" / "daemon_cost-1.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: daemon_cost\nVersion: 1\n", "ascii")
        (info / "entry_points.txt").write_text(
            "[quantum_control.resources]\nbenchqueue = daemon_cost:Queue\n", "ascii"
        )
        path = os.pathsep.join([str(info.parent), str(Path(__file__).parent)])
        self.state = folder / "state"
        self.files = [folder / f"size-{number}" for number in range(count)] if in_files else []
        lines = [f"state_directory = {json.dumps(str(self.state))}"]
        lines += [f"runtime_directory = {json.dumps(str(folder / 'run'))}", '[log]\nlevel = "error"']
        for number in range(count):
            options = f"number = {number}"
            if in_files:
                self.files[number].write_text("10", "ascii")
                options += f", path = {json.dumps(str(self.files[number]))}"
            lines.append(
                f'[resources.r{number}]\nkind = "benchqueue"\nmode = "{mode}"\ninterval = {interval}'
            )
            lines.append(f"options = {{ {options} }}")
        config = folder / "config.toml"
        config.write_text("\n".join(lines) + "\n", "utf-8")
        self.socket = folder / "run" / "control.sock"
        self.process = subprocess.Popen(  # noqa: S603 - our own interpreter
            [sys.executable, "-m", "quantum_control", "run", str(config)],
            env={**os.environ, "PYTHONPATH": path},
        )
        until = time.monotonic() + START_SECONDS
        while not self.socket.exists():
            if self.process.poll() is not None or time.monotonic() > until:
                raise SystemExit("the daemon did not begin")
            time.sleep(0.05)
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text("ascii")
        self.controller = int(children.split()[0])

    def cpu_seconds(self) -> float:
        """CPU time of the controller so far."""
        fields = Path(f"/proc/{self.controller}/stat").read_text("ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def peak_mebibytes(self) -> float:
        """Largest resident memory of the controller so far."""
        status = Path(f"/proc/{self.controller}/status").read_text("ascii")
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024.0

    def end(self) -> None:
        """Tell it to end, and wait."""
        self.process.terminate()
        self.process.wait(60)


def cost(mode: str, seconds: float) -> None:
    """A thousand resources at 1 Hz."""
    with tempfile.TemporaryDirectory() as folder:
        daemon = Daemon(Path(folder), 1000, 1.0, mode)
        time.sleep(SETTLE_SECONDS)
        cpu, begun = daemon.cpu_seconds(), time.monotonic()
        time.sleep(seconds)
        share = (daemon.cpu_seconds() - cpu) / (time.monotonic() - begun)
        memory = daemon.peak_mebibytes()
        daemon.end()
    print(
        f"1000 resources at 1 Hz, {mode}: {share:.1%} of a core (target 10 %), {memory:.0f} MiB (target 200)"
    )


def jitter(mode: str, seconds: float) -> None:
    """Fifty resources at 10 Hz."""
    with tempfile.TemporaryDirectory() as folder:
        daemon = Daemon(Path(folder), 50, 0.1, mode)
        time.sleep(SETTLE_SECONDS)
        begun = time.time()
        time.sleep(seconds)
        daemon.end()
        times: dict[str, list[float]] = {}
        for record in read_records(daemon.state, since=begun):
            times.setdefault(record["resource"], []).append(record["time"])
    off = np.abs(np.concatenate([np.diff(each) for each in times.values()]) - 0.1) * 1e3
    half, most = np.quantile(off, (0.5, 0.99))
    print(
        f"50 resources at 10 Hz, {mode}: interval off by {half:.1f} ms in the median, {most:.1f} ms at p99"
        f" (target 10 ms), {off.max():.1f} ms at the most; {len(off)} intervals"
    )


def recovery() -> None:
    """A hundred resources that are put back after the controller is killed."""
    with tempfile.TemporaryDirectory() as folder:
        daemon = Daemon(Path(folder), 100, 0.1, "active", in_files=True)
        until = time.monotonic() + START_SECONDS
        while not all(row["changes"] for row in ask(daemon.socket, do="status")) and time.monotonic() < until:
            time.sleep(0.1)
        changed = sum(path.read_text("ascii") != "10" for path in daemon.files)
        begun = time.monotonic()
        os.kill(daemon.controller, signal.SIGKILL)
        daemon.process.wait(60)
        took = time.monotonic() - begun
        left = sum(path.read_text("ascii") != "10" for path in daemon.files)
    print(f"kill -9 with {changed} of 100 changed: {took:.2f} s until all is back (target 2 s), {left} left")


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--mode", choices=("observe", "shadow", "active"), default="shadow")
    args = parser.parse_args()
    cost(args.mode, args.seconds)
    jitter(args.mode, args.seconds)
    recovery()


if __name__ == "__main__":
    main()
