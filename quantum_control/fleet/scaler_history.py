"""What a Prometheus server knows of many expressions, at the points of a grid in absolute time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
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


class QueryError(QuantumControlError):
    """An expression is at fault, not the server; the message says what to change."""


class HistorySource(PrometheusSource):
    """Reads ranges; parameters as `PrometheusSource`."""

    def ranges(
        self, expressions: Sequence[str], first: int, last: int, interval: float
    ) -> dict[str, Array | QueryError]:
        """Values of each expression at the times n·interval, n from `first` to `last`.

        There is nan where there is none, an old one, a negative one or no finite one.

        Raises
        ------
        SensorError
            The server cannot be reached, or does not answer as one.
        """
        wanted = list(dict.fromkeys(expressions))
        found: dict[str, Array | QueryError] = {}
        each = max(1, min(TOGETHER, POINTS // (2 * (last - first + 1))))
        for start in range(0, len(wanted), each):
            part = wanted[start : start + each]
            try:
                found.update(self._some(part, first, last, interval))
            except QueryError:
                for expression in part:  # one of them is at fault: which?
                    try:
                        found.update(self._some([expression], first, last, interval))
                    except QueryError as error:
                        found[expression] = error
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
                for time, value in one["values"]:
                    row[round(float(time) / interval) - first] = float(value)
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
