"""What a Prometheus server knows of many expressions, at the points of a grid in absolute time."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any
from urllib.parse import urlencode

import numpy as np
from numpy.typing import NDArray

from quantum_control.core.errors import QuantumControlError, SensorError
from quantum_control.sources.prometheus import _MARK, _SELECTOR, PrometheusSource, _marked

Array = NDArray[np.float64]

POINTS = 15_000
"""Values in one answer, at 34 bytes each: half of what is read at most."""

TOGETHER = 50
"""Expressions in one question: more are hardly cheaper, and one that is wrong costs all a second one."""

LANES = 4
"""Questions under way at a time: what is waited for is mostly the server."""


class QueryError(QuantumControlError):
    """An expression is at fault, not the server; the message says what to change."""


class HistorySource:
    """Reads ranges, several at a time.

    Parameters
    ----------
    url
        As for `PrometheusSource`, with its errors.
    """

    def __init__(self, url: str) -> None:
        lanes = [_Lane(url) for _ in range(LANES)]
        self.address = lanes[0].address
        self._lanes = lanes
        self._free: SimpleQueue[_Lane] = SimpleQueue()
        for lane in lanes:
            self._free.put(lane)
        self._threads = ThreadPoolExecutor(LANES, "quantum_control history")

    def ranges(
        self, expressions: Collection[str], first: int, last: int, interval: float
    ) -> dict[str, Array | QueryError]:
        """Values of each expression at the times n·interval, n from `first` to `last`.

        There is nan where there is none, an old one, a negative one or no finite one.

        Raises
        ------
        SensorError
            The server cannot be reached, or does not answer as one.
        """
        wanted = list(dict.fromkeys(expressions))
        each = max(1, min(TOGETHER, POINTS // (2 * (last - first + 1))))
        parts = [wanted[start : start + each] for start in range(0, len(wanted), each)]

        def ask(part: Sequence[str]) -> dict[str, Array | QueryError]:
            lane = self._free.get()
            try:
                return lane.ranges(part, first, last, interval)
            finally:
                self._free.put(lane)

        found: dict[str, Array | QueryError] = {}
        for some in self._threads.map(ask, parts):  # those that are left are not asked after an error
            found.update(some)
        return found

    def close(self) -> None:
        """End the threads, and close the connections."""
        self._threads.shutdown()
        for lane in self._lanes:
            lane.close()


class _Lane(PrometheusSource):
    """One connection."""

    def ranges(
        self, expressions: Sequence[str], first: int, last: int, interval: float
    ) -> dict[str, Array | QueryError]:
        """As the source's; of as many as go into one question."""
        try:
            return dict(self._some(expressions, first, last, interval))
        except QueryError as error:
            if len(expressions) == 1:
                return {expressions[0]: error}
        found: dict[str, Array | QueryError] = {}
        for expression in expressions:  # one of them is at fault: which?
            found.update(self.ranges([expression], first, last, interval))
        return found

    def _some(
        self, expressions: Sequence[str], first: int, last: int, interval: float
    ) -> Iterator[tuple[str, Array | QueryError]]:
        parts = []
        for index, expression in enumerate(expressions):
            parts.append(_marked(expression, f"{index}"))
            if _SELECTOR.fullmatch(expression):
                parts.append(_marked(f"timestamp({expression})", f"{index}@"))
        asked = {
            "query": " or ".join(parts),
            "start": f"{first * interval:.3f}",
            "end": f"{last * interval:.3f}",
            "step": f"{interval:.3f}",
        }
        series = self._series(urlencode(asked))
        count = last - first + 1
        times = np.arange(first, last + 1) * interval
        by_mark: dict[str, list[Array]] = {}
        try:
            for one in series:
                row = np.full(count, np.nan)
                moments, values = zip(*one["values"], strict=True)
                place = np.rint(np.array(moments, dtype=np.float64) / interval).astype(np.int64) - first
                row[place] = np.fromiter(map(float, values), np.float64, len(values))
                by_mark.setdefault(one["metric"][_MARK], []).append(row)
        except (LookupError, TypeError, ValueError) as error:
            raise SensorError(f"{self.address} answers what is no range of numbers: {error}") from error
        for index, expression in enumerate(expressions):
            rows = by_mark.get(f"{index}", [])
            if len(rows) > 1:
                yield (
                    expression,
                    QueryError(f"{expression!r} has {len(rows)} series, one is needed: aggregate, sum(...)"),
                )
                continue
            row = rows[0] if rows else np.full(count, np.nan)
            if sampled := by_mark.get(f"{index}@"):
                row = np.where(times - sampled[0] <= self.max_age, row, np.nan)
            yield expression, np.where(np.isfinite(row) & (row >= 0.0), row, np.nan)

    def _series(self, body: str) -> list[Any]:
        headers = {"Content-Type": "application/x-www-form-urlencoded", **self._authorization()}
        status, answer = self._http.post("/api/v1/query_range", body, headers)
        try:
            content = json.loads(answer)
            if content["status"] == "success" and not content.get("warnings"):
                return list(content["data"]["result"])
            why = str(content.get("error") or content.get("warnings"))
            kind = content.get("errorType")
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise SensorError(
                f"{self.address} answered {status} with what is no answer of Prometheus"
            ) from error
        if kind in ("bad_data", "execution"):
            raise QueryError(f"{self.address} refuses the expression: {why}")
        raise SensorError(f"{self.address} answered {status}: {why}")
