"""Each law on pools whose workers slow each other down, through the controller's own loop."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from math import inf
from statistics import fmean, median

import numpy as np
import pytest
from doubles import Clock

from quantum_control import QuantumController, Resource, ResourceState
from quantum_control.core.knee import Knee
from quantum_control.simulation.plants.base import TINY, Reading
from quantum_control.simulation.plants.pool import CONTENTION, UslPool
from quantum_control.simulation.plants.resource import PlantResource

RATE = 30.0
PEAK = 35.0
LAWS = [
    (law, tuned) for law in ("optomechanical", "parametric", "coherent", "auto") for tuned in (False, True)
]
each_law = pytest.mark.parametrize(("law", "tuned"), LAWS, ids=lambda value: str(value))


class CountedPool(UslPool):
    """`UslPool` with Poisson completions, whose jobs leave after waiting for `timeout` seconds."""

    def __init__(self, seed: int, *, peak: float = PEAK, timeout: float = inf, delay: int = 0) -> None:
        coherency = (1.0 - CONTENTION) / peak**2
        super().__init__(rate=RATE, contention=CONTENTION, coherency=coherency, delay=delay)
        self.timeout = timeout
        self.rng = np.random.default_rng(seed)

    def _run(self, size: float, arrivals: float) -> Reading:
        fluid = super()._run(size, arrivals)
        if fluid.left <= 0.0:
            return fluid
        jobs, capacity = fluid.served + fluid.left, self.capacity(size)
        served = min(jobs, float(self.rng.poisson(capacity)))
        self.backlog = left = min(jobs - served, self.timeout * capacity)
        wait = left / max(served, TINY)
        return replace(fluid, served=served, left=left, throughput=served, wait_seconds=wait)


class Plateau(CountedPool):
    """Any more than `edge` workers bring nothing; inf for a pool without a knee."""

    def __init__(self, seed: int, edge: float) -> None:
        super().__init__(seed)
        self.edge = edge

    @property
    def peak(self) -> float:
        return self.edge

    def capacity(self, workers: float) -> float:
        return RATE * min(workers, self.edge)

    def workers_for(self, throughput: float) -> float:
        return throughput / RATE


class Loop:
    """A law, a pool and the load on it, in units of the most that the pool can do at its peak."""

    def __init__(
        self,
        pool: CountedPool,
        law: str = "coherent",
        tuned: bool = False,
        *,
        size: int = 10,
        most: int = 500,
    ) -> None:
        self.pool = pool
        self.resource = PlantResource(pool, self._arrivals(), size, max_size=most)
        self.controller = QuantumController(self.resource, law, tuned, clock=pool.clock)
        self.load = 0.0
        self.top = pool.capacity(min(pool.peak, most))
        self.sizes: list[float] = []
        self.left: list[float] = []

    def _arrivals(self) -> Iterable[float]:
        rng = np.random.default_rng([1, 2])
        while True:
            yield float(rng.poisson(self.load * self.top))

    def run(self, steps: int, load: float) -> Loop:
        self.load = load
        for _ in range(steps):
            self.controller.optimize()
            reading = self.resource.reading
            assert reading is not None
            self.sizes.append(reading.size)
            self.left.append(reading.left)
        return self

    def share(self, steps: int = 200) -> float:
        """Throughput of the latest sizes, in units of the best."""
        return fmean(self.pool.capacity(size) for size in self.sizes[-steps:]) / self.top

    def queue(self, steps: int = 100) -> float:
        """Mean backlog of the latest intervals, in seconds of the load."""
        return fmean(self.left[-steps:]) / (self.load * self.top)

    def steady(self, steps: int = 200) -> float:
        return median(self.sizes[-steps:])


# ---- what each law has to do -----------------------------------------------------------------------


@each_law
def test_under_lasting_overload_nobody_runs_away(law: str, tuned: bool) -> None:
    loop = Loop(CountedPool(1), law, tuned).run(600, 1.3)
    assert loop.share() > 0.97
    assert loop.steady() == pytest.approx(PEAK, rel=0.25)
    assert max(loop.sizes[200:]) < 2.0 * PEAK


@each_law
def test_after_overload_the_backlog_is_cleared_and_the_size_returns(law: str, tuned: bool) -> None:
    loop = Loop(CountedPool(2), law, tuned).run(200, 1.3).run(500, 0.6)
    assert loop.queue() < 0.1
    assert fmean(loop.sizes[-100:]) < 0.6 * PEAK


@each_law
def test_a_time_out_that_hides_the_queue_makes_nobody_run_away(law: str, tuned: bool) -> None:
    loop = Loop(CountedPool(3, timeout=5.0), law, tuned).run(600, 1.3)
    assert loop.share() > 0.97
    assert loop.steady() == pytest.approx(PEAK, rel=0.25)


@each_law
@pytest.mark.parametrize("start", [1, 35, 100, 500])
def test_a_pool_stuck_past_its_knee_is_freed(law: str, tuned: bool, start: int) -> None:
    pool = CountedPool(4)
    pool.backlog = 2000.0
    loop = Loop(pool, law, tuned, size=start).run(250, 0.6)
    assert loop.queue(50) < 0.1
    assert max(loop.sizes[-50:]) < PEAK


def test_without_the_knee_the_same_pool_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests above can fail: this is what they guard against."""
    monkeypatch.setattr(Knee, "observe", lambda *seen: None)
    loop = Loop(CountedPool(2)).run(200, 1.3).run(500, 0.6)
    assert loop.share() < 0.5
    assert loop.queue() > 100.0


