"""What two readings of a connection pool say of the time between them."""

from __future__ import annotations

from math import nan

from quantum_control.resources.reading import PoolReading


def done(last: PoolReading, now: PoolReading) -> tuple[int, int]:
    """Check-outs that ended well, and badly, between two readings."""
    failed = now.failed - last.failed
    return now.completed - last.completed - failed, failed


def turned_away(last: PoolReading, now: PoolReading) -> int:
    """Those who left the line, or were not let into it, between two readings."""
    return (now.submitted - now.started - now.waiting) - (last.submitted - last.started - last.waiting)


def figures(last: PoolReading, now: PoolReading, elapsed: float) -> dict[str, float]:
    """Figures of the `elapsed` seconds between two readings; see `ConnectionPoolResource.get_metrics`."""
    completed, failed = done(last, now)
    started = now.started - last.started
    return {
        "throughput": completed / elapsed,
        "errors": failed / elapsed,
        "drops": turned_away(last, now) / elapsed,
        "wait_seconds": (now.wait_seconds - last.wait_seconds) / started if started else nan,
        "service_seconds": (now.service_seconds - last.service_seconds) / completed if completed else nan,
        "busy": (now.busy_seconds - last.busy_seconds) / elapsed,
        "queue_depth": float(now.waiting),
        "held": float(max(now.alive, now.held)),
        "pools": float(now.pools),
    }
