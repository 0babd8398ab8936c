"""Plants: work is conserved, closed forms hold, floats and arrays agree."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from quantum_control.core.errors import ConfigError
from quantum_control.simulation.plants import (
    BackEnds,
    DiscreteQueue,
    DropTailBuffer,
    FluidQueue,
    Heap,
    TimeoutServer,
    UslPool,
    square_root_heap,
)

MAKERS = {
    "fluid": FluidQueue,
    "fluid, delayed": lambda: FluidQueue(delay=2),
    "discrete": lambda: DiscreteQueue(np.random.default_rng(1), completion=0.6),
    "discrete, whole": lambda: DiscreteQueue(np.random.default_rng(1)),
    "pool": UslPool,
    "buffer": DropTailBuffer,
    "heap": Heap,
    "server": TimeoutServer,
}
steps_of_one_run = st.lists(st.tuples(st.floats(1.0, 400.0), st.integers(0, 300)), min_size=1, max_size=30)


@pytest.mark.parametrize("name", MAKERS)
@settings(max_examples=40, deadline=None)
@given(history=steps_of_one_run)
def test_work_is_neither_made_nor_lost(name, history):
    plant = MAKERS[name]()
    readings = [plant.step(size, float(arrivals)) for size, arrivals in history]
    arrived = sum(reading.arrived for reading in readings)
    gone = sum(reading.served + reading.lost for reading in readings)
    assert arrived == sum(arrivals for _, arrivals in history)
    assert arrived == pytest.approx(gone + readings[-1].left, abs=1e-6)
    assert all(reading.served >= 0.0 and reading.left >= 0.0 for reading in readings)


@pytest.mark.parametrize("name", sorted(set(MAKERS) - {"discrete"}))
@settings(max_examples=30, deadline=None)
@given(history=steps_of_one_run)
def test_arrays_of_runs_do_what_each_run_does_alone(name, history):
    """All but the plant that draws random numbers."""
    rows, alone = MAKERS[name](), [MAKERS[name](), MAKERS[name]()]
    for size, arrivals in history:
        sizes, came = np.array([size, size + 3.5]), np.array([float(arrivals), arrivals / 2.0])
        together = rows.step(sizes, came)
        for index, plant in enumerate(alone):
            single = plant.step(float(sizes[index]), float(came[index]))
            for field in (
                "demand",
                "served",
                "left",
                "throughput",
                "lost",
                "wait_seconds",
                "service_seconds",
            ):
                value = np.broadcast_to(getattr(together, field), (2,))[index]
                assert value == pytest.approx(getattr(single, field), rel=1e-9, abs=1e-9), field


@pytest.mark.parametrize("name", MAKERS)
def test_a_reset_plant_starts_anew(name):
    plant = MAKERS[name]()
    first = plant.step(5.0, 90.0)
    plant.step(7.0, 20.0)
    plant.reset()
    assert plant.clock() == 0.0
    again = plant.step(5.0, 90.0)
    assert (again.demand, again.size) == (first.demand, first.size)
    assert plant.clock() == plant.interval


def test_an_order_acts_after_the_delay():
    plant = FluidQueue(delay=2)
    in_force = [plant.step(float(order), 0.0).size for order in (10, 20, 30, 40, 50)]
    assert in_force == [10.0, 10.0, 10.0, 20.0, 30.0]
    assert [FluidQueue().step(7.0, 0.0).size] == [7.0]


def test_a_negative_delay_is_refused():
    with pytest.raises(ConfigError, match="delay=-1"):
        FluidQueue(delay=-1)


def test_fluid_queue_in_numbers():
    plant = FluidQueue(interval=2.0)
    first = plant.step(10.0, 16.0)
    assert (first.demand, first.served, first.left) == (16.0, 10.0, 6.0)
    assert first.throughput == 5.0
    assert first.wait_seconds == pytest.approx(6.0 / 5.0)  # Little: backlog over rate
    second = plant.step(10.0, 1.0)
    assert (second.demand, second.served, second.left) == (7.0, 7.0, 0.0)


def test_a_reading_becomes_the_state_that_an_adapter_would_report():
    state = FluidQueue().step(10.0, 16.0).state(time=1.0, interval=1.0, commanded=12.0)
    assert state.position == pytest.approx(0.6)
    assert (state.demand, state.size, state.commanded, state.throughput) == (16.0, 10.0, 12.0, 10.0)


def test_geometric_service_fills_as_many_servers_as_little_says():
    plant = DiscreteQueue(np.random.default_rng(3), completion=0.25)
    rng = np.random.default_rng(4)
    demands = [plant.step(1e6, float(rng.poisson(5.0))).demand for _ in range(20_000)]
    assert np.mean(demands[200:]) == pytest.approx(5.0 / 0.25, rel=0.02)


def test_a_fraction_of_a_server_serves_nobody():
    plant = DiscreteQueue(np.random.default_rng(1))
    assert plant.step(3.9, 10.0).served == 3.0


def test_mean_service_is_the_inverse_of_the_chance_to_complete():
    plant = DiscreteQueue(np.random.default_rng(1), completion=0.25, interval=2.0)
    assert plant.step(5.0, 3.0).service_seconds == 8.0


# ---- the pool and its knee --------------------------------------------------------------------


@pytest.mark.parametrize(("contention", "coherency"), [(0.03, 0.97 / 35.0**2), (0.1, 0.001), (0.0, 0.02)])
def test_the_peak_of_the_scalability_law_is_where_its_closed_form_says(contention, coherency):
    pool = UslPool(contention=contention, coherency=coherency)
    found = minimize_scalar(lambda n: -pool.capacity(n), bounds=(1.0, 500.0), method="bounded")
    assert pool.peak == pytest.approx(np.sqrt((1.0 - contention) / coherency))
    assert found.x == pytest.approx(pool.peak, rel=1e-3)


def test_without_coherency_cost_there_is_no_peak():
    assert UslPool(coherency=0.0).peak == np.inf


@given(st.floats(1.0, 35.0))
def test_the_workers_for_a_throughput_are_those_that_give_it(workers):
    pool = UslPool()
    assert pool.workers_for(pool.capacity(workers)) == pytest.approx(workers, rel=1e-3)


def test_one_worker_works_at_the_rate():
    assert UslPool(rate=10.0).capacity(1.0) == 10.0


def test_a_calm_pool_keeps_busy_only_what_it_needs_whatever_its_size():
    pool = UslPool()
    light = 0.6 * pool.capacity(pool.peak)
    for size in (30.0, 500.0):
        reading = pool.step(size, light)
        assert reading.served == pytest.approx(light)
        assert reading.demand == pytest.approx(pool.workers_for(light))


def test_a_pool_past_its_knee_never_recovers_from_a_queue_at_a_load_it_could_carry():
    pool = UslPool()
    light = 0.6 * pool.capacity(pool.peak)
    pool.step(500.0, 1000.0)
    served = [pool.step(500.0, light).served for _ in range(200)]
    assert served[-1] / light == pytest.approx(0.33, abs=0.01)
    # Back at the knee the queue drains.
    for _ in range(1000):
        reading = pool.step(35.0, light)
    assert reading.left == 0.0


def test_demand_grows_with_the_size_past_the_knee():
    def demand(size):
        pool = UslPool()
        pool.step(size, 1000.0)
        return pool.step(size, 100.0).demand

    assert demand(300.0) > demand(100.0) > demand(35.0)


# ---- the server, the buffer, the heap, the back ends ---------------------------------------------


def test_the_server_answers_as_little_says_and_rejects_the_rest():
    server = TimeoutServer(capacity=100.0, service_seconds=0.2, timeout_seconds=2.0)
    assert server.best_limit == 20.0
    light = server.step(50.0, 60.0)
    assert (light.demand, light.throughput, light.wait_seconds, light.drops) == (12.0, 60.0, 0.0, 0.0)
    heavy = server.step(50.0, 140.0)
    assert heavy.throughput == pytest.approx(100.0)
    assert heavy.wait_seconds + heavy.service_seconds == pytest.approx(0.5)
    assert heavy.drops == pytest.approx(40.0)


def test_past_the_timeout_nothing_is_served_and_latency_no_longer_tells():
    server = TimeoutServer(capacity=100.0, service_seconds=0.2, timeout_seconds=2.0)
    for size in (200.0, 260.0):
        reading = server.step(size, 140.0)
        assert reading.throughput == 0.0
        assert reading.errors == pytest.approx(size / 2.0)
        assert reading.wait_seconds + reading.service_seconds == pytest.approx(2.0)


def test_the_buffer_drops_what_exceeds_its_limit():
    buffer = DropTailBuffer(rate=50.0)
    first = buffer.step(20.0, 80.0)
    assert (first.demand, first.served, first.left, first.lost) == (30.0, 50.0, 20.0, 10.0)
    assert first.wait_seconds == pytest.approx(0.4)
    shrunk = buffer.step(5.0, 45.0)
    assert (shrunk.served, shrunk.left, shrunk.lost) == (50.0, 5.0, 10.0)


@given(st.floats(10.0, 1000.0), st.floats(1.0, 500.0), st.floats(100.0, 5000.0), st.floats(1e-4, 1e-2))
def test_the_square_root_rule_costs_least(live, allocation, speed, price):
    def cost(heap):
        return price * heap + allocation * live / (speed * (heap - live))

    best = square_root_heap(live, allocation, speed, price)
    assert best > live
    for nearby in (0.9, 0.99, 1.01, 1.1):
        assert cost(best) <= cost(live + nearby * (best - live)) + 1e-12


def test_a_tight_heap_collects_all_the_time():
    roomy, tight = Heap(live=200.0), Heap(live=200.0)
    assert roomy.step(800.0, 300.0).left == 0.0
    assert tight.step(205.0, 300.0).left > 200.0
    # 1/500 s for the program and 200/(2000·200) s for the collector per unit.
    assert Heap(live=200.0).step(400.0, 1e6).served == pytest.approx(1.0 / (0.002 + 0.0005))


def test_weights_in_proportion_to_capacity_make_all_back_ends_equally_busy():
    ends = BackEnds(np.array([100.0, 50.0, 10.0]))
    reading = ends.step(np.array([100.0, 50.0, 10.0]), 80.0)
    np.testing.assert_allclose(reading.arrived, [50.0, 25.0, 5.0])
    np.testing.assert_allclose(reading.demand, reading.size)
    # M/M/1 at half load: 1/(mu - lambda).
    np.testing.assert_allclose(reading.wait_seconds + reading.service_seconds, [1 / 50.0, 1 / 25.0, 1 / 5.0])


def test_weights_that_follow_their_demand_find_the_capacities():
    ends = BackEnds(np.array([100.0, 50.0, 10.0]))
    weights = np.ones(3)
    for _ in range(60):
        weights = np.sqrt(weights * ends.step(weights, 100.0).demand)
    np.testing.assert_allclose(weights / weights.sum(), [0.625, 0.3125, 0.0625], rtol=1e-3)


def test_back_ends_conserve_work_run_by_run():
    rng = np.random.default_rng(5)
    ends = BackEnds(np.array([60.0, 30.0]))
    arrived, served = np.zeros((2, 4)), np.zeros((2, 4))
    for _ in range(50):
        reading = ends.step(rng.uniform(1.0, 9.0, (2, 4)), rng.poisson(80.0, 4).astype(float))
        arrived += reading.arrived
        served += reading.served
    np.testing.assert_allclose(arrived, served + reading.left)


@pytest.mark.parametrize(
    "make",
    [
        lambda: UslPool(contention=1.0),
        lambda: TimeoutServer(service_seconds=3.0),
        lambda: DropTailBuffer(rate=0.0),
        lambda: Heap(price=0.0),
        lambda: BackEnds(np.array([1.0, 0.0])),
        lambda: DiscreteQueue(np.random.default_rng(), completion=0.0),
        lambda: FluidQueue(interval=0.0),
    ],
)
def test_impossible_plants_are_refused(make):
    with pytest.raises(ConfigError):
        make()
