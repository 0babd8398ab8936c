"""Auto-tuning without experiments on the live resource.

The flow is seen whatever the size is, so every candidate setting of a law can
be replayed on a twin of the resource at each step and charged what it would
have cost (full information, as in prediction with expert advice). The size
asked for is the mean of the candidates' sizes, weighted by those costs: with
convex costs it costs no more than the candidates do on average, and often less
than the best of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np

from quantum_control.core.errors import ConfigError
from quantum_control.core.numeric import ops_for
from quantum_control.core.physics import Objective, PhysicsModel
from quantum_control.core.resource import ResourceState
from quantum_control.physics.base import StaffedModel
from quantum_control.physics.staffing import SMALLEST
from quantum_control.tuning.candidates import FILTERS, rests
from quantum_control.tuning.twin import Forecasts, Twin


class Tuned(PhysicsModel):
    """A law whose filter (agility, jump) and headroom are learnt as it goes.

    Parameters
    ----------
    law
        The law to tune. Its `Staffing` is not used, but that the coherent law adds its slack to the
        candidates'; its agility and jump are of the motion that it sees, not of the forecasts.
    objective
        Prices by which its candidates are judged.
    """

    def __init__(self, law: StaffedModel, objective: Objective) -> None:
        self.law = law
        self.name = law.name
        self.phase = law.phase
        self.agility, self.jump = law.agility, law.jump
        self._objective = objective
        self._anticipated: tuple[Any, Any] = (0.0, 0.0)
        self._forecasts: Forecasts | None = None
        self._twin: Twin | None = None

    def anticipate(self, amplitude: float) -> tuple[float, float]:
        """What the law itself knows beforehand."""
        self.law.delay = self.delay
        self._anticipated = self.law.anticipate(amplitude)
        return self._anticipated

    def missed(self, intervals: int) -> None:
        """Tell the law of `intervals` that were not measured."""
        self.law.missed(intervals)

    def predict_next_state(self, current: ResourceState) -> ResourceState:
        """As the law predicts."""
        return self.law.predict_next_state(current)

    def predict_demand(self, current: ResourceState) -> float:
        """As the law predicts; as size."""
        return self.law.predict_demand(current)

    def setpoint(self, state: ResourceState) -> float:
        """As the law's, untuned."""
        return self.law.setpoint(state)

    def learned(self) -> dict[str, object]:
        """Weights of the candidates, the mean settings that they amount to, and the levels of demand."""
        if self._forecasts is None or self._twin is None:
            return {}
        weights, rest = self._twin.learned(), self._twin.law.staffing
        return {
            "law": self.name,
            "headroom": float(np.dot(weights, rest.headroom)),
            "slack": float(np.dot(weights, rest.slack)),
            "weights": weights,
            "levels": self._forecasts.learned(),
        }

    def recall(self, learned: Mapping[str, object]) -> None:
        """Go on from what `learned()` returned.

        Raises
        ------
        ConfigError
            It is another law's, or was learnt among other candidates.
        """
        if learned.get("law") != self.name:
            raise ConfigError(f"what was learnt is of the law {learned.get('law')!r}, not {self.name!r}")
        forecasts, twin = self._begin(())
        try:
            twin.recall(learned.get("weights"))
            forecasts.recall(learned.get("levels"))
        except ConfigError:
            self._forecasts = self._twin = None
            raise

    def _begin(self, shape: tuple[int, ...]) -> tuple[Forecasts, Twin]:
        self._forecasts = Forecasts(
            FILTERS, rests(self._objective), ladder=True, shape=shape, phase=self.phase
        )
        self._twin = Twin(self.law, self._forecasts.rests, self._objective, shape)
        return self._forecasts, self._twin

    def calculate_force(self, state: ResourceState) -> float:
        """Force that takes the size to the weighted mean of the candidates' sizes; 1/s."""
        forecasts, twin = self._forecasts, self._twin
        if forecasts is None or twin is None:
            forecasts, twin = self._begin(np.shape(state.flow))
        xp = ops_for(state.flow)
        forecast, spread = forecasts.update(xp.sqrt(state.flow), *self._anticipated, self.delay)
        size = cast(float, twin.step(state, forecast, spread))
        # The candidates answer to the backlogs of their twins; the live one takes their place.
        wanted = xp.maximum(size + state.backlog, SMALLEST)
        return xp.log(wanted / state.commanded) / state.interval
