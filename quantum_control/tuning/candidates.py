"""The settings that auto-tuning holds against each other."""

from __future__ import annotations

from itertools import product
from math import inf
from typing import Final

AGILITIES: Final = (0.01, 0.03, 0.1, 0.3, 1.0)
"""Process over measurement variance: from a level that hardly moves to one that is the last sample."""

JUMPS: Final = (4.0, inf)
"""Whether a burst is believed at once."""

HEADROOMS: Final = (0.3, 0.55, 0.8, 1.1)
"""Centre of the rest interval in spreads."""

SLACKS: Final = (0.0, 0.3)
"""Half its width."""

FILTERS: Final = tuple(product(AGILITIES, JUMPS))
RESTS: Final = tuple(product(HEADROOMS, SLACKS))
