"""From plain measurements to position, velocity, acceleration and temperature.

Demand that arrives in an interval (the flow) is told apart from the backlog
carried into it, because only the flow is exogenous: the backlog is what past
sizes left undone. The flow is filtered in amplitude, y = sqrt(flow), where
countable demand has the constant shot noise 1/2 whatever its level (Anscombe
1948), so that one filter serves two threads and two billion bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import inf, nan
from types import MappingProxyType

from quantum_control.core.delay import DelayEstimator
from quantum_control.core.errors import SensorError
from quantum_control.core.flow import flow_and_backlog
from quantum_control.core.missed import Missed
from quantum_control.core.numeric import SCALAR, Ops, ops_for
from quantum_control.core.resource import ResourceState, quick_state

SHOT_NOISE = 0.25
"""Variance of sqrt(n) for a Poisson count n: 1/4 to first order."""

AGILITY = 0.1
"""Process over measurement variance of the untuned filter; steady gain 0.27.
Best single value over bursts, steps and periodic loads; loads that only
fluctuate want less and are what tuning is for."""

JUMP = 4.0
"""Normalised innovation squared past which a burst is believed at once (2 sigma)."""

TEMPERATURE_GAIN = 0.02
"""Weight of one innovation in the temperature: a memory of 50 intervals."""

TEMPERATURE_FLOOR = 0.05
"""Below this demand is taken for deterministic; keeps the filter from trusting itself without end."""

OUTLIER = 9.0
"""One innovation counts at most this many temperatures (3 sigma), so that a burst is not taken for heat."""

LARGEST = 1e100
"""Demand past which a measurement is taken for garbage, and below which no formula overflows. As size."""

NO_METRICS: Mapping[str, float] = MappingProxyType({})


class AmplitudeFilter:
    """Local-level Kalman filter of the amplitude, believing bursts at once.

    y_t = m_t + noise of variance r = T/4; m_t = m_{t-1} + noise of variance
    h·r. The steady gain is K = (-h + sqrt(h² + 4h))/2 (Harvey 1989, ch. 4).
    Where the innovation e exceeds `jump` times its variance S, e² - S is added
    to the variance of the level: the filter opens for one step.

    Parameters
    ----------
    agility
        h, process over measurement variance. Larger follows faster and
        passes on more noise. Unit 1.
    jump
        Normalised e² past which a burst is believed, 1 or more; inf never.

    Both take arrays, one row a filter; `update` then takes and keeps arrays.
    """

    __slots__ = ("agility", "change", "change_error", "jump", "level", "started", "temperature", "variance")

    def __init__(self, agility: float = AGILITY, jump: float = JUMP) -> None:
        self.agility = agility
        self.jump = jump
        self.started = False
        """Whether there has been a first sample."""
        self.level: float = nan
        """Filtered amplitude m. sqrt(size)."""
        self.variance: float = SHOT_NOISE
        """Variance of the level after the last update. size."""
        self.temperature: float = 1.0
        self.change: float = 0.0
        """Last change of the level. sqrt(size)."""
        self.change_error: float = 1.0
        """Standard deviation of `change` if nothing but noise had happened. sqrt(size)."""

    @property
    def gained(self) -> float:
        """Last change of the squared level: of the flow. As size."""
        return self.change * (2.0 * self.level - self.change)

    def start(self, amplitude: float) -> None:
        """Take the first sample; amplitude in sqrt(size)."""
        blank = 0.0 * (amplitude + self.agility)
        self.started = True
        self.level = amplitude + blank
        self.variance = SHOT_NOISE + blank
        self.temperature = 1.0 + blank
        self.change = blank
        self.change_error = 1.0 + blank

    def update(self, amplitude: float, intervals: float = 1.0, xp: Ops = SCALAR) -> None:
        """Take one sample `intervals` after the one before; amplitude in sqrt(size)."""
        temperature = self.temperature
        noise = SHOT_NOISE * temperature
        variance = self.variance + self.agility * noise * intervals
        expected = variance + noise
        innovation = amplitude - self.level
        square = innovation * innovation
        share = square / expected
        variance += (square - expected) * (share > self.jump)
        gain = variance / (variance + noise)
        self.change = gain * innovation
        self.change_error = gain * xp.sqrt(expected)
        self.level += self.change
        self.variance = (1.0 - gain) * variance
        # The share noise/expected of the innovation is the measurement's own; in shot noises, a temperature.
        warmer = TEMPERATURE_GAIN * (xp.minimum(share, OUTLIER) - 1.0)
        self.temperature = xp.maximum(temperature + temperature * warmer, TEMPERATURE_FLOOR)

    def spread(self, intervals: float, xp: Ops = SCALAR) -> float:
        """Give the standard deviation of the amplitude `intervals` ahead, with shot noise; sqrt(size)."""
        noise = SHOT_NOISE * self.temperature
        return xp.sqrt(self.variance + (self.agility * intervals + 1.0) * noise)


class Estimator:
    """Turns each measurement into the full `ResourceState` that a law sees.

    Parameters
    ----------
    interval
        Nominal seconds between measurements.
    anticipate
        The law's own knowledge of what comes: takes the amplitude of this
        interval, returns the part of it that was known beforehand and the
        part known of the interval in which the next size acts (both in
        sqrt(size)). The filter tracks the rest.
    missed
        Told, before it, how many intervals were not measured, if any.
    agility, jump
        Of the `AmplitudeFilter`.
    delay
        Intervals that a command takes to be in force, beyond the sampling
        itself; rows of an array share it. None to measure it, of one resource
        only: then all that is measured is turned into plain floats.
    """

    def __init__(
        self,
        interval: float = 1.0,
        *,
        anticipate: Callable[[float], tuple[float, float]] | None = None,
        missed: Callable[[int], None] | None = None,
        agility: float = AGILITY,
        jump: float = JUMP,
        delay: int | None = None,
    ) -> None:
        self.interval = interval
        self.filter = AmplitudeFilter(agility, jump)
        self.delays = DelayEstimator() if delay is None else None
        self._delay = delay or 0
        self._anticipate = anticipate
        self._missed = missed
        self._passed = Missed()
        self._carried: float = 0.0
        self._time = -inf
        self._last: ResourceState | None = None

    @property
    def delay(self) -> int:
        """Intervals that a command takes to be in force, beyond the sampling itself."""
        return self.delays.delay if self.delays is not None else self._delay

    def update(
        self,
        measured: ResourceState,
        time: float,
        commanded: float = nan,
        metrics: Mapping[str, float] = NO_METRICS,
    ) -> ResourceState:
        """State at `time` (s) from what was measured, the size last `commanded` and the resource's metrics.

        A repeated sample (no time has passed) returns the estimate as it
        stands; after a gap the uncertainty has grown with it.

        Raises
        ------
        SensorError
            The position is not a number of -1 or more, or the size is not
            positive, or the demand is past all numbers. The estimate stays as
            it was.
        """
        position, size = measured.position, measured.size
        xp = SCALAR if self.delays is not None else ops_for(position)
        if xp is SCALAR:
            position, size = _checked(position, size, commanded)
            if commanded != commanded:
                commanded = size
        elif commanded is nan:
            commanded = size
        last = self._last
        elapsed = time - self._time if last is not None else self.interval
        if not elapsed > 0.0 and last is not None:
            self._time = time  # also if the clock went back: it is believed from here on
            return replace(last, time=time)
        intervals = elapsed / self.interval
        if self.delays is not None:
            self.delays.commanded(round(commanded), 1 if intervals < 1.5 else round(intervals))
            self.delays.observed(size)
        if self._missed is not None and (passed := self._passed.before(intervals)):
            self._missed(passed)

        flow, backlog = flow_and_backlog(size * (1.0 + position), size, self._carried, intervals, xp)
        amplitude = xp.sqrt(flow)
        known, coming = self._anticipate(amplitude) if self._anticipate is not None else (0.0, 0.0)
        level = self.filter
        if level.started:
            level.update(amplitude - known, intervals, xp)
        else:
            level.start(amplitude - known)
        self._carried = backlog
        self._time = time

        ahead = xp.maximum(level.level + coming, 0.0)
        forecast = ahead * ahead
        delay = self.delay
        if self.delays is not None and delay:
            rise = (coming - known) / (delay + 1.0)  # what a law knows beforehand is given for the ends
            for number, ordered in enumerate(self.delays.in_flight(), 1):
                between = xp.maximum(level.level + known + number * rise, 0.0)
                backlog = xp.maximum(backlog + between * between - ordered, 0.0)
        velocity = level.gained / (elapsed * size)
        self._last = state = quick_state(
            position,
            velocity,
            (velocity - last.velocity) / elapsed if last is not None else 0.0 * velocity,
            size=size,
            time=time,
            interval=self.interval,
            commanded=commanded,
            flow=flow,
            forecast=forecast,
            spread=level.spread(delay + 1.0, xp),
            backlog=backlog,
            temperature=level.temperature,
            snr=level.change / level.change_error,
            throughput=metrics.get("throughput", measured.throughput),
            wait_seconds=metrics.get("wait_seconds", measured.wait_seconds),
            service_seconds=metrics.get("service_seconds", measured.service_seconds),
            errors=metrics.get("errors", measured.errors),
            drops=metrics.get("drops", measured.drops),
        )
        return state


def _checked(position: float, size: float, commanded: float) -> tuple[float, float]:
    """Position and size as plain floats; the size ordered stands in for one that was not measured."""
    position, size = float(position), float(size)
    if size != size and commanded == commanded:
        size = float(round(commanded))
    if not 0.0 < size < inf:
        raise SensorError(
            f"measured size is {size!r}; a size is a positive, finite number. "
            "Return ResourceState(..., size=...) from measure_state()"
        )
    if not -1.0 <= position < inf:
        raise SensorError(
            f"measured position is {position!r}; it is demand/size - 1 and so never below -1. "
            "ResourceState.from_demand(demand, size=...) computes it"
        )
    if not size * (1.0 + position) < LARGEST:
        raise SensorError(f"measured demand is {size * (1.0 + position):.3g}; nothing real is that large")
    return position, size
