"""The registry of loads: what each is called, stands for, and its parameters.

Calibration
-----------
The parameters of the first four were searched (Nelder-Mead on three ratios,
then rounded) so that on a fluid queue without extra delay, cost = 3·backlog +
1·size + 0.3·|change|, mean over runs, they reproduce the figures that earlier
experiments with such loads had reached:

=============  ===================  ==================  =========================
load           foresight/fixed      EWMA/foresight      known intensity/foresight
=============  ===================  ==================  =========================
bursts         .456                 1.44                1.24
periodic       .594                 1.20                1.13
steps          .489                 1.18                1.11
heavy_tail     .457                 1.72                1.50
=============  ===================  ==================  =========================

*fixed* is the best size in hindsight of each run, *EWMA* the law of
`peers.ewma`, the two bounds are those of `peers.bounds`. The figures reached
are in `tests/simulation/test_calibration.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from zlib import crc32

import numpy as np

from quantum_control.core.errors import ConfigError, unknown_name
from quantum_control.simulation import generators
from quantum_control.simulation.traces import TRACES, trace, traces_directory
from quantum_control.simulation.traffic import FloatArray, Traffic

__all__ = ["LOADS", "TRACES", "Load", "Traffic", "load", "trace", "traces_directory"]

STEPS = 1500
"""Default intervals per run: 12 periods of `periodic`, 25 minutes at one a second."""


@dataclass(frozen=True, slots=True)
class Load:
    """A kind of load: a generator, its parameters, and what it stands for."""

    name: str
    stands_for: str
    generator: Callable[..., Traffic]
    parameters: Mapping[str, float] = field(default_factory=dict)
    """Parameters that differ from the generator's defaults."""

    def draw(self, runs: int, seed: int, steps: int = STEPS) -> Traffic:
        """Arrivals and intensity of `runs` runs.

        The same seed, runs and steps give the same traffic; two loads never
        share their random numbers, whatever the seed.
        """
        rng = np.random.default_rng([seed, crc32(self.name.encode())])
        return self.generator(rng, steps, runs, **self.parameters)

    def arrivals(self, runs: int, seed: int, steps: int = STEPS) -> FloatArray:
        """Arrivals only, of shape (steps, runs)."""
        return self.draw(runs, seed, steps).arrivals

    def vary(self, **parameters: float) -> Load:
        """Return the same load under other parameters."""
        return replace(self, parameters=MappingProxyType({**self.parameters, **parameters}))


LOADS: Mapping[str, Load] = MappingProxyType(
    {
        one.name: one
        for one in (
            Load("bursts", "campaigns, cron jobs, retries: two moods, no warning", generators.markov_bursts),
            Load(
                "periodic", "day and night, batch cycles: predictable, slowly drifting", generators.periodic
            ),
            Load("steps", "fail-over, deployments, tenants that come and go", generators.level_steps),
            Load("heavy_tail", "few jobs that are as large as all others together", generators.heavy_tail),
            Load("flash_crowd", "a link on a front page: ten-fold within seconds", generators.flash_crowd),
            Load("ramps", "roll-outs, drains and growth: straight lines", generators.ramps),
            Load("quiet_nights", "office hours: silence for a third of the time", generators.quiet_nights),
            Load("steady", "nothing happens: the price of restlessness", generators.steady),
        )
    }
)
"""Every synthetic load by name; the first four are the calibrated ones."""


def load(name: str) -> Load:
    """Look up the load of that name."""
    if name not in LOADS:
        raise ConfigError(unknown_name("load", name, LOADS))
    return LOADS[name]
