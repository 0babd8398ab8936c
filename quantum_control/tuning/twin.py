"""A twin of the resource for every candidate: what it would have done with the same flow, at what cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from quantum_control.core.errors import ConfigError
from quantum_control.core.estimation import AmplitudeFilter
from quantum_control.core.numeric import ARRAY, SCALAR
from quantum_control.core.physics import Objective
from quantum_control.core.resource import ResourceState, quick_state
from quantum_control.physics.base import StaffedModel
from quantum_control.physics.staffing import Staffing
from quantum_control.tuning.ladder import Ladder
from quantum_control.tuning.weights import Weights, numbers

Array = NDArray[np.float64]


class Forecasts:
    """Forecast and spread of the flow to come by every filter, and by the ladder for every rest.

    Parameters
    ----------
    filters
        (agility, jump) of each filter.
    rests
        (headroom, slack) of each rest interval; every filter is combined with
        every rest.
    ladder
        Whether the ladder's quantiles are combined with every rest too.
    shape
        Shape of the flow: () for one resource, (rows,) for many.
    phase
        Of the ladder.
    """

    def __init__(
        self,
        filters: Sequence[tuple[float, float]],
        rests: Sequence[tuple[float, float]],
        *,
        ladder: bool,
        shape: tuple[int, ...],
        phase: int = 0,
    ) -> None:
        self._shape = shape
        # Of one resource each filter runs on plain floats, which take half the time of an array of six.
        self._filters = [AmplitudeFilter(*each) for each in filters]
        if shape:
            columns = [cast(float, _column(each, shape)) for each in zip(*filters, strict=True)]
            self._filters = [AmplitudeFilter(*columns)]
        self._ops = ARRAY if shape else SCALAR
        self._ladder = Ladder(int(np.prod(shape)), phase) if ladder else None
        self.rests = list(rests) * (len(filters) + int(ladder))
        """(headroom, slack) of each candidate, in the order of the forecasts."""
        # The ladder is no Gaussian: for each rest it gets the spread that a Gaussian with
        # the same quantile at that headroom would have.
        heads = sorted({headroom for headroom, _ in rests})
        self._probabilities = np.array([0.5, *map(NormalDist().cdf, heads)])
        self._which = np.array([1 + heads.index(headroom) for headroom, _ in rests])
        self._headrooms = _column([headroom for headroom, _ in rests], shape)
        self._plain = len(filters) * len(rests)
        self._parted = (len(filters), len(rests), *shape)
        self._kept = None if shape else self._made()

    def _made(self) -> tuple[Array, Array]:
        return np.empty((len(self.rests), *self._shape)), np.empty((len(self.rests), *self._shape))

    def learned(self) -> dict[str, object]:
        """What the ladder has learnt; empty without one."""
        return {} if self._ladder is None else self._ladder.learned()

    def recall(self, learned: object) -> None:
        """Go on from what `learned()` returned; raises `ConfigError` if it does not fit."""
        if self._ladder is not None:
            if not isinstance(learned, Mapping):
                raise ConfigError("nothing is recorded of the levels of demand")
            self._ladder.recall(learned)

    def update(self, amplitude: float, known: float, coming: float, delay: int = 0) -> tuple[Array, Array]:
        """Take the amplitude of this interval, the part of it that was known, and that of the one to come.

        That is `delay` + 1 intervals on. Returns forecast (as size) and spread (sqrt(size)) of its flow,
        candidates along the first axis.
        """
        xp, unknown = self._ops, amplitude - known
        for each in self._filters:
            if each.started:
                each.update(unknown, 1.0, xp)
            else:
                each.start(unknown)
        # Of one resource the arrays are kept, as this is done at every step; of many that would take memory.
        ahead, spread = self._kept or self._made()
        # Each filter's value goes to all its rests.
        levels = self._stacked([xp.maximum(each.level + coming, 0.0) for each in self._filters])
        ahead[: self._plain].reshape(self._parted)[...] = levels[:, None]
        spreads = self._stacked([each.spread(1.0 + delay, xp) for each in self._filters])
        spread[: self._plain].reshape(self._parted)[...] = spreads[:, None]
        if self._ladder is not None:
            self._ladder.update(np.reshape(amplitude, -1))
            quantiles = self._ladder.quantiles(self._probabilities, delay).reshape(-1, *self._shape)
            median = quantiles[0]
            ahead[self._plain :] = median
            spread[self._plain :] = (quantiles[self._which] - median) / self._headrooms
        return ahead * ahead, spread

    def _stacked(self, values: Sequence[float]) -> Array:
        """One row a filter, whether the filters are apart or in one."""
        return cast(Array, values[0]) if self._shape else np.array(values)


class Twin:
    """The candidates of one law, each steering a resource of its own with the same flow."""

    def __init__(
        self,
        law: StaffedModel,
        rests: Sequence[tuple[float, float]],
        objective: Objective,
        shape: tuple[int, ...],
    ) -> None:
        self.law = law.candidate(
            Staffing(
                cast(float, _column([headroom for headroom, _ in rests], shape)),
                cast(float, _column([slack for _, slack in rests], shape)),
            )
        )
        self.weights = Weights(np.full(len(rests), 1.0 / len(rests)), shape=shape)
        self._objective = objective
        self._size: Array | None = None
        self._backlog = np.zeros((len(rests), *shape))
        self._regime: Any = 0.0

    def learned(self) -> list[float]:
        """Weight of each candidate (single resources)."""
        return [float(weight) for weight in self.weights.values]

    def recall(self, learned: object) -> None:
        """Go on from what `learned()` returned; raises `ConfigError` if it is of other candidates."""
        count = len(self.weights.values)
        weights = numbers(learned)
        if weights.shape != (count,) or not (
            np.isfinite(weights).all() and weights.min() >= 0.0 < weights.sum()
        ):
            raise ConfigError(f"the weights recorded are not those of {count} candidates")
        self.weights.recall(weights)

    def step(self, state: ResourceState, forecast: Array, spread: Array) -> Array:
        """Charge every candidate for this interval and let it set its next size.

        Returns the weighted mean of the sizes set, each less the backlog that it answers to; as size.
        """
        size = self._size
        if size is None:
            size = self._backlog + state.commanded
        demand = self._backlog + state.flow
        backlog = np.maximum(demand - size, 0.0)
        rows = quick_state(
            cast(float, demand / size - 1.0),
            state.velocity,
            state.acceleration,
            size=cast(float, size),
            commanded=cast(float, size),
            interval=state.interval,
            flow=state.flow,
            forecast=cast(float, forecast),
            spread=cast(float, spread),
            backlog=cast(float, backlog),
            snr=state.snr,
        )
        wanted = size * np.exp(self.law.calculate_force(rows) * state.interval)
        regime = self.law.regime
        if regime is not self._regime:
            self.weights.forget(np.asarray(regime != self._regime))
            self._regime = regime
        self.weights.update(cost_of(self._objective, backlog, size, wanted - size))
        self._size, self._backlog = wanted, backlog
        return cast(Array, np.add.reduce(self.weights.values * (wanted - backlog), axis=0))


def cost_of(objective: Objective, backlog: Array, size: Array, change: Array) -> Array:
    """`Objective.cost` of many at once."""
    return cast(Array, objective.cost(cast(float, backlog), cast(float, size), cast(float, change)))


def _column(values: Sequence[float], shape: tuple[int, ...]) -> Array:
    return np.array(values, dtype=float).reshape(-1, *(1 for _ in shape))
