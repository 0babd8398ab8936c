"""How much size a queue asks for: from counting and timing jobs to the demand w."""

from __future__ import annotations

from math import inf, nan

from quantum_control.core.errors import SensorError
from quantum_control.core.numeric import ops_for


def offered_load(busy: float, waiting: float, service_seconds: float, interval: float) -> float:
    """Demand of a pool over one interval: the size that would have been exactly full.

    w = busy + waiting · min(1, s/T)

    Over an interval T the pool has done busy·T server-seconds of work, since a
    time average is an integral over its length. Each job left waiting asks for
    another s of them, but can use no more than one server for the whole of the
    interval, T. Work divided by T is a number of servers. By Little's law the
    first term is the arrival rate times s wherever nothing is turned away, so
    that w is the offered load λs, in erlangs, plus what clears the backlog
    within one more interval.

    Counting heads instead (w = busy + waiting) overstates the demand by T/s:
    a thousand waiting jobs of 1 ms each are one server's work for a second,
    not a thousand servers.

    Parameters
    ----------
    busy
        Servers in use, averaged over the interval. As size.
    waiting
        Jobs waiting at the end of the interval.
    service_seconds
        s, mean time that a job occupies a server; nan if unknown. Then heads
        are counted, the bound that no service time exceeds. With the mean of
        service times that differ, w is an upper bound too, since min(1, s/T)
        is concave.
    interval
        T, seconds over which `busy` is the average.

    Returns
    -------
    float
        w, as size. The first three parameters take arrays as well.

    Raises
    ------
    SensorError
        The interval is not positive, so that nothing can be averaged over it.

    References
    ----------
    J. D. C. Little, "A proof for the queuing formula L = λW", Operations
    Research 9 (1961) 383-387.
    """
    if not interval > 0.0:
        raise SensorError(f"a load is offered over a positive interval; got {interval!r} seconds")
    ops = ops_for(service_seconds)
    share = ops.where(service_seconds >= 0.0, ops.minimum(1.0, service_seconds / interval), 1.0)
    return busy + waiting * share


def mean_service(busy_seconds: float, completions: float) -> float:
    """Mean service time from occupied server-seconds and completions over one stretch of time.

    s = busy_seconds / completions, the maximum-likelihood estimate for
    exponential service when jobs are still running at the end (total time on
    test over failures: Epstein & Sobel 1953). Averaging finished jobs alone is
    blind to a service that has just become slow: its jobs do not finish.

    Parameters
    ----------
    busy_seconds
        Server-seconds occupied, the elapsed part of running jobs included.
    completions
        Jobs finished in the same stretch.

    Returns
    -------
    float
        Seconds; inf if jobs ran and none finished, nan if none ran.
    """
    if completions > 0.0:
        return busy_seconds / completions
    return inf if busy_seconds > 0.0 else nan
