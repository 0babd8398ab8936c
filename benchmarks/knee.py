"""What the knee is worth: each law, and its peers, on pools whose workers slow each other down.

    python benchmarks/knee.py [--seeds N]

Every law runs through `QuantumController.optimize()` on a simulated clock. The
pool follows the Universal Scalability Law with its peak at 35 workers, Poisson
arrivals and Poisson completions. The peers run as they were published, without
the knee; the rows "no knee" and "with knee" exchange that. Exits with 1 if a
law of ours with the knee runs away or does not recover.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf
from statistics import fmean, median

import numpy as np

from quantum_control import PhysicsModel, QuantumController
from quantum_control.core.knee import Knee
from quantum_control.simulation.peers import peer
from quantum_control.simulation.plants.base import TINY, Reading
from quantum_control.simulation.plants.pool import COHERENCY, CONTENTION, UslPool
from quantum_control.simulation.plants.resource import PlantResource

RATE = 30.0
"""Jobs per second of one worker alone: some 425 at the peak."""
MOST = 500
"""Bound of the size."""
OVERLOAD, LIGHT = 1.3, 0.6
"""Load, in units of the most that the pool can do."""
TIMEOUT = 5.0
"""Seconds that a job waits before it leaves, where there is a time-out."""
STEPS = 1000
STEADY = 300
"""Intervals at the end of a run that are taken for the steady state."""
OVERLOADED = 200
"""Intervals of overload before recovery begins."""
STUCK = 2000.0
"""Jobs waiting where a run begins past the knee."""
BOUND = 100
"""Bound of the size of the pool without a knee."""
RATES = (0.3, 3.0, 10.0, 30.0, 300.0)
"""Jobs per second of a worker alone: how much there is to be counted."""
WAIT = 800
"""Intervals that a recovery may take."""


class CountedPool(UslPool):
    """`UslPool` with Poisson completions, whose jobs leave after waiting for `timeout` seconds."""

    def __init__(
        self,
        seed: int,
        timeout: float = inf,
        *,
        rate: float = RATE,
        contention: float = CONTENTION,
        coherency: float = COHERENCY,
    ) -> None:
        super().__init__(rate=rate, contention=contention, coherency=coherency)
        self._rng = np.random.default_rng(seed)
        self._timeout = timeout

    def _run(self, size: float, arrivals: float) -> Reading:
        fluid = super()._run(size, arrivals)
        if fluid.left <= 0.0:
            return fluid
        jobs, capacity = fluid.served + fluid.left, self.capacity(size)
        served = min(jobs, float(self._rng.poisson(capacity * self.interval)))
        self.backlog = left = min(jobs - served, self._timeout * capacity)
        return replace(
            fluid,
            served=served,
            left=left,
            lost=jobs - served - left,
            throughput=served / self.interval,
            wait_seconds=left * self.interval / max(served, TINY),
        )


class NoKnee(Knee):
    """Knows no knee, limits nothing."""

    def observe(self, size: float, demand: float, throughput: float, interval: float) -> None:
        """Learn nothing."""


@dataclass
class Run:
    """What happened in one run."""

    sizes: list[float]
    left: list[float]
    served: float
    ceiling: float

    @property
    def steady(self) -> list[float]:
        """Sizes of the steady state."""
        return self.sizes[-STEADY:]

    def cleared(self, since: int = 0) -> float:
        """Intervals from `since` until the backlog was gone; inf if it never was."""
        return next((float(step) for step, left in enumerate(self.left[since:]) if left <= 0.0), inf)


@dataclass(frozen=True)
class Contender:
    """A law by name, tuned or not, with the knee or without."""

    label: str
    law: Callable[[], str | PhysicsModel]
    tuned: bool = False
    knee: bool = True

    def run(self, pool: CountedPool, loads: list[float], size: int, most: int, seed: int) -> Run:
        """Steer `pool` under `loads`, mean jobs per interval."""
        arrivals = np.random.default_rng([seed, 1]).poisson(loads)
        resource = PlantResource(pool, arrivals, size, max_size=most)
        controller = QuantumController(resource, self.law(), self.tuned, clock=pool.clock)
        if not self.knee:
            controller._knee = NoKnee()
        run = Run([], [], 0.0, inf)
        for _ in loads:
            controller.optimize()
            assert resource.reading is not None
            run.sizes.append(resource.reading.size)
            run.left.append(resource.reading.left)
            run.served += resource.reading.served
        run.ceiling = controller._knee.ceiling
        return run


def named(name: str) -> Callable[[], str]:
    """Return what gives the name of a law."""
    return lambda: name


def rival(name: str) -> Callable[[], PhysicsModel]:
    """Return what makes a peer."""
    return lambda: peer(name)


LAWS = ("optomechanical", "parametric", "coherent", "auto")
CONTENDERS = [
    *(
        Contender(law + (", tuned" if tuned else ""), named(law), tuned)
        for law in LAWS
        for tuned in (False, True)
    ),
    Contender("optomechanical, no knee", named("optomechanical"), knee=False),
    *(Contender(name, rival(name), knee=False) for name in ("ewma", "gradient2", "vegas", "hill_climbing")),
    Contender("ewma, with knee", rival("ewma")),
]


def row(contender: Contender, seeds: int) -> tuple[str, bool]:
    """Run every trial of one contender: its line of the table, and whether it stayed sound."""
    usl = CountedPool(0)
    top = usl.capacity(usl.peak)
    overload = [OVERLOAD * top] * STEPS
    wave = [OVERLOAD * top] * OVERLOADED + [LIGHT * top] * WAIT
    light = [LIGHT * top] * WAIT
    cells = [f"{contender.label:24}"]
    sound = True
    for timeout in (inf, TIMEOUT):
        runs = [contender.run(CountedPool(seed, timeout), overload, 10, MOST, seed) for seed in range(seeds)]
        share = fmean(usl.capacity(size) / top for run in runs for size in run.steady)
        sizes = [median(run.steady) for run in runs]
        sound &= max(sizes) < 2.0 * usl.peak
        cells.append(f"{median(sizes):5.0f} {min(sizes):4.0f}-{max(sizes):<4.0f}{share:7.1%}")
    late = median(
        contender.run(CountedPool(seed), wave, 10, MOST, seed).cleared(OVERLOADED) for seed in range(seeds)
    )
    stuck = []
    for seed in range(seeds):
        pool = CountedPool(seed)
        pool.backlog = STUCK
        stuck.append(contender.run(pool, light, MOST, MOST, seed).cleared())
    sound &= max(late, *stuck) < inf
    cells.append(f"{late:8.0f}{median(stuck):7.0f}")
    if contender.knee:
        alarms = [false_alarm(contender, RATE, seed) for seed in range(seeds)]
        false = sum(alarm for alarm, _ in alarms)
        cells.append(f"{false:4d}/{seeds}{fmean(served for _, served in alarms):9.4f}")
    else:
        cells.append(f"{'-':>6}{'-':>9}")
    return "  ".join(cells), sound


def false_alarm(contender: Contender, rate: float, seed: int) -> tuple[bool, float]:
    """Whether a pool without a knee got one at the end, and what was done against no knee being sought."""
    loads = [OVERLOAD * rate * BOUND] * STEPS
    seeking, bare = (
        each.run(CountedPool(seed, rate=rate, contention=0.0, coherency=0.0), loads, 10, BOUND, seed)
        for each in (contender, replace(contender, knee=False))
    )
    return seeking.ceiling < BOUND, seeking.served / bare.served


def by_rate(seeds: int) -> None:
    """Print how close to the peak one law comes, and what it costs without one, by how much is counted."""
    coherent = next(each for each in CONTENDERS if each.label == "coherent")
    print(f"\ncoherent by the rate of a worker, {4 * seeds} runs each, overload")
    print("  per worker  at the peak  within 10 %  within 20 %    share  worst    false  served   worst")
    for rate in RATES:
        usl = CountedPool(0, rate=rate)
        top = usl.capacity(usl.peak)
        sizes, shares, alarms = [], [], []
        for seed in range(4 * seeds):
            run = coherent.run(CountedPool(seed, rate=rate), [OVERLOAD * top] * STEPS, 10, MOST, seed)
            sizes.append(median(run.steady) / usl.peak)
            shares.append(fmean(usl.capacity(size) / top for size in run.steady))
            alarms.append(false_alarm(coherent, rate, seed))
        near, close = (fmean(abs(size - 1.0) <= part for size in sizes) for part in (0.1, 0.2))
        print(
            f"{rate:10g}/s{top:11.0f}/s{near:13.0%}{close:13.0%}{fmean(shares):9.1%}{min(shares):7.1%}"
            f"{sum(alarm for alarm, _ in alarms):9d}"
            f"{fmean(served for _, served in alarms):8.4f}{min(served for _, served in alarms):8.4f}"
        )


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3, help="runs of each law and trial")
    seeds = parser.parse_args().seeds
    logging.disable(logging.WARNING)
    usl = CountedPool(0)
    top = usl.capacity(usl.peak)
    began = time.perf_counter()
    print(
        f"best: {usl.peak:.0f} workers, {top:.0f} jobs/s; bound {MOST}; {seeds} seeds; "
        "steady size (median, range) and share of the best throughput"
    )
    print(
        f"recovery: seconds of {LIGHT:.0%} load until the backlog is gone, after {OVERLOADED} s of "
        f"{OVERLOAD:.0%} (at the peak {OVERLOADED * (OVERLOAD - 1.0) / (1.0 - LIGHT):.0f})\n"
        f"stuck: the same from a size of {MOST} with {STUCK:.0f} jobs waiting "
        f"(at the peak {STUCK / (1.0 - LIGHT) / top:.0f})\n"
        f"false: runs that end with a ceiling below the bound, {BOUND}, of a pool without a knee under "
        f"{OVERLOAD:.0%} load\nserved: what is done there, against the same law without the knee\n"
    )
    print(
        f"{'':24}  {'overload':^20}  {f'with time-out {TIMEOUT:.0f} s':^20}"
        f"  {'recovery':>8}{'stuck':>7}  {'false':>6}{'served':>9}"
    )
    good = True
    for contender in CONTENDERS:
        line, sound = row(contender, seeds)
        good &= sound or not contender.knee
        print(line, "" if sound else "  <- runs away or stays stuck", flush=True)
    by_rate(seeds)
    print(f"\n{time.perf_counter() - began:.0f} s")
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
