"""Memory that a controller holds, beside what Python's own tracer says."""

import gc
import tracemalloc

import numpy as np
import pytest

from quantum_control import Resource, ResourceState
from quantum_control.core.controller import QuantumController
from quantum_control.validation.footprint import held_bytes


class Fluctuating(Resource):
    def __init__(self):
        self.size = 10
        self.rng = np.random.default_rng(1)

    def measure_state(self):
        return ResourceState.from_demand(float(self.rng.poisson(20)), size=self.size)

    def apply_control(self, new_size):
        self.size = new_size

    def get_metrics(self):
        return {}


def stepped(law, steps=300):
    now = [0.0]
    resource = Fluctuating()
    controller = QuantumController(resource, law, law == "auto", clock=lambda: now[0])
    for step in range(steps):
        now[0] = float(step)
        controller.optimize()
    return controller, resource


@pytest.mark.parametrize("law", ["optomechanical", "auto"])
def test_it_is_about_what_the_tracer_of_allocations_says(law):
    stepped(law)  # what is made once for all controllers
    gc.collect()
    tracemalloc.start()
    try:
        controller, resource = stepped(law)
        gc.collect()
        traced = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert held_bytes(controller, [resource]) == pytest.approx(traced, rel=0.4)


def test_it_does_not_grow_with_the_steps():
    short, long = (stepped("optomechanical", steps) for steps in (300, 3000))
    assert held_bytes(long[0], [long[1]]) == pytest.approx(held_bytes(short[0], [short[1]]), rel=0.05)


def test_what_is_shared_counts_once_and_what_is_steered_not_at_all():
    shared, foreign = bytearray(10_000), bytearray(50_000)
    held = held_bytes([shared, shared, {"it": foreign}], [foreign])
    assert 10_000 < held < 12_000


def test_a_bound_method_leads_to_its_object():
    class Thing:
        def __init__(self):
            self.content = bytearray(10_000)

        def method(self):
            return self.content

    assert held_bytes([Thing().method]) > 10_000
