"""Figures of a load balancer's last interval, for people and exporters."""

from __future__ import annotations

from collections.abc import Mapping
from math import nan

from quantum_control.core.ejection import Observation, Standing
from quantum_control.core.shares import Share


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
        "ejected": float(sum(due.standing is not Standing.IN for due in plan.values())),
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
