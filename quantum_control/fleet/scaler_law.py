"""The law of the scaler: demand in pods in, whole replicas out, for many targets at once.

Flow and backlog are measured apart, so that of the controller's estimator only the filter is needed. A
replica ordered now serves `delay` intervals later: the forecast's spread is that of this horizon, and
the backlog is what will be left then by the replicas already ordered.
"""

from __future__ import annotations

from collections import deque
from typing import cast

import numpy as np
from numpy.typing import NDArray

from quantum_control.core.estimation import AmplitudeFilter
from quantum_control.core.numeric import ARRAY
from quantum_control.core.plugins import law
from quantum_control.core.resource import quick_state
from quantum_control.fleet.scaler_target import LawKey

Array = NDArray[np.float64]

TOLERANCE = 0.1
"""Share by which more, or fewer, must be wanted: within it the Horizontal Pod Autoscaler does nothing."""

LEAST = 1e-3
"""Replicas below which the law does not look: it works with logarithms."""

ROUNDING = 1e-6
"""What a whole number may have lost in arithmetic; hides the last bits in which machines differ."""

MAX_EXPONENT = 50.0


class Sizing:
    """Replicas of many targets, one row each, that share what `LawKey` says.

    Parameters
    ----------
    key
        Model, prices, interval and start-up.
    smallest, largest
        Bounds of the replicas, a row a target.
    """

    def __init__(self, key: LawKey, smallest: Array, largest: Array) -> None:
        self._key = key
        self._law = law(key.model, key.objective)
        self._filter = AmplitudeFilter(self._law.agility, self._law.jump)
        self._smallest = smallest
        self._largest = largest
        self._steps = 0
        self._exact: Array = np.zeros(0)
        self._velocity: float = 0.0
        self._orders: deque[Array] = deque(maxlen=key.delay + 1)
        self.replicas: Array = np.zeros(0)
        """Ordered last."""

    def step(self, flow: Array, backlog: Array, real: NDArray[np.bool_]) -> Array:
        """Take one interval; the replicas to order.

        Parameters
        ----------
        flow
            Demand that came in, in pods that would just serve it.
        backlog
            Work that waits at the end of it, in pods that would serve it in one interval; nan where
            it is not measured.
        real
            Which rows were measured; the others repeat the last value, and keep their replicas.
        """
        key, level = self._key, self._filter
        if not self._steps:
            self._exact = np.clip(np.maximum(flow, LEAST), self._smallest, self._largest)
            self.replicas = _whole(self._exact)
            self._orders.extend([self.replicas] * (key.delay + 1))
        self._steps += 1
        amplitude = cast(float, np.sqrt(flow))
        known, coming = self._law.anticipate(amplitude)
        if level.started:
            level.update(amplitude - known, 1.0, ARRAY)
        else:
            level.start(amplitude - known)
        ahead = ARRAY.maximum(level.level + coming, 0.0)
        forecast = ahead * ahead

        in_force = cast(float, self._orders[0])
        waiting = backlog
        for ordered in list(self._orders)[1:]:
            waiting = np.maximum(waiting + forecast - ordered, 0.0)
        waiting = np.where(np.isnan(waiting), 0.0, waiting)
        velocity = level.change * (2.0 * level.level - level.change) / (key.interval * in_force)
        state = quick_state(
            cast(float, flow / in_force - 1.0),
            velocity,
            (velocity - self._velocity) / key.interval,
            size=in_force,
            time=self._steps * key.interval,
            interval=key.interval,
            commanded=cast(float, self._exact),
            flow=cast(float, flow),
            forecast=forecast,
            spread=level.spread(key.delay + 1.0, ARRAY),
            backlog=cast(float, waiting),
            temperature=level.temperature,
            snr=level.change / level.change_error,
        )
        self._velocity = velocity
        exponent = np.minimum(self._law.calculate_force(state) * key.interval, MAX_EXPONENT)
        self._exact = np.clip(self._exact * np.exp(exponent), self._smallest, self._largest)
        wanted = _whole(self._exact)
        now = self.replicas
        moves = np.abs(wanted / now - 1.0) > TOLERANCE + ROUNDING
        self.replicas = np.where(real & moves, wanted, now)
        self._orders.append(self.replicas)
        return self.replicas


def _whole(exact: Array) -> Array:
    return cast(Array, np.ceil(exact - ROUNDING))
