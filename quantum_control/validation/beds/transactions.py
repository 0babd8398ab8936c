"""What became of the transactions of one block."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from quantum_control.bench.pool_load import Timetable
from quantum_control.validation.statistics import FloatArray


def figures(
    table: Timetable, latency: NDArray[np.float32], times: FloatArray, sizes: Sequence[int], wash_in: float
) -> dict[str, float]:
    """Metrics of a block, of what was due after its wash-in.

    Parameters
    ----------
    table
        What was due.
    latency
        As of `pool_load.serve`, seconds.
    times, sizes
        Moments (s, from the beginning of the block), and how many connections there were at each.
    wash_in
        Seconds.
    """
    counts = table.due >= wash_in
    due, took = table.due[counts], latency[counts].astype(np.float64)
    # What was never begun is as late as it was at the end, and later: a lower bound.
    late = np.where(np.isfinite(took), took, table.seconds - due)
    during = (times >= wash_in) & (times < table.seconds)
    return {
        "latency_mean": float(late.mean()),
        "latency_p99": float(np.percentile(late, 99.0)),
        "lost": float(np.mean(~np.isfinite(took))),
        "connections": float(np.asarray(sizes)[during].mean()),
        "throughput": float(np.sum(due + took <= table.seconds)) / (table.seconds - wash_in),
    }


def course(
    table: Timetable, latency: NDArray[np.float32], times: FloatArray, sizes: Sequence[int]
) -> list[tuple[float, float, float]]:
    """Time, size, and transactions that are due and not done, at each look within the block."""
    ends = np.sort(table.due + np.where(np.isnan(latency), 0.0, latency))
    under_way = np.searchsorted(table.due, times, "right") - np.searchsorted(ends, times, "right")
    return [
        (float(at), float(size), float(demand))
        for at, size, demand in zip(times, sizes, under_way, strict=True)
        if 0.0 <= at < table.seconds
    ]
