"""A server behind a concurrency limit, whose clients give up after a time-out."""

from __future__ import annotations

from quantum_control.core.errors import ConfigError
from quantum_control.core.numeric import ops_for
from quantum_control.simulation.plants.base import Plant, Reading


class TimeoutServer(Plant):
    """Server of fixed capacity; the size is the number of requests let in at a time.

    n requests in flight answer in R(n) = max(s0, n/mu) seconds (Little). From
    n = mu·timeout on every one of them times out: R stays at the time-out,
    all work is wasted, and a limiter that compares the latest latency with
    its own long-term mean sees no gradient. That is the *stable time-out*: a
    limit which is too large stays so.

    In flight are min(u, offered), where r arrivals per second offer r·s0 as
    long as the server keeps up (r <= mu), and r·timeout beyond that. Requests
    above the limit are rejected at once; nothing carries over.

    Parameters
    ----------
    capacity
        mu, requests per second.
    service_seconds
        s0, latency of an idle server. The best limit is mu·s0.
    timeout_seconds
        Patience of the clients, above s0.
    """

    def __init__(
        self,
        *,
        capacity: float = 100.0,
        service_seconds: float = 0.2,
        timeout_seconds: float = 2.0,
        delay: int = 0,
        interval: float = 1.0,
    ) -> None:
        super().__init__(delay=delay, interval=interval)
        if not (capacity > 0.0 and 0.0 < service_seconds < timeout_seconds):
            raise ConfigError(
                f"TimeoutServer(capacity={capacity!r}, service_seconds={service_seconds!r}, "
                f"timeout_seconds={timeout_seconds!r}): needs capacity > 0 and 0 < service < timeout"
            )
        self.capacity = capacity
        self.service_seconds = service_seconds
        self.timeout_seconds = timeout_seconds

    @property
    def best_limit(self) -> float:
        """mu·s0: more in flight only wait longer."""
        return self.capacity * self.service_seconds

    def _run(self, size: float, arrivals: float) -> Reading:
        rate = arrivals / self.interval
        xp = ops_for(rate - size)
        offered = rate * xp.where(rate <= self.capacity, self.service_seconds, self.timeout_seconds)
        in_flight = xp.minimum(size, offered)
        latency = xp.minimum(
            xp.maximum(in_flight / self.capacity, self.service_seconds), self.timeout_seconds
        )
        finished = in_flight / latency
        timed_out = latency >= self.timeout_seconds
        good = xp.where(timed_out, 0.0, finished)
        failed = finished - good
        rejected = xp.maximum(0.0, rate - finished)
        return Reading(
            demand=offered,
            size=size,
            arrived=arrivals,
            served=good * self.interval,
            left=0.0 * good,
            throughput=good,
            lost=(failed + rejected) * self.interval,
            wait_seconds=latency - self.service_seconds,
            service_seconds=self.service_seconds,
            drops=rejected,
            errors=failed,
        )

    def _empty(self) -> None:
        """Nothing to drop: no work outlives its interval."""