# ---- what the knee has to do, whatever the law -----------------------------------------------------


def test_where_completions_are_many_the_size_is_within_a_tenth_of_the_best() -> None:
    for seed in range(3):
        pool = CountedPool(seed)
        pool.rate = 100.0 * RATE
        loop = Loop(pool).run(800, 1.3)
        assert loop.steady() == pytest.approx(PEAK, rel=0.1)
        assert loop.share() > 0.99


def test_a_knee_that_moves_out_is_followed() -> None:
    loop = Loop(CountedPool(5)).run(400, 1.3)
    loop.pool.coherency /= 16.0
    loop.top = loop.pool.capacity(loop.pool.peak)
    assert loop.run(600, 1.3).share() > 0.95


def test_a_knee_that_moves_in_is_followed() -> None:
    loop = Loop(CountedPool(6, peak=140.0)).run(400, 1.3)
    loop.pool.coherency *= 16.0
    loop.top = loop.pool.capacity(loop.pool.peak)
    assert loop.run(600, 1.3).share() > 0.95


@pytest.mark.parametrize("start", [10, 400])
def test_on_a_plateau_the_size_stays_near_its_edge(start: int) -> None:
    loop = Loop(Plateau(7, 40.0), size=start).run(1000, 1.3)
    assert loop.share() > 0.98
    assert 0.9 * 40.0 < loop.steady() < 1.3 * 40.0


@pytest.mark.parametrize("load", [0.6, 0.95, 1.3])
def test_without_a_knee_nothing_is_held_back(load: float) -> None:
    loop = Loop(Plateau(8, inf), most=100).run(1000, load)
    wanted = min(load, 1.0) * loop.top
    assert loop.controller._knee.ceiling > 95.0
    served = 1000 * load * loop.top - loop.left[-1]
    assert served > 0.97 * 1000 * wanted


@pytest.mark.parametrize("delay", [1, 2, 3])
def test_a_slow_actuator_changes_nothing(delay: int) -> None:
    loop = Loop(CountedPool(9, delay=delay)).run(600, 1.3)
    assert loop.share() > 0.96
    loop.run(900, 0.6)
    assert loop.queue() < 0.1


class Irregular(Resource):
    """A pool with work without end, measured when it suits somebody, and sometimes wrongly."""

    max_size = 500

    def __init__(self, clock: Clock, garbage: bool) -> None:
        self.size = 10
        self.clock = clock
        self.plant = CountedPool(10)
        self.rng = np.random.default_rng(11)
        self.garbage = garbage
        self.throughput = 0.0

    def tick(self) -> None:
        seconds = float(self.rng.choice([0.5, 1.0, 2.0, 5.0]))
        self.clock.tick(seconds)
        count = float(self.rng.poisson(self.plant.capacity(self.size) * seconds))
        self.throughput = count / seconds
        if self.garbage and self.rng.random() < 0.05:
            self.throughput = float(self.rng.choice([np.nan, np.inf, -1.0]))

    def measure_state(self) -> ResourceState:
        return ResourceState.from_demand(6.0 * self.size, size=self.size)

    def apply_control(self, new_size: int) -> None:
        self.size = new_size

    def get_metrics(self) -> dict[str, float]:
        return {"throughput": self.throughput}


def steer(resource: Irregular, steps: int) -> list[float]:
    controller = QuantumController(resource, "coherent", clock=resource.clock)
    sizes: list[float] = []
    for _ in range(steps):
        resource.tick()
        controller.optimize()
        sizes.append(float(resource.size))
    return sizes


def test_irregular_intervals_do_not_blur_what_is_seen() -> None:
    sizes = steer(Irregular(Clock(), garbage=False), 800)
    curve = CountedPool(0).capacity
    assert fmean(curve(size) for size in sizes[-300:]) > 0.97 * curve(PEAK)


def test_throughput_that_makes_no_sense_now_and_then_does_not_lose_the_knee() -> None:
    sizes = steer(Irregular(Clock(), garbage=True), 800)
    curve = CountedPool(0).capacity
    assert fmean(curve(size) for size in sizes[-300:]) > 0.9 * curve(PEAK)
    assert median(sizes[-300:]) == pytest.approx(PEAK, rel=0.15)
