"""Real daemons in processes of their own."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import faulty

from quantum_control.daemon.control import ask

PATIENCE = 60.0
"""Seconds that anything may take on a busy machine; what is waited for comes much sooner."""


def wait_for(what, patience=PATIENCE):
    """Wait until `what()` is true, and return it."""
    until = time.monotonic() + patience
    while not (found := what()):
        assert time.monotonic() < until, f"{what} did not come true within {patience} s"
        time.sleep(0.01)
    return found


class Place:
    """A folder with the plug-ins, a configuration and the daemon's state."""

    def __init__(self, folder, **settings):
        self.folder = Path(folder)
        path = faulty.install(self.folder / "plugins")
        self.environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path), "PYTHONWARNINGS": "ignore"}
        self.config = self.folder / "config.toml"
        self.state = self.folder / "state"
        self.settings = {
            "state_directory": str(self.state),
            "runtime_directory": str(self.folder / "run"),
            "stop_timeout": 3.0,
            **settings,
        }
        self.socket = self.folder / "run" / "control.sock"
        self.resources = {}

    def write(self, text=""):
        """Write the configuration; each resource is a mapping of its settings."""
        lines = [f"{key} = {json.dumps(value)}" for key, value in self.settings.items()]
        for name, section in self.resources.items():
            lines.append(f"[resources.{name}]")
            lines += [f"{key} = {_toml(value)}" for key, value in section.items()]
        beside = self.folder / "config.new"
        beside.write_text("\n".join(lines) + "\n" + text, encoding="utf-8")
        beside.replace(self.config)

    def file(self, name, content="10"):
        path = self.folder / f"{name}.size"
        path.write_text(content, encoding="ascii")
        return path

    def lively(self, name, mode="active", interval=0.02, kind="lively", content="10", **options):
        """Add a resource in a file, which is returned."""
        path = self.file(name, content)
        self.resources[name] = {
            "kind": kind,
            "mode": mode,
            "interval": interval,
            "options": {"path": str(path), **options},
        }
        return path

    def command(self, *args, within=()):
        """Run a command to its end, behind the words of `within`."""
        return subprocess.run(  # noqa: S603 - our own interpreter
            [*map(str, within), sys.executable, "-m", "quantum_control", *map(str, args)],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    @contextmanager
    def daemon(self, ready=True, within=()):
        """A daemon, behind the words of `within`; ended in whatever way if it still runs."""
        log = (self.folder / "log").open("ab")
        process = subprocess.Popen(  # noqa: S603 - our own interpreter
            [*map(str, within), sys.executable, "-m", "quantum_control", "run", str(self.config)],
            env=self.environment,
            stderr=log,
        )
        try:
            if ready:
                wait_for(lambda: process.poll() is not None or self.answers())
                assert process.poll() is None, self.log()
            yield process
        finally:
            log.close()
            for pid in [*children(process.pid), process.pid]:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            process.wait()

    def answers(self):
        try:
            return isinstance(self.ask(do="status"), list)
        except Exception:  # noqa: BLE001 - not yet
            return False

    def ask(self, **question):
        return ask(self.socket, **question)

    def log(self):
        return (self.folder / "log").read_text(encoding="utf-8")


def _toml(value):
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(each)}" for key, each in value.items()) + " }"
    return json.dumps(value)


def children(pid):
    try:
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()]
    except OSError:
        return []


def controller(process):
    """Number of the controller process of a daemon."""
    return wait_for(lambda: children(process.pid))[0]
