"""What number of workers a gunicorn is set to, which it does not tell, from which processes there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

SETTLED = 2.0
"""Seconds after which a number of workers that cannot be ours is somebody else's. A worker that has died
is replaced within one (gunicorn, arbiter.py: the main loop)."""

LEFT = 1.0
"""Seconds after which a worker that is to leave begins nothing new, and after which one that waits for
work is no longer about to end."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A worker at one instant."""

    pid: int
    serves: bool
    """Whether it has begun to serve."""
    busy: bool
    """Whether it has a connection."""
    beat: float
    """When it told last that it lives; seconds since 1970."""


class Setting:
    """The number that the master keeps up, as far as can be told from outside.

    It is what was found and what was ordered since, for as long as the workers
    there are agree. Of those, the oldest ones that are too many are leaving:
    they end their last requests and take no others.

    Parameters
    ----------
    workers
        Those there are at first, oldest first; each is taken to stay.
    """

    def __init__(self, workers: Sequence[Seen]) -> None:
        self._odd = 0  # how many were there when they ceased to agree
        self._odd_at = 0.0  # when that was; seconds since 1970
        self._left_at = 0.0  # when one was last told to leave, likewise
        self.begin(workers)

    def begin(self, workers: Sequence[Seen]) -> None:
        """Go on from the workers there are, as at first."""
        self.number = len(workers)
        """What it is taken for."""
        self._leaving: set[int] = set()
        self._there: Sequence[Seen] = workers
        self._agreed = {each.pid for each in workers}  # those there were when all agreed last
        self._odd_since: float | None = None
        self._staying_since: float | None = None  # since when some of too many have been seen to stay
        self._reached = True  # whether what was ordered last has been there

    @property
    def staying(self) -> list[Seen]:
        """The workers that are not about to leave."""
        return [each for each in self._there if each.pid not in self._leaving]

    @property
    def leaving(self) -> int:
        """Workers that are about to leave."""
        return len(self._there) - len(self.staying)

    @property
    def in_force(self) -> int:
        """The size: what was ordered, or as many as serve until that has been reached.

        A worker that replaces a dead one counts from the beginning: the setting is what it was.
        """
        if self._reached:
            return self.number
        return max(1, min(self.number, sum(each.serves for each in self.staying)))

    @property
    def doubtful(self) -> bool:
        """Whether the workers there do not agree with it, and it is not known why yet."""
        return self._odd_since is not None

    @property
    def kept(self) -> bool:
        """Whether all that there is agrees with it, and nobody who is to leave waits for work."""
        return not self.doubtful and all(each.busy for each in self._there if each.pid in self._leaving)

    def step(self, change: int, wall: float) -> None:
        """Take note that one more (1) or one fewer (-1) was ordered; `wall` is in seconds since 1970."""
        self.number += change
        if change > 0:
            self._reached = False
        else:
            self._leaving.update(each.pid for each in self.staying[:1])
            self._left_at = wall

    def recount(self) -> None:
        """Take those that wait for work for staying, and what there is for what is set."""
        leaving = {each.pid for each in self._there if each.pid in self._leaving and each.busy}
        self.begin(self._there)
        self._leaving = leaving
        self.number = len(self.staying)

    def observe(self, workers: Sequence[Seen], now: float, wall: float) -> bool:
        """Take in which workers there are; true if somebody else must have set their number.

        Parameters
        ----------
        workers
            Those there are, oldest first.
        now
            Seconds on a clock that never runs backwards.
        wall
            Seconds since 1970.
        """
        self._there = workers
        self._leaving &= {each.pid for each in workers if each.beat <= self._left_at + LEFT}
        staying = self.staying
        self._reached = self._reached or sum(each.serves for each in staying) >= self.number
        # While some are leaving the master begins no new ones in their place.
        if len(staying) <= self.number <= len(workers):
            self._agreed = {each.pid for each in workers}
            self._odd_since = None
            return False
        if self._odd_since is None or len(staying) != self._odd:
            self._odd, self._odd_since, self._odd_at = len(staying), now, wall
            self._staying_since = None
        if now - self._odd_since < SETTLED or self._reloading(staying, now):
            return False
        self.begin(workers)
        return True

    def _reloading(self, staying: Sequence[Seen], now: float) -> bool:
        """Whether those too many may be on their way out, replaced by others (SIGHUP).

        They are not once one of them waits for work for a while, or has begun anew since.
        """
        if len(staying) < self.number:
            return False
        old = [each for each in staying if each.pid in self._agreed]
        if not old:
            return False
        if all(each.busy and each.beat <= self._odd_at for each in old):
            self._staying_since = None
            return True
        if self._staying_since is None:
            self._staying_since = now
        return now - self._staying_since < LEFT
