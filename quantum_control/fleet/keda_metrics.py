"""Metrics of the scaler itself, in the text format of Prometheus."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

from quantum_control.fleet.keda_service import BUCKETS, Calls
from quantum_control.fleet.scaler_fleet import Fleet
from quantum_control.monitoring.serving import Answer, Maker

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

PREFIX = "quantum_control_scaler"


class _Scaler(Collector):
    def __init__(self, fleet: Fleet, calls: Calls) -> None:
        self._fleet = fleet
        self._calls = calls

    def collect(self) -> Iterator[Metric]:
        fleet, calls = self._fleet, self._calls
        counts = fleet.counts
        yield GaugeMetricFamily(f"{PREFIX}_targets", "Triggers that are tracked.", len(fleet))
        yield GaugeMetricFamily(
            f"{PREFIX}_round_seconds", "Time of the last round of measurements.", counts.round_seconds
        )
        for name, meaning, value in (
            ("steps", "Points of a grid that were taken.", counts.steps),
            ("warmed", "Triggers that were warmed up.", counts.warmed),
            ("failures", "Rounds for which a Prometheus gave no answer.", counts.failures),
            ("held", "Calls answered with the last good value.", fleet.held),
            ("fallbacks", "Calls answered with the fallback.", fleet.fallbacks),
        ):
            yield CounterMetricFamily(f"{PREFIX}_{name}", meaning, value)
        by_status = CounterMetricFamily(f"{PREFIX}_calls", "Calls.", labels=("method", "status"))
        for labels, number in sorted(calls.by_status.copy().items()):
            by_status.add_metric(labels, number)
        yield by_status
        total, cumulative = 0, []
        for bound, number in zip((*BUCKETS, "+Inf"), calls.buckets, strict=True):
            total += number
            cumulative.append((str(bound), total))
        yield HistogramMetricFamily(
            f"{PREFIX}_call_seconds", "Time of a call.", buckets=cumulative, sum_value=calls.seconds
        )


def page(fleet: Fleet, calls: Calls) -> Maker:
    """Make the page /metrics."""
    registry = CollectorRegistry()
    registry.register(_Scaler(fleet, calls))

    def make(query: Mapping[str, str]) -> Answer:  # noqa: ARG001 - there is nothing to choose
        return Answer(generate_latest(registry), CONTENT_TYPE)

    return make
