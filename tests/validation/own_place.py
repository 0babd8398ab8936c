"""Experiments on resources of one's own in processes of their own, and what they may be done to."""

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "daemon"))

from daemons import Place, children, controller, wait_for
from filed import FileResource

__all__ = ["OwnPlace", "Runaway", "Vanishing", "children", "controller", "wait_for"]

ENTRY_POINTS = """\
[quantum_control.resources]
runaway = own_place:Runaway
vanishing = own_place:Vanishing
"""


class Runaway(FileResource):
    """Demand that grows with the size: steering costs more and more, and the twin does not know it."""

    def __init__(self, path):
        super().__init__(path)
        self.count = 0

    def measure_state(self):
        self.count += 1
        size = int(self.path.read_text(encoding="ascii"))
        self.demand = size * (2.0 + 0.1 * (self.count % 2))
        return super().measure_state()


class Vanishing(FileResource):
    """Cannot be measured any more once another size than the first is in force."""

    def measure_state(self):
        self.demand += 1.0
        if self.path.read_text(encoding="ascii") != "10":
            raise OSError("it has gone away")
        return super().measure_state()


class OwnPlace(Place):
    """A place of the daemon's tests, with a folder for the data and plug-ins that do harm."""

    def __init__(self, folder, **settings):
        super().__init__(folder, **settings)
        info = self.folder / "harm" / "harm-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: harm\nVersion: 1.0\n", encoding="ascii")
        (info / "entry_points.txt").write_text(ENTRY_POINTS, encoding="ascii")
        more = (str(self.folder / "harm"), str(Path(__file__).parent))
        self.environment["PYTHONPATH"] = os.pathsep.join((*more, self.environment["PYTHONPATH"]))
        self.out = self.folder / "results"

    @contextmanager
    def validating(self, *args):
        """An experiment that runs, in a process group of its own."""
        with (self.folder / "log").open("ab") as log, (self.folder / "told").open("wb") as told:
            process = subprocess.Popen(  # noqa: S603 - our own interpreter
                [sys.executable, "-m", "quantum_control", *self._arguments(args)],
                env=self.environment,
                stdout=told,
                stderr=log,
                start_new_session=True,
            )
        try:
            yield process
        finally:
            for pid in [*children(process.pid), process.pid]:
                try:
                    os.kill(pid, 9)
                except ProcessLookupError:
                    continue
            process.wait()

    def validate(self, *args):
        """An experiment, to its end."""
        return self.command(*self._arguments(args))

    def _arguments(self, args):
        return ["validate", "--config", str(self.config), "--out", str(self.out), *map(str, args)]

    def rows(self, name="web"):
        """Lines of the data, without their head."""
        path = self.out / name / "blocks.csv"
        return path.read_text(encoding="ascii").splitlines()[1:] if path.exists() else []
