"""A plant behind the three methods: the controller cannot tell it from a live resource."""

import numpy as np
import pytest

from quantum_control.core.controller import QuantumController
from quantum_control.core.errors import ActuatorError, ConfigError, SensorError
from quantum_control.simulation.loads import load
from quantum_control.simulation.peers import Ewma, HillClimbing
from quantum_control.simulation.plants import FluidQueue, PlantResource, UslPool


def test_each_measurement_runs_one_interval():
    resource = PlantResource(FluidQueue(interval=2.0), [12.0, 3.0], size=10)
    assert resource.get_metrics() == {}
    state = resource.measure_state()
    assert (state.demand, state.size, state.time, resource.clock()) == (12.0, 10.0, 2.0, 2.0)
    assert resource.get_metrics() == {
        "throughput": 5.0,
        "wait_seconds": pytest.approx(0.4),
        "service_seconds": 2.0,
    }
    resource.apply_control(4)
    assert resource.measure_state().size == 4.0


def test_the_end_of_the_load_is_a_missing_measurement():
    resource = PlantResource(FluidQueue(), [1.0], size=1)
    resource.measure_state()
    with pytest.raises(SensorError, match="load has ended"):
        resource.measure_state()


def test_a_plant_takes_no_size_below_one():
    with pytest.raises(ConfigError, match="size=0"):
        PlantResource(FluidQueue(), [], size=0)
    with pytest.raises(ActuatorError):
        PlantResource(FluidQueue(), [], size=1).apply_control(0)


def steer(plant, arrivals, law, size, **bounds):
    resource = PlantResource(plant, arrivals, size, **bounds)
    controller = QuantumController(resource=resource, physics_model=law, clock=plant.clock)
    readings = []
    for _ in arrivals:
        controller.optimize()
        readings.append(resource.reading)
    return controller, readings


def test_the_controller_steers_a_plant_without_sleeping():
    arrivals = load("steps").arrivals(1, seed=1, steps=300)[:, 0]
    controller, readings = steer(FluidQueue(), arrivals, Ewma(), 20)
    assert controller.steps == 300
    assert controller.failures == 0
    sizes = np.array([reading.size for reading in readings])
    assert np.corrcoef(sizes[1:], arrivals[:-1])[0, 1] > 0.8
    assert readings[-1].left < arrivals[-1]


def test_a_limiter_reads_the_throughput_of_the_plant_through_the_controller():
    pool = UslPool()
    rng = np.random.default_rng(2)
    controller, readings = steer(pool, rng.poisson(60.0, 200).astype(float), HillClimbing(), 12, max_size=100)
    assert controller.failures == 0
    assert {reading.size for reading in readings[-40:]} != {readings[-1].size}  # the wave goes on
