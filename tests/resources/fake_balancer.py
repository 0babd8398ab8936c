"""A balancer in memory, with the faults of real ones."""

from __future__ import annotations

from dataclasses import replace

from quantum_control.core.errors import ActuatorError, SensorError
from quantum_control.resources.balancer import BackEnd, Balancer, Reading

CAPACITIES = {"a": 40.0, "b": 80.0, "c": 160.0, "d": 160.0}


class FakeBalancer(Balancer):
    """Back ends with capacities, M/M/1 in their means, and weights that are kept."""

    def __init__(self, capacities, weight=100):
        self.capacities = dict(capacities)
        self.back_ends = {name: BackEnd(weight, 0, 0, 0, 0.0) for name in capacities}
        self.run = "1"
        self.gone = False
        self.read_only = False
        self.busy = set()  # what cannot be removed yet
        self.torn = False  # what is added gets there, and fails nevertheless
        self.writes = []

    def __repr__(self):
        return "FakeBalancer()"

    def read(self):
        if self.gone:
            raise SensorError("nobody there")
        return Reading(dict(self.back_ends), self.run)

    def write(self, weights):
        if self.gone or self.read_only:
            raise ActuatorError("refused; the weights are as they were")
        self.writes.append(dict(weights))
        for name, weight in weights.items():
            self.set(name, weight=weight)

    def add(self, address):
        if self.read_only:
            raise ActuatorError("refused")
        self.back_ends[address] = BackEnd(0, 0, 0, 0, 0.0)
        self.capacities.setdefault(address, 100.0)
        if self.torn:
            raise ActuatorError("the line was cut")
        return address

    def remove(self, name):
        if name in self.busy:
            return False
        del self.back_ends[name]
        return True

    # ---- for the test ---------------------------------------------------------------------------

    def set(self, name, **changes):
        self.back_ends[name] = replace(self.back_ends[name], **changes)

    @property
    def weights(self):
        return {name: one.weight for name, one in self.back_ends.items()}

    def serve(self, rate):
        """One second of requests, shared by weight."""
        usable = {n: one.weight for n, one in self.back_ends.items() if one.up and not one.spare}
        whole = sum(usable.values())
        for name, one in self.back_ends.items():
            own = rate * usable.get(name, 0) / whole if whole else 0.0
            rho = min(own / self.capacities[name], 0.99)
            ended = round(min(own, self.capacities[name]))
            self.set(
                name,
                started=one.started + ended,
                ended=one.ended + ended,
                in_flight=rho / (1.0 - rho),
            )


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def run(resource, balancer, clock, steps=20, rate=250.0):
    """Steps of one second each; the state that the last one measured."""
    for _ in range(steps):
        balancer.serve(rate)
        clock.now += 1.0
        state = resource.measure_state()
    return state
