"""What was seen of a load balancer in an interval, and its figures for people and exporters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import nan

from quantum_control.core.ejection import Observation, Standing
from quantum_control.core.shares import Share
from quantum_control.resources.balancer import Reading

EJECTED = (Standing.OUT, Standing.TRIAL)
"""Put out by us; who is down is told by `up`."""


def observed(
    names: Iterable[str], reading: Reading, before: Reading, elapsed: float
) -> dict[str, Observation]:
    """What happened at each of these back ends in the `elapsed` seconds, above 0, between two readings."""
    seen = {}
    for name in names:
        now, last = reading.back_ends[name], before.back_ends.get(name)
        if last is None or now.started < last.started or now.ended < last.ended:
            last = now  # new, or its counters began again: nothing is known of this interval
        seen[name] = Observation(
            rate=(now.started - last.started) / elapsed,
            ended=(now.ended - last.ended) / elapsed,
            failures=max(0, now.failed - last.failed) / elapsed,
            in_flight=now.in_flight,
            up=now.up,
        )
    return seen


def utilisation(seen: Mapping[str, Observation], capacities: Mapping[str, float]) -> float:
    """Part of the capacities (1/s) that the present rate would fill; a guess as long as none is known.

    Of one back end at the least.
    """
    if capacities:
        return sum(one.rate for one in seen.values()) / sum(capacities.values())
    # N requests under way mean N/(1 + N) of an M/M/1 server.
    return sum(one.in_flight / (1.0 + one.in_flight) for one in seen.values()) / len(seen)


def figures(
    seen: Mapping[str, Observation],
    plan: Mapping[str, Share],
    ordered: Mapping[str, int],
    capacities: Mapping[str, float],
) -> dict[str, float]:
    """Figures of the whole and of each back end, as `LoadBalancerResource.get_metrics` names them."""
    ended = sum(one.ended for one in seen.values())
    in_flight = float(sum(one.in_flight for one in seen.values()))
    found = {
        "throughput": ended,
        "errors": sum(one.failures for one in seen.values()),
        "latency_seconds": _latency(in_flight, ended),
        "in_flight": in_flight,
        "members": float(len(seen)),
        "ejected": float(sum(due.standing in EJECTED for due in plan.values())),
    }
    for name, due in plan.items():
        found[f"weight.{name}"] = float(ordered[name])
        found[f"share.{name}"] = due.share
        found[f"capacity.{name}"] = capacities.get(name, nan)
    for name, one in seen.items():
        found[f"throughput.{name}"] = one.ended
        found[f"errors.{name}"] = one.failures
        found[f"latency_seconds.{name}"] = _latency(one.in_flight, one.ended)
        found[f"in_flight.{name}"] = float(one.in_flight)
        found[f"up.{name}"] = float(one.up)
    return found


def _latency(in_flight: float, ended: float) -> float:
    """Mean latency in seconds by Little's law; nan where nothing has ended."""
    return in_flight / ended if ended > 0.0 else nan
