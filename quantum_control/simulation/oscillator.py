"""What the laws were invented for: an oscillator in a bath, and a measured particle without inertia.

Both are driven by the very laws that steer resources, by way of `seen`, so that
published results about cooling hold, or do not hold, for the code that is in
use. Mass and Boltzmann's constant are 1. Values are floats, or arrays of one
row a run; noise needs arrays.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import cos, inf, nan, sin
from typing import Any

import numpy as np

from quantum_control.core.errors import ConfigError
from quantum_control.core.numeric import ops_for
from quantum_control.core.resource import ResourceState


def seen(
    deviation: float, velocity: float = 0.0, acceleration: float = 0.0, *, interval: float = 1.0
) -> ResourceState:
    """State in which the rest size is exp(deviation) times the size that is ordered.

    The size is 1, the forecast certain, the velocity free of noise (its snr is
    infinite): a law whose staffing has neither headroom nor slack acts on
    exactly that deviation.

    Parameters
    ----------
    deviation
        ln(rest/u), the coordinate that the law brings to rest. Below 700, so that its exponential exists.
    velocity, acceleration
        1/s, 1/s².
    interval
        Seconds that the law takes for one interval; with 1, F and F·dt are the same number.
    """
    rest = ops_for(deviation).exp(deviation)
    return ResourceState(
        rest - 1.0,
        velocity,
        acceleration,
        size=1.0,
        interval=interval,
        commanded=1.0,
        flow=rest,
        forecast=rest,
        snr=inf,
    )


class Oscillator:
    """Langevin oscillator x'' + g·x' + w²·x = sqrt(2·g·T)·xi - F.

    A step of length h is half a step of the oscillator in its bath, a kick of
    the force by the midpoint rule, dv = -F(x, v - h·F/2)·h, and the other half.
    The rotation and the bath's damping are solved exactly, and composed
    symmetrically (as BAOAB, Leimkuhler & Matthews 2013): the error is of
    second order in h, and where F is a spring the energy does not drift.

    Parameters
    ----------
    step
        h, seconds.
    frequency
        w, rad/s; 0 is a free mass.
    damping
        g of the bath, 1/s. A row each, if an array.
    temperature
        T of the bath: <v²> and w²·<x²> at equilibrium.
    imprecision
        S, two-sided spectral density of the white noise in the velocity that
        the force is shown, <n(t)·n(0)> = S·delta(t): variance S/h a step. A row each, if an array.
    x, v
        Position and velocity at the start.
    rng
        Source of the noise, if there is any.

    Raises
    ------
    ConfigError
        Step or frequency is out of range, or there is noise and no `rng`.
    """

    def __init__(
        self,
        *,
        step: float,
        frequency: float = 0.0,
        damping: Any = 0.0,
        temperature: float = 0.0,
        imprecision: Any = 0.0,
        x: Any = 0.0,
        v: Any = 0.0,
        rng: np.random.Generator | None = None,
    ) -> None:
        if not (step > 0.0 and frequency >= 0.0):
            raise ConfigError(
                f"Oscillator(step={step!r}, frequency={frequency!r}): needs step > 0 and frequency >= 0"
            )
        self.step = step
        self.x = x
        self.v = v
        self.measured: Any = nan
        """Velocity with the imprecision, as the force was shown it in the middle of the last step."""
        self._damped = bool(np.any(damping))
        self._heated = self._damped and temperature > 0.0
        self._blurred = bool(np.any(imprecision))
        if rng is None and (self._blurred or self._heated):
            raise ConfigError("Oscillator: noise needs rng=numpy.random.default_rng(seed)")
        self._rng = rng or np.random.default_rng(0)  # without noise nothing is drawn from it
        half = step / 2.0
        angle = frequency * half
        self._cosine = cos(angle)
        self._drift = sin(angle) / frequency if frequency else half
        self._return = frequency * sin(angle)
        # The bath acts for a quarter of the step before, and for another after, each half rotation.
        self._keep = np.exp(-np.asarray(damping) * step / 4.0)
        self._shake = np.sqrt(temperature * (1.0 - self._keep**2))
        self._blur = np.sqrt(np.asarray(imprecision) / step)

    def advance(self, force: Callable[[Any, Any], Any]) -> None:
        """Take one step; `force` takes the position and the velocity as measured, and acts against them."""
        self._half()
        noise = self._blur * self._normal() if self._blurred else 0.0
        x, v = self.x, self.v
        self.measured = v + noise - 0.5 * self.step * force(x, v + noise)
        self.v = v - force(x, self.measured) * self.step
        self._half()

    def _half(self) -> None:
        self._bathe()
        x, v = self.x, self.v
        self.x = self._cosine * x + self._drift * v
        self.v = self._cosine * v - self._return * x
        self._bathe()

    def _bathe(self) -> None:
        if self._damped:
            self.v = self._keep * self.v
        if self._heated:
            self.v = self.v + self._shake * self._normal()

    def _normal(self) -> Any:
        return self._rng.standard_normal(np.shape(self.x))


class Particle:
    """Overdamped particle x' = drive - F·dt + noise, in steps: the size's own equation.

    With x = ln(rest/u), a size that follows forces at once, and demand that
    wanders, this is what every law steers. A force acts `delay` steps after it
    was ordered.

    Parameters
    ----------
    x
        Position at the start.
    diffusion
        q, variance of the noise a step.
    imprecision
        r, variance of the noise in what is measured.
    delay
        d, steps between the order of a force and its effect, beyond the step itself.
    rng
        Source of the noise, if there is any.

    Raises
    ------
    ConfigError
        The delay is negative, or there is noise and no `rng`.
    """

    def __init__(
        self,
        x: Any,
        *,
        diffusion: Any = 0.0,
        imprecision: Any = 0.0,
        delay: int = 0,
        rng: np.random.Generator | None = None,
    ) -> None:
        if delay < 0:
            raise ConfigError(f"Particle(delay={delay!r}): steps, 0 or more")
        self.x = x
        self._noisy = bool(np.any(diffusion)) or bool(np.any(imprecision))
        if self._noisy and rng is None:
            raise ConfigError("Particle: noise needs rng=numpy.random.default_rng(seed)")
        self._rng = rng or np.random.default_rng(0)  # without noise nothing is drawn from it
        self._drive = np.sqrt(np.asarray(diffusion))
        self._blur = np.sqrt(np.asarray(imprecision))
        self._orders: deque[Any] = deque([0.0] * delay)

    @property
    def ordered(self) -> Any:
        """Position once the forces in flight have acted: the one from the size ordered (Smith 1957)."""
        return self.x - sum(self._orders)

    def measure(self) -> Any:
        """Position with its imprecision."""
        if not self._noisy:
            return self.x
        return self.x + self._blur * self._normal()

    def advance(self, pull: Any) -> None:
        """Take one step, in which `pull` = F·dt is ordered."""
        self._orders.append(pull)
        self.x = self.x - self._orders.popleft()
        if self._noisy:
            self.x = self.x + self._drive * self._normal()

    def _normal(self) -> Any:
        return self._rng.standard_normal(np.shape(self.x))
