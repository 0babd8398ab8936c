"""Resources of the tests as plug-ins of a real daemon: in files, slow, hanging, lying."""

import random
import threading
import time
from pathlib import Path

from filed import FileResource, TripleResource

from quantum_control import Resource, ResourceState

__all__ = ["FileResource", "Flaky", "Hanging", "Idle", "Lively", "Slow", "Stepping", "TripleResource"]

ENTRY_POINTS = """\
[quantum_control.resources]
file = faulty:FileResource
triple = faulty:TripleResource
lively = faulty:Lively
queue = faulty:Lively
slow = faulty:Slow
stepping = faulty:Stepping
hanging = faulty:Hanging
flaky = faulty:Flaky
idle = faulty:Idle
[quantum_control.discovery]
files = faulty:find
"""


def find():
    from quantum_control.core.discovery import Found

    for path in sorted(Path.cwd().glob("*.size")):
        yield Found("queue", path.stem, {"path": str(path)}, f"size {path.read_text(encoding='ascii')} now")


def install(folder):
    """Make a folder that, on the path of Python, registers the plug-ins."""
    info = folder / "faulty-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: faulty\nVersion: 1.0\n", encoding="ascii")
    (info / "entry_points.txt").write_text(ENTRY_POINTS, encoding="ascii")
    here = Path(__file__).parent
    return [str(folder), str(here), str(here.parent)]


class Lively(FileResource):
    """Has another demand at each measurement, so that its size is changed at nearly every step."""

    def __init__(self, path, seed=1):
        super().__init__(path)
        self.random = random.Random(seed)

    def measure_state(self):
        self.demand = self.random.choice((3.0, 12.0, 50.0, 200.0))
        return super().measure_state()


class Slow(Lively):
    """Takes its time to set a size, and leaves a mark beside the file meanwhile."""

    def apply_control(self, new_size):
        mark = self.path.with_suffix(".amid")
        mark.touch()
        time.sleep(0.3)
        super().apply_control(new_size)
        mark.unlink()


REAL_TIME = time.time


class Stepping(Lively):
    """Sets the clock of its process by years at each measurement, forward and back."""

    def measure_state(self):
        years = self.random.choice((-10.0, 0.0, 10.0))
        time.time = lambda: REAL_TIME() + years * 31_557_600.0
        return super().measure_state()


class Hanging(FileResource):
    """Answers as often as it is told to, and then never again."""

    def __init__(self, path, answers=3, in_apply=False):
        super().__init__(path, demand=50.0)
        self.answers = answers
        self.in_apply = in_apply

    def _perhaps_hang(self):
        self.answers -= 1
        if self.answers < 0:
            threading.Event().wait()

    def measure_state(self):
        if not self.in_apply:
            self._perhaps_hang()
        return super().measure_state()

    def apply_control(self, new_size):
        if self.in_apply:
            self._perhaps_hang()
        super().apply_control(new_size)


class Flaky(Resource):
    """Raises, answers nonsense, or answers late."""

    def __init__(self, how="raises", number=0):
        self.how = how
        self.count = 0

    def measure_state(self):
        self.count += 1
        if self.how == "raises":
            raise OSError("gone")
        if self.how == "hangs":
            threading.Event().wait()
        if self.how == "no state":
            return "a size"
        if self.how == "late":
            time.sleep(3.0)
        position = {"nan": float("nan"), "negative": -5.0}.get(self.how, 1.0)
        return ResourceState(position, size=10.0)

    def apply_control(self, new_size):
        raise OSError("gone")

    def get_metrics(self):
        return {}


class Idle(Resource):
    """Costs nothing to measure."""

    def __init__(self, number=0):
        self.size = 10
        self.random = random.Random(number)

    def measure_state(self):
        return ResourceState.from_demand(self.random.uniform(5.0, 15.0), size=self.size)

    def apply_control(self, new_size):
        self.size = new_size

    def get_metrics(self):
        return {}
