"""What steering takes in a test, without a daemon: a folder, a clock, queues in files."""

from contextlib import contextmanager
from typing import ClassVar

from faulty import FileResource

from quantum_control.config import ResourceSection
from quantum_control.core.budget import Budget
from quantum_control.core.errors import GoneError
from quantum_control.core.journal import Journal
from quantum_control.daemon import originals
from quantum_control.daemon import steering as module
from quantum_control.daemon.audit import AuditLog, read_records
from quantum_control.daemon.steering import Steering
from quantum_control.daemon.surroundings import Surroundings

NOW = [0.0]


class Queue(FileResource):
    """A demand of 50 on a size in a file; or, by the name of the file, of what the test says."""

    demands: ClassVar[dict[str, float]] = {}
    broken = ""
    blind = ""
    gone = False

    def measure_state(self):
        if Queue.gone:
            raise GoneError("it is gone")
        if Queue.blind:
            raise OSError(Queue.blind)
        self.demand = float(Queue.demands.get(self.path.name, 50.0))
        return super().measure_state()

    def apply_control(self, new_size):
        if Queue.gone:
            raise GoneError("it is gone")
        if Queue.broken:
            raise OSError(Queue.broken)
        super().apply_control(new_size)


class Place:
    """A folder with the size of each resource in a file; a budget of 30 for all of them."""

    def __init__(self, folder):
        self.folder = folder
        self.path = self.file("web")
        self.journal = Journal(folder / "journal.db")
        self.audit = AuditLog(folder, 65_536, 2)
        self.budgets = {"all": Budget(30)}
        self.around = Surroundings(self.journal, self.audit, self.budgets, folder / "locks", folder)

    def file(self, name, size=10):
        path = self.folder / name
        path.write_text(str(size), encoding="ascii")
        return path

    def steer(self, mode="active", name="web", **settings):
        options = {"path": str(self.folder / name)}
        section = ResourceSection(kind="queue", mode=mode, options=options, **settings)
        return Steering(name, section, self.around, lambda: NOW[0])

    @property
    def size(self):
        return self.size_of("web")

    def size_of(self, name):
        return int((self.folder / name).read_text(encoding="ascii"))

    def records(self):
        self.audit.close()
        return list(read_records(self.folder))


@contextmanager
def placed(folder, monkeypatch):
    """A place whose resources are queues."""
    for each in (module, originals):
        monkeypatch.setattr(each, "resource_type", lambda kind: Queue)
    for name, value in {"broken": "", "blind": "", "gone": False, "demands": {}}.items():
        monkeypatch.setattr(Queue, name, value)
    place = Place(folder)
    yield place
    place.audit.close()
    place.journal.close()


def steps(*steerings, count=1):
    """Take so many steps of each, by turns."""
    for _ in range(count):
        NOW[0] += 1.0
        for each in steerings:
            each.step()
