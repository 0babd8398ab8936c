"""The settings that auto-tuning holds against each other."""

from __future__ import annotations

from math import inf
from typing import Final

FILTERS: Final = ((0.01, 4.0), (0.01, inf), (0.1, 4.0), (0.1, inf), (0.3, 4.0), (1.0, 4.0))
"""(agility, jump): from a level that hardly moves to one that is the last sample; whether a burst is
believed at once. More of them cost time and gain less than 0.1 %."""

HEADROOMS: Final = (0.3, 0.55, 0.8, 1.1)
"""Centre of the rest interval in spreads."""

SLACK: Final = 0.1
"""Half its width. Two of them, 0 and 0.3, cost twice the time and gain less than 0.1 %."""

RESTS: Final = tuple((headroom, SLACK) for headroom in HEADROOMS)
