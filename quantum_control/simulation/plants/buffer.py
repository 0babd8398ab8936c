"""A buffer in front of a line of fixed rate."""

from __future__ import annotations

from math import inf

from quantum_control.core.errors import ConfigError
from quantum_control.core.numeric import ops_for
from quantum_control.simulation.plants.base import Plant, Reading


class DropTailBuffer(Plant):
    """Queue limit before a bottleneck: small drops, large makes everything wait.

    With the content q, the arrivals a, the rate c per interval and the limit u:

        sent = min(q + a, c),  w = q + a - sent,  q' = min(w, u),  dropped = w - q'.

    Demand w is what would have had to be stored; the last to come in waits
    q'/c intervals. Lowering the limit below the content drops the difference.

    Parameters
    ----------
    rate
        c/interval: what the line sends, in units of size per second.
    """

    def __init__(self, *, rate: float = 50.0, delay: int = 0, interval: float = 1.0) -> None:
        super().__init__(delay=delay, interval=interval)
        if not 0.0 < rate < inf:
            raise ConfigError(f"rate={rate!r}: units of size per second, a positive number")
        self.rate = rate
        self.content: float = 0.0
        """Stored at the end of the interval. As size."""

    def _run(self, size: float, arrivals: float) -> Reading:
        work = self.content + arrivals
        xp = ops_for(work - size)
        sent = xp.minimum(work, self.rate * self.interval)
        demand = work - sent
        self.content = xp.minimum(demand, size)
        dropped = demand - self.content
        return Reading(
            demand=demand,
            size=size,
            arrived=arrivals,
            served=sent,
            left=self.content,
            throughput=sent / self.interval,
            lost=dropped,
            wait_seconds=self.content / self.rate,
            service_seconds=1.0 / self.rate,
            drops=dropped / self.interval,
        )

    def _empty(self) -> None:
        self.content = 0.0
