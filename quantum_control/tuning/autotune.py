"""Auto-tuning without experiments on the live resource.

The flow is seen whatever the size is, so every candidate setting of a law can
be replayed on a twin of the resource at each step and charged what it would
have cost (full information, as in prediction with expert advice). The size
asked for is the mean of the candidates' sizes, weighted by those costs: with
convex costs it costs no more than the candidates do on average, and often less
than the best of them.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from quantum_control.core.physics import Objective, PhysicsModel
from quantum_control.core.resource import ResourceState
from quantum_control.physics.base import StaffedModel
from quantum_control.physics.staffing import SMALLEST
from quantum_control.tuning.candidates import FILTERS, RESTS
from quantum_control.tuning.twin import Forecasts, Twin


class Tuned(PhysicsModel):
    """A law whose agility, headroom and slack are learnt as it goes.

    Parameters
    ----------
    law
        The law to tune.
    objective
        Prices by which its candidates are judged.
    """

    def __init__(self, law: StaffedModel, objective: Objective) -> None:
        self.law = law
        self.name = law.name
        self._objective = objective
        self._anticipated: tuple[Any, Any] = (0.0, 0.0)
        self._forecasts: Forecasts | None = None
        self._twin: Twin | None = None

    def anticipate(self, amplitude: float) -> tuple[float, float]:
        """What the law itself knows beforehand."""
        self._anticipated = self.law.anticipate(amplitude)
        return self._anticipated

    def predict_next_state(self, current: ResourceState) -> ResourceState:
        """As the law predicts."""
        return self.law.predict_next_state(current)

    def setpoint(self, state: ResourceState) -> float:
        """As the law's, untuned."""
        return self.law.setpoint(state)

    def calculate_force(self, state: ResourceState) -> float:
        """Force that takes the size to the weighted mean of the candidates' sizes; 1/s."""
        if self._twin is None or self._forecasts is None:
            shape = np.shape(state.flow)
            self._forecasts = Forecasts(FILTERS, RESTS, ladder=True, shape=shape)
            self._twin = Twin(self.law, self._forecasts.rests, self._objective, shape)
        amplitude = np.sqrt(np.asarray(state.flow, dtype=float))
        forecast, spread = self._forecasts.update(amplitude, *self._anticipated)
        size, backlog = self._twin.step(state, forecast, spread)
        # The candidates answer to the backlogs of their twins; the live one takes their place.
        wanted = np.maximum(size + state.backlog - backlog, SMALLEST)
        force = np.log(wanted / state.commanded) / state.interval
        return float(force) if np.ndim(force) == 0 else cast(float, force)
