"""Resources whose size is in a file, so that it outlives the process that set it."""

import json
import os
from pathlib import Path

from quantum_control import Resource, ResourceState


def written(path, content):
    beside = Path(f"{path}.{os.getpid()}")
    beside.write_text(content, encoding="ascii")
    beside.replace(path)


class FileResource(Resource):
    """A size in a file of its own; demand likewise, 8 where there is none."""

    def __init__(self, path, demand=8.0):
        self.path = Path(path)
        self.demand = float(demand)

    def measure_state(self):
        return ResourceState.from_demand(self.demand, size=int(self.path.read_text(encoding="ascii")))

    def apply_control(self, new_size):
        written(self.path, str(new_size))

    def get_metrics(self):
        return {}


class TripleResource(FileResource):
    """A size that is one of three numbers, as in tcp_wmem: the whole of it is put back."""

    def measure_state(self):
        return ResourceState.from_demand(8.0, size=self.snapshot()["values"][1])

    def apply_control(self, new_size):
        low, _, high = self.snapshot()["values"]
        written(self.path, json.dumps([low, new_size, max(high, 2 * new_size)]))

    def snapshot(self):
        return {"values": json.loads(self.path.read_text(encoding="ascii"))}

    def restore(self, snapshot):
        written(self.path, json.dumps(snapshot["values"]))
