"""How fast a queue drains when something waits in it, and the limit that this asks for."""

from __future__ import annotations

from math import nan

from quantum_control.resources.stock import Stock

BUSY = 0.25
"""Share of its limit, or of the one asked for if that is smaller, which a queue holds at both ends of an
interval if it has not run empty in between: TCP's saw-tooth gives up 30 to 50 % at a time."""

WRAP = 1 << 32
"""Counts of dropped packets start over here."""


class Drain:
    """Learns the rate R at which a queue drains, from what has left it.

    While something waits all the time, what leaves is what the link carries:
    R is that of the interval. In any other interval it is a lower bound, since
    nobody may have had anything to send: R only rises to it. A link that has
    become slower is seen as soon as something waits; one that has become
    faster, as soon as more than before gets through.

    The limit that is asked for is R times the target: full, it then takes the
    target to drain. Until something was seen to wait it is not below the limit
    found.

    Parameters
    ----------
    target
        Seconds that a full queue shall take to drain.
    grain
        What one packet counts as in the unit of the limit: a queue that holds less is empty.
    """

    def __init__(self, target: float, grain: float) -> None:
        self.target = target
        self._rate = 0.0
        self._seen = False  # whether R was ever measured, and is more than a lower bound
        self._grain = grain
        self._found = nan  # the limit before there was a rate
        self._stock = Stock()
        self._time: float = nan
        self._sent = 0.0
        self._drops = 0
        self._backlog = 0.0
        self._metrics: dict[str, float] = {}

    def count(self, time: float, sent: float, backlog: float, drops: int, limit: float) -> None:
        """Take what the kernel has counted up to `time` (s) and what waits, in the unit of the limit."""
        elapsed = time - self._time
        if elapsed <= 0.0:
            return  # too soon for rates: those of the interval before stand
        if sent >= self._sent and elapsed == elapsed:  # neither counting anew, nor the first one
            rate = (sent - self._sent) / elapsed
            full = min(limit, rate * self.target)
            if rate > 0.0 and min(self._backlog, backlog) >= max(BUSY * full, self._grain):
                self._rate, self._seen = rate, True
            self._rate = max(self._rate, rate)
            waiting = 0.5 * (self._backlog + backlog)
            self._metrics = {
                "sent": rate,
                "drops": ((drops - self._drops) % WRAP) / elapsed,
                "wait_seconds": waiting / rate if rate > 0.0 else (nan if waiting else 0.0),
                "queue_depth": backlog,
                "drain_rate": self._rate if self._seen else nan,
            }
        self._time, self._sent, self._backlog, self._drops = time, sent, backlog, drops

    def demand(self, limit: float) -> float:
        """Demand to report while `limit` is in force, so that a controller comes to what is asked for."""
        if self._found != self._found:
            self._found = limit
        wanted = self._rate * self.target
        return self._stock.demand(wanted if self._seen else max(wanted, self._found), limit)

    def metrics(self) -> dict[str, float]:
        """Figures of the last interval; none before there was one."""
        return dict(self._metrics)
