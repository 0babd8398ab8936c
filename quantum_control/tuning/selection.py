"""Which law: selected online by measured cost, with a price, a dwell and a confidence on every switch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, cast

import numpy as np
from numpy.typing import NDArray

from quantum_control.core.errors import ConfigError
from quantum_control.core.estimation import AGILITY, JUMP
from quantum_control.core.numeric import ops_for
from quantum_control.core.physics import Objective, PhysicsModel
from quantum_control.core.resource import ResourceState
from quantum_control.physics.base import StaffedModel
from quantum_control.physics.coherent import Coherent
from quantum_control.physics.optomechanical import Optomechanical
from quantum_control.physics.parametric import Parametric
from quantum_control.physics.staffing import SMALLEST
from quantum_control.tuning.candidates import FILTERS, rests
from quantum_control.tuning.twin import Forecasts, Twin, cost_of

Array = NDArray[np.float64]

DISCOUNT = 0.998
"""Forgetting of costs per interval: a memory of 500 intervals."""

MARGIN = 0.01
"""Share of the cost by which another option must have been cheaper: the price of switching."""

CONFIDENCE = 2.0
"""Standard errors by which it must have been cheaper."""

DWELL = 50
"""Fewest intervals between two switches."""


class Selector:
    """Which of several options to use, from what each would have cost (full information).

    Switches to the option of the largest discounted advantage over the current
    one if that is more than MARGIN of the current's cost and more than
    CONFIDENCE standard errors of the paired differences, and the last switch
    is DWELL intervals ago. Differences are paired, so that a load that is dear
    for all counts for none.
    """

    def __init__(self, options: int, shape: tuple[int, ...]) -> None:
        self.current: NDArray[np.intp] = np.zeros(shape, dtype=np.intp)
        """Index of the option in use."""
        self.switches = np.zeros(shape)
        """Switches so far."""
        self.gain = np.zeros(shape)
        """Share of the cost that the last switch promised to save."""
        self.advantage = np.zeros((options, *shape))
        """Discounted cost of the option in use less that of each option, since the last switch."""
        self.paid = np.zeros(shape)
        """Discounted cost of the option in use, since the last switch."""
        self._square = np.zeros((options, *shape))
        self._age = np.zeros(shape)

    def update(self, cost: Array) -> bool:
        """Take the costs of one interval, options along the first axis; whether any row has switched."""
        paid = np.take_along_axis(cost, self.current[None], axis=0)
        saved = paid - cost
        for total, new in ((self.advantage, saved), (self._square, saved * saved), (self.paid, paid[0])):
            total *= DISCOUNT
            total += new
        self._age += 1.0
        best = self.advantage.argmax(axis=0)
        advantage = np.take_along_axis(self.advantage, best[None], axis=0)[0]
        noise = np.sqrt(np.take_along_axis(self._square, best[None], axis=0)[0])
        switch = (advantage > CONFIDENCE * noise) & (advantage > MARGIN * self.paid) & (self._age >= DWELL)
        if not switch.any():
            return False
        self.gain = np.where(switch, advantage / self.paid, self.gain)
        self.current = np.where(switch, best, self.current)
        self.switches += switch
        self._age *= ~switch
        # All three are of the option in use, which is now another.
        self.paid *= ~switch
        self.advantage *= ~switch
        self._square *= ~switch
        return True


class Auto(PhysicsModel):
    """Selects among the three laws by what each would have cost on a twin of the resource.

    Parameters
    ----------
    objective
        Prices by which they are judged.
    tune
        Whether each law is tuned as well.
    """

    name = "auto"

    def __init__(self, objective: Objective | None = None, *, tune: bool = False) -> None:
        self._objective = objective or Objective()
        self._tune = tune
        self._parametric = Parametric.create(self._objective)
        self.laws: tuple[StaffedModel, ...] = (
            Optomechanical.create(self._objective),
            Coherent.create(self._objective),
            self._parametric,
        )
        self.selector: Selector | None = None
        self.explanation = ""
        """Why the law in use was chosen (single resources)."""
        self._anticipated: tuple[Any, Any] = (0.0, 0.0)
        self._plain: Forecasts | None = None
        self._rhythmic: Forecasts | None = None
        self._twins: list[Twin] = []
        self._size: Array | None = None
        self._backlog: Array = np.zeros(0)

    @classmethod
    def create(cls, objective: Objective) -> Self:
        """The selection by the prices of `objective`."""
        return cls(objective)

    def tuned(self, objective: Objective) -> PhysicsModel:
        """The selection among the laws, each tuned."""
        tuned = type(self)(objective, tune=True)
        tuned.phase = self.phase
        return tuned

    @property
    def law(self) -> StaffedModel:
        """The law in use (single resources)."""
        return self.laws[0 if self.selector is None else int(self.selector.current)]

    def scores(self) -> dict[str, float]:
        """Share of the cost of the law in use that each law would have saved since the last switch.

        Empty at first, and in the interval of a switch; of single resources.
        """
        selector = self.selector
        if selector is None or not selector.paid.any():
            return {}
        shares = selector.advantage / selector.paid
        return {law.name: float(share) for law, share in zip(self.laws, shares, strict=True)}

    def anticipate(self, amplitude: float) -> tuple[float, float]:
        """Nothing, whichever law is in use: the rhythm is the parametric candidates' own."""
        self._parametric.phase = self.phase
        self._parametric.delay = self.delay
        self._anticipated = self._parametric.anticipate(amplitude)
        return 0.0, 0.0

    def missed(self, intervals: int) -> None:
        """Let the rhythm go on through `intervals` that were not measured."""
        self._parametric.missed(intervals)

    def predict_next_state(self, current: ResourceState) -> ResourceState:
        """As the laws predict that know of no rhythm, whichever is in use."""
        return self.laws[0].predict_next_state(current)

    def predict_demand(self, current: ResourceState) -> float:
        """As the laws predict that know of no rhythm, whichever is in use; as size."""
        return self.laws[0].predict_demand(current)

    def setpoint(self, state: ResourceState) -> float:
        """As the first law's, untuned."""
        return self.laws[0].setpoint(state)

    def learned(self) -> dict[str, object]:
        """The law in use, the weights of each law's candidates, and the levels of demand."""
        if self.selector is None or self._plain is None:
            return {}
        weights = {law.name: twin.learned() for law, twin in zip(self.laws, self._twins, strict=True)}
        return {
            "law": self.name,
            "in_use": self.law.name,
            "weights": weights,
            "levels": self._plain.learned(),
        }

    def recall(self, learned: Mapping[str, object]) -> None:
        """Go on from what `learned()` returned.

        Raises
        ------
        ConfigError
            It is another law's, or was learnt among other candidates.
        """
        weights, names = learned.get("weights"), [law.name for law in self.laws]
        if learned.get("law") != self.name or not isinstance(weights, Mapping) or set(weights) != set(names):
            raise ConfigError(f"what was learnt is not of a selection among {', '.join(names)}")
        if learned.get("in_use") not in names:
            raise ConfigError(f"the law in use is recorded as {learned.get('in_use')!r}")
        selector = self._begin(())
        try:
            for name, twin in zip(names, self._twins, strict=True):
                twin.recall(weights[name])
            cast(Forecasts, self._plain).recall(learned.get("levels"))
        except ConfigError:
            self.selector = None
            raise
        selector.current = np.array(names.index(str(learned["in_use"])))

    def calculate_force(self, state: ResourceState) -> float:
        """Force of the law in use; 1/s."""
        selector = self.selector or self._begin(np.shape(state.flow))
        if self._size is None:
            self._size = np.zeros_like(self._backlog) + state.commanded
        xp = ops_for(state.flow)
        amplitude = xp.sqrt(state.flow)
        forecasts = cast(Forecasts, self._plain).update(amplitude, 0.0, 0.0, self.delay)
        rhythmic = cast(Forecasts, self._rhythmic).update(amplitude, *self._anticipated, self.delay)
        size = np.array(
            [
                twin.step(state, *(rhythmic if law is self._parametric else forecasts))
                for law, twin in zip(self.laws, self._twins, strict=True)
            ]
        )
        backlog = np.maximum(self._backlog + state.flow - self._size, 0.0)
        # Each law's own size, had it been in use: its candidates' mean, for its own backlog.
        own = np.maximum(size + backlog, SMALLEST)
        cost = cost_of(self._objective, backlog, self._size, own - self._size)
        if selector.update(cost) and not selector.current.ndim:
            self.explanation = (
                f"{self.law.name}: {float(selector.gain):.1%} cheaper than the law before it, "
                f"over the last {1.0 / (1.0 - DISCOUNT):.0f} intervals or since the last switch"
            )
        self._size, self._backlog = own, backlog
        chosen = cast(float, np.take_along_axis(size, selector.current[None], axis=0)[0])
        wanted = xp.maximum(chosen + state.backlog, SMALLEST)
        return xp.log(wanted / state.commanded) / state.interval

    def _begin(self, shape: tuple[int, ...]) -> Selector:
        staffing = self.laws[0].staffing
        filters = FILTERS if self._tune else ((AGILITY, JUMP),)
        tried = rests(self._objective) if self._tune else ((staffing.headroom, staffing.slack),)
        self._plain = Forecasts(filters, tried, ladder=self._tune, shape=shape, phase=self.phase)
        self._rhythmic = Forecasts(filters, tried, ladder=False, shape=shape)
        self._twins = []
        for law in self.laws:
            source = self._rhythmic if law is self._parametric else self._plain
            twin = Twin(law, source.rests, self._objective, shape)
            if not self._tune:  # as the law comes: a candidate's would get its dead band on top
                twin.law.staffing = law.staffing
            self._twins.append(twin)
        self._backlog = np.zeros((len(self.laws), *shape))
        self.selector = Selector(len(self.laws), shape)
        return self.selector
