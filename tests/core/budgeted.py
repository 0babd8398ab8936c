"""Members of a budget, and what other processes leave of it."""

import threading
from contextlib import contextmanager

from quantum_control.core.errors import ActuatorError, ConfigError
from quantum_control.core.resource import Resource, ResourceState


class Pool(Resource):
    """Takes every size; its demand and what it still holds are the test's to say.

    It bears one call at a time; `clashes` counts others.
    """

    def __init__(self, size=10, min_size=1, max_size=None):
        self.clashes = 0
        self._one = threading.Lock()
        self.in_measuring = lambda: None
        self.size, self.min_size, self.max_size = size, min_size, max_size
        self.demand = float(size)
        self.held = None
        self.pools = None
        self.stuck = False

    @contextmanager
    def _alone(self):
        self.clashes += not (first := self._one.acquire(blocking=False))
        try:
            yield
        finally:
            if first:
                self._one.release()

    def measure_state(self):
        with self._alone():
            self.in_measuring()
            return ResourceState.from_demand(self.demand, size=float(self.size))

    def apply_control(self, new_size):
        with self._alone():
            if self.stuck:
                raise ActuatorError("stuck")
            self.size = new_size

    def get_metrics(self):
        with self._alone():
            known = {"held": self.held, "pools": self.pools}
            return {name: float(value) for name, value in known.items() if value is not None}


class Allowance:
    """What others leave; the test says how much."""

    def __init__(self, most):
        self.capacity = self.left = most
        self.claims = []
        self.closed = False

    def claim(self, wanted, floor, held):
        self.claims.append((wanted, floor, held))
        if floor > self.left:
            raise ConfigError("does not fit in")
        return self.left

    def close(self):
        self.closed = True
