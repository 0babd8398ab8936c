"""The law of the scaler: demand in pods in, whole replicas out, for many targets at once.

Flow and backlog are measured apart, so that of the controller's estimator only the filter is needed. A
replica ordered now serves `delay` intervals later: the forecast's spread is that of this horizon, what a
law knows beforehand is of its end, and the backlog is what will be left then by the replicas already ordered.

How fast to follow and how much to keep in hand is not the same for smooth demand and for demand that comes in
lumps. Both are learnt: each of a few candidates scales a twin of the Deployment, with the same flow, start-up
and tolerance, and is charged what that would have cost; the replicas ordered are the mean of the
candidates', weighted by those costs (`tuning.weights`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import product
from math import inf
from typing import cast

import numpy as np
from numpy.typing import NDArray

from quantum_control.core.estimation import AGILITY, JUMP, AmplitudeFilter
from quantum_control.core.numeric import ARRAY
from quantum_control.core.physics import MAX_EXPONENT, PhysicsModel
from quantum_control.core.plugins import law
from quantum_control.core.resource import quick_state
from quantum_control.fleet.scaler_target import LawKey
from quantum_control.physics.base import StaffedModel
from quantum_control.physics.staffing import Staffing
from quantum_control.tuning.weights import Weights

Array = NDArray[np.float64]

TOLERANCE = 0.1
"""Share by which more, or fewer, must be wanted: within it the Horizontal Pod Autoscaler does nothing."""

FILTERS = ((0.01, inf), (AGILITY, JUMP))
"""(agility, jump) of the candidates: one that takes what comes in lumps for noise about a level that hardly
moves, one that believes a burst at once. A third and a fourth gain less than 0.5 %."""

HEADROOMS = (0.6, 1.0)
"""Of the candidates, as shares of what the prices ask for: a forecast that errs by less than its spread says
needs less."""

LEAST = 1e-3
"""Replicas below which the law does not look: it works with logarithms."""

ROUNDING = 1e-6
"""What a whole number may have lost in arithmetic; hides the last bits in which machines differ."""


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
        self._law, self._filter = _candidates(law(key.model, key.objective), key)
        self._law.delay = key.delay
        count = np.size(self._filter.agility)
        self._weights = Weights(np.full(count, 1.0 / count), shape=smallest.shape)
        self._smallest = smallest
        self._largest = largest
        self._steps = 0
        self._velocity: Array = np.zeros((count, len(smallest)))
        self._left: Array = np.zeros((count, len(smallest)))  # work that waits at each candidate's twin
        self._exact: Array = np.zeros((count, len(smallest)))
        # Candidates in the first rows, what is ordered in the last.
        self._orders: deque[Array] = deque(maxlen=key.delay + 1)

    @property
    def replicas(self) -> Array:
        """Ordered last."""
        return cast(Array, self._orders[-1][-1])

    def step(self, flow: Array, backlog: Array, real: NDArray[np.bool_]) -> Array:
        """Take one interval; the replicas to order.

        Parameters
        ----------
        flow
            Demand that came in, in pods that would just serve it.
        backlog
            Work that waits at the end of it, in pods that would serve it in one interval; nan where
            it is not measured: nobody answers to it then, though candidates are charged for it.
        real
            Which rows were measured; the others repeat the last value, and keep their replicas.
        """
        key, level = self._key, self._filter
        if not self._steps:
            self._exact += np.clip(np.maximum(flow, LEAST), self._smallest, self._largest)
            start = _whole(self._exact[:1])
            self._orders.extend([np.repeat(start, len(self._exact) + 1, axis=0)] * (key.delay + 1))
        self._steps += 1
        amplitude = cast(float, np.sqrt(flow)[None])
        known, coming = self._law.anticipate(amplitude)
        unknown = cast(float, amplitude - known + np.zeros_like(self._exact))
        if level.started:
            level.update(unknown, 1.0, ARRAY)
        else:
            level.start(unknown)
        ahead = ARRAY.maximum(level.level + coming, 0.0)
        forecast = cast(Array, ahead * ahead)

        queues = ~np.isnan(backlog)
        in_force = self._orders[0][:-1]
        self._left = np.maximum(self._left + flow - in_force, 0.0)
        weights = self._weights.values
        waiting = np.concatenate((np.where(queues, self._left, 0.0), np.where(queues, backlog, 0.0)[None]))
        rise = (coming - known) / (key.delay + 1.0)  # what a law knows beforehand is given for the ends
        for number, ordered in enumerate(list(self._orders)[1:], 1):
            between = cast(Array, np.square(np.maximum(level.level + known + number * rise, 0.0)))
            expected = np.concatenate((between, np.add.reduce(weights * between, axis=0)[None]))
            waiting = np.where(queues, np.maximum(waiting + expected - ordered, 0.0), 0.0)
        self._decide(flow, forecast, in_force, waiting[:-1])

        wanted = np.add.reduce(weights * (self._exact - waiting[:-1]), axis=0) + waiting[-1]
        wanted = np.clip(np.concatenate((self._exact, wanted[None])), self._smallest, self._largest)
        whole, now = _whole(wanted), self._orders[-1]
        moves = np.abs(whole / now - 1.0) > TOLERANCE + ROUNDING
        replicas = np.where(real & moves, whole, now)
        cost = key.waiting * self._left + key.pod * now[:-1] + key.change * np.abs(replicas - now)[:-1]
        self._weights.update(np.where(real, cost, 0.0))
        self._orders.append(replicas)
        return cast(Array, replicas[-1])

    def _decide(self, flow: Array, forecast: Array, in_force: Array, waiting: Array) -> None:
        """Let each candidate move its size."""
        key, level = self._key, self._filter
        velocity = level.gained / (key.interval * in_force)
        state = quick_state(
            cast(float, flow / in_force - 1.0),
            cast(float, velocity),
            cast(float, (velocity - self._velocity) / key.interval),
            size=cast(float, in_force),
            time=self._steps * key.interval,
            interval=key.interval,
            commanded=cast(float, self._exact),
            flow=cast(float, flow + np.zeros_like(in_force)),
            forecast=cast(float, forecast),
            spread=level.spread(key.delay + 1.0, ARRAY),
            backlog=cast(float, waiting),
            temperature=level.temperature,
            snr=level.change / level.change_error,
        )
        self._velocity = velocity
        exponent = np.minimum(self._law.calculate_force(state) * key.interval, MAX_EXPONENT)
        self._exact = np.clip(self._exact * np.exp(exponent), self._smallest, self._largest)


def _candidates(one: PhysicsModel, key: LawKey) -> tuple[PhysicsModel, AmplitudeFilter]:
    """The law around as many rest intervals as there are candidates, and their filters; a row each."""
    if not isinstance(one, StaffedModel):  # it selects, or steers, by itself
        return one, AmplitudeFilter(_column([one.agility]), _column([one.jump]))
    rest = Staffing.for_objective(key.objective)
    filters, shares = zip(*product(FILTERS, HEADROOMS), strict=True)
    # Without a dead band of the law's own: the tolerance is one.
    around = Staffing(_column([share * rest.headroom for share in shares]), rest.slack)
    agility, jump = (_column(each) for each in zip(*filters, strict=True))
    return StaffedModel.candidate(one, around), AmplitudeFilter(agility, jump)


def _column(values: Sequence[float]) -> float:
    return cast(float, np.array(values)[:, None])


def _whole(exact: Array) -> Array:
    return cast(Array, np.ceil(exact - ROUNDING))
