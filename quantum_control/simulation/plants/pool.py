"""A pool whose workers slow each other down."""

from __future__ import annotations

from math import inf, sqrt

from quantum_control.core.errors import ConfigError
from quantum_control.core.numeric import ops_for
from quantum_control.simulation.plants.base import TINY, Plant, Reading

CONTENTION = 0.03
"""sigma of the example pool: 3 % of the work is serial."""

COHERENCY = 0.97 / 35.0**2
"""kappa of the example pool: the peak lies at 35 workers."""


class UslPool(Plant):
    """Pool under the Universal Scalability Law.

    n busy workers complete

        X(n) = n·lambda/(1 + sigma·(n - 1) + kappa·n·(n - 1))

    jobs per second, most at n* = sqrt((1 - sigma)/kappa); one job then takes
    s(n) = n/X(n) seconds of a worker. Jobs that are not served carry over.

    - *calm*: with nothing carried over, and no more arriving than min(u, n*)
      workers complete, as many workers are busy as the arrivals need, the
      smaller root n of X(n) = arrivals/interval.
    - *busy*: otherwise all u workers are, and capacity is X(u)·interval. A
      pool larger than n* then stays slow until its queue is empty, which at
      X(u) below the arrivals is never: more workers, less work.

    Demand is jobs·s(u)/interval: it grows with the size, because service
    slows down.

    Parameters
    ----------
    rate
        lambda, jobs per second of one worker alone.
    contention, coherency
        sigma in [0, 1) and kappa, 0 or more. Unit 1.

    References
    ----------
    N. Gunther, Guerrilla Capacity Planning (Springer, 2007), ch. 4-6.
    """

    def __init__(
        self,
        *,
        rate: float = 10.0,
        contention: float = CONTENTION,
        coherency: float = COHERENCY,
        delay: int = 0,
        interval: float = 1.0,
    ) -> None:
        super().__init__(delay=delay, interval=interval)
        if not (rate > 0.0 and 0.0 <= contention < 1.0 and coherency >= 0.0):
            raise ConfigError(
                f"UslPool(rate={rate!r}, contention={contention!r}, coherency={coherency!r}): "
                "needs rate > 0, 0 <= contention < 1, coherency >= 0"
            )
        self.rate = rate
        self.contention = contention
        self.coherency = coherency
        self.backlog: float = 0.0
        """Jobs carried over."""

    @property
    def peak(self) -> float:
        """n* = sqrt((1 - sigma)/kappa), the size of most throughput; inf without coherency cost."""
        return sqrt((1.0 - self.contention) / self.coherency) if self.coherency else inf

    def capacity(self, workers: float) -> float:
        """X(n), jobs per second of `workers` busy workers."""
        slowdown = 1.0 + (workers - 1.0) * (self.contention + self.coherency * workers)
        return workers * self.rate / slowdown

    def workers_for(self, throughput: float) -> float:
        """Smaller n with X(n) = `throughput` (jobs per second); n* where none reaches it.

        The root of kappa·r·n² - B·n + r·(1 - sigma) = 0 with
        B = lambda - r·(sigma - kappa), in the form that is stable for small kappa.
        """
        xp = ops_for(throughput)
        linear = self.rate - throughput * (self.contention - self.coherency)
        constant = throughput * (1.0 - self.contention)
        root = xp.sqrt(xp.maximum(0.0, linear * linear - 4.0 * self.coherency * throughput * constant))
        return 2.0 * constant / xp.maximum(linear + root, TINY)

    def _run(self, size: float, arrivals: float) -> Reading:
        jobs = self.backlog + arrivals
        xp = ops_for(jobs - size)
        within = self.capacity(xp.minimum(size, self.peak)) * self.interval
        calm = (self.backlog <= 0.0) & (arrivals <= within)
        full = self.capacity(size) * self.interval
        served = xp.where(calm, jobs, xp.minimum(jobs, full))
        demand = xp.where(calm, self.workers_for(arrivals / self.interval), size * jobs / full)
        self.backlog = jobs - served
        busy = xp.minimum(demand, size)
        return Reading(
            demand=demand,
            size=size,
            arrived=arrivals,
            served=served,
            left=self.backlog,
            throughput=served / self.interval,
            wait_seconds=self.backlog * self.interval / xp.maximum(served, TINY),
            service_seconds=xp.where(
                served > 0.0, busy * self.interval / xp.maximum(served, TINY), 1.0 / self.rate
            ),
        )

    def _empty(self) -> None:
        self.backlog = 0.0
