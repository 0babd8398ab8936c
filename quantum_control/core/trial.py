"""Which sizes are compared next, and when."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import expm1, log

from quantum_control.core.elasticity import Arm

WIDE = log(4.0)
"""Widest ratio of sizes compared, as a logarithm: finds a knee anywhere in few trials."""

DITHER = WIDE / 4.0
"""Ratio, 1.41, by which a known knee is probed: differences show, and little is lost meanwhile."""

FINE = WIDE / 16.0
"""Ratio, 1.09, that ends the search: finer ones differ by less than noise lets anybody see."""

BLOCK = 4
"""Intervals of the first stay of a trial at either size; later ones are as long as all before."""

LONG = 48
"""Intervals at the rival size after which a trial of a wide ratio that is still open is cut short."""

LONGER = 3 * LONG
"""The same for a ratio up to DITHER, where a trial costs next to nothing: halves what is lost to noise."""

REST = 16
"""Intervals of rest after a search; doubled after each that finds nothing new."""

REST_AT_KNEE = 64
"""Longest rest at a knee, which may move without a trace in the throughput of the size kept."""

REST_MOST = 256
"""Longest rest while no knee is known, where each trial wastes work on a size that is too small."""


@dataclass(slots=True)
class Trial:
    """A size that takes turns with the one it may replace, lest drift of the work be read as a knee."""

    home: float
    target: float
    up: bool
    rival: Arm = field(default_factory=Arm)
    """What was seen at the target."""
    away: bool = True
    """Whether it is the target's turn."""
    left: int = BLOCK
    """Intervals left of this turn."""
    stalled: int = 0
    """Intervals without progress."""

    @property
    def goal(self) -> float:
        """Size whose turn it is."""
        return self.target if self.away else self.home

    def swap(self, seen: int) -> None:
        """Give the turn to the other size, for as many intervals as the target was `seen`."""
        self.away = not self.away
        self.left = max(BLOCK, seen)


class Search:
    """The order of trials: down before up, wide before fine, and rest once neither pays.

    Down comes first: it is where a pool that has run away has to go, and a
    smaller size that does as well is better.
    """

    def __init__(self) -> None:
        self.hold = 1.0
        """Intervals of rest until the next trial."""
        self.blurred = False
        """Whether noise hides what finer ratios do."""
        self._rest = REST  # hold after the next search
        self._step = WIDE  # ratio to try next, as a logarithm
        self._up = False  # direction to try next
        self._lost = [False, False]  # whether down, up have lost at this ratio

    def restart(self) -> None:
        """Begin anew: the pool is another."""
        self.hold = 0.0
        self.blurred = False
        self._rest = REST
        self._step = WIDE
        self._up = False
        self._lost = [False, False]

    def widen(self) -> None:
        """Go on with the widest ratio."""
        self._step = WIDE

    def trial(self, size: float, at_knee: bool) -> Trial:
        """Make the next trial from `size`; its target is at least one unit away, and may be none at all.

        Up is tried only at a knee: elsewhere the law goes up by itself.
        """
        self._up = self._up and at_knee
        change = size * expm1(self._step if self._up else -self._step)
        target = size + (max(change, 1.0) if self._up else min(change, -1.0))
        return Trial(size, target, self._up)

    def won(self, known: bool) -> None:
        """Go on in the direction that paid: at once if a knee is `known`, else after a rest."""
        self._lost = [False, False]
        self.hold = 0.0 if known else REST

    def failed(self, up: bool, size: float, at_knee: bool) -> None:
        """Go on from a direction that does not pay: the other one, a finer ratio, or rest."""
        self._lost[up] = True
        self.hold = 0.0
        if at_knee and not self._lost[not up]:
            self._up = not up
            return
        self._lost = [False, False]
        if at_knee and not self.blurred and self._step > max(1.5 * FINE, 1.0 / size):
            self._step /= 2.0
            self._up = False
            return
        self._step = DITHER if at_knee else WIDE
        self._up = at_knee
        self.blurred = False
        self.hold = self._rest
        self._rest = min(2 * self._rest, REST_AT_KNEE if at_knee else REST_MOST)
