"""The settings that auto-tuning holds against each other."""

from __future__ import annotations

from math import inf
from typing import Final

from quantum_control.core.physics import Objective
from quantum_control.physics.staffing import Staffing

FILTERS: Final = ((0.01, 4.0), (0.01, inf), (0.1, 4.0), (0.1, inf), (0.3, 4.0), (1.0, 4.0))
"""(agility, jump): from a level that hardly moves to one that is the last sample; whether a burst is
believed at once. More of them cost time and gain less than 0.1 %."""

HEADROOMS: Final = (0.3, 0.55, 0.8, 1.1)
"""Centre of the rest interval in spreads, at the default prices; in proportion to what others ask for."""

LEAST: Final = 1.0 / 3.0
"""Of that proportion: where waiting is so cheap that they ask for no headroom at all."""

SLACK: Final = 0.1
"""Half its width. Two of them, 0 and 0.3, cost twice the time and gain less than 0.1 %."""


def rests(objective: Objective) -> tuple[tuple[float, float], ...]:
    """(headroom, slack) of each candidate, about what the prices of `objective` ask for.

    A Gaussian's quantile is right for a Gaussian whose spread is known; of what
    demand really does, the candidates show how far from it is best.
    """
    asked = Staffing.for_objective(objective).headroom / Staffing.for_objective(Objective()).headroom
    return tuple((max(asked, LEAST) * headroom, SLACK) for headroom in HEADROOMS)
