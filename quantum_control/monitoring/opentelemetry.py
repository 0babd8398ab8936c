"""The same metrics through OpenTelemetry: pushed by OTLP, or to a meter provider that the program has."""

from __future__ import annotations

import atexit
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Self
from weakref import WeakKeyDictionary

from quantum_control.core.controller import QuantumController
from quantum_control.core.errors import ConfigError
from quantum_control.monitoring.endpoint import endpoint_fault
from quantum_control.monitoring.families import FAMILIES, Exported, Family

try:
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation
    from opentelemetry.sdk.metrics import MeterProvider as OwnProvider
    from opentelemetry.sdk.metrics import ObservableCounter, ObservableGauge
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.resources import SERVICE_NAME
    from opentelemetry.sdk.resources import Resource as Origin
except ImportError as error:
    raise ConfigError(
        "the SDK of OpenTelemetry is missing; install it with: pip install 'quantum-control[opentelemetry]'"
    ) from error

ENDPOINT = "http://127.0.0.1:4318"
"""Where a collector of one's own machine usually listens."""

PATH = "/v1/metrics"

SEND_SECONDS = 5.0
"""For one push."""

END_SECONDS = 1.0
"""For the last one: a collector that is away must not keep the program from ending."""

MOST_SERIES = 100_000
"""Of one metric: 2000, as the SDK has it, are too few for the figures of a hundred adapters."""


_EXPORTERS: WeakKeyDictionary[MeterProvider, OpenTelemetryExporter] = WeakKeyDictionary()
"""Of each provider: it makes an instrument once, and would not ask a second exporter."""


class OpenTelemetryExporter(Exported):
    """Observable instruments, one for each metric of the Prometheus exporter; made by `export`.

    They are asked when the provider collects, and cost nothing between. The names are those of the
    Prometheus exporter with a dot after the first two words and without "_total".
    """

    def __init__(self, provider: MeterProvider, end: Callable[[], object] = lambda: None) -> None:
        super().__init__()
        self._end = end
        meter = provider.get_meter("quantum_control")
        for family in FAMILIES:
            create = (
                meter.create_observable_counter if family.kind == "counter" else meter.create_observable_gauge
            )
            create(instrument_name(family), [self._observer(family)], family.unit, family.text)

    def _observer(self, family: Family) -> Callable[[CallbackOptions], Iterator[Observation]]:
        def observe(_: CallbackOptions) -> Iterator[Observation]:
            for name, each in self.seen():
                told = family.told(each)
                for labels, value in ({(): told} if isinstance(told, float) else told).items():
                    if value == value:
                        attributes = {"resource": name, **dict(zip(family.labels, labels, strict=True))}
                        yield Observation(value, attributes)

        return observe

    def close(self) -> None:
        """Tell no more, and send what is left; may be called any number of times."""
        end, self._end = self._end, lambda: None
        end()
        self._controllers.clear()
        atexit.unregister(self.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def instrument_name(family: Family) -> str:
    """Name of the instrument of `family`: "quantum_control.size"."""
    return family.name.replace("quantum_control_", "quantum_control.", 1)


def export(
    *controllers: QuantumController,
    named: Mapping[str, QuantumController] | None = None,
    endpoint: str = ENDPOINT,
    every: float = 15.0,
    provider: MeterProvider | None = None,
) -> OpenTelemetryExporter:
    """Push the metrics of controllers by OTLP over HTTP, on a thread of their own, until `close()`.

    Parameters
    ----------
    controllers
        Exported under the names of the resources' types; others may follow by `add`.
    named
        The same, under names of one's own.
    endpoint
        URL of the collector, without its path `/v1/metrics`. What else the SDK takes (headers with
        a token, certificates, compression, the name of the service) comes from its own environment
        variables, OTEL_EXPORTER_OTLP_HEADERS and the like.
    every
        Seconds between two pushes.
    provider
        One that the program has already, such as `opentelemetry.metrics.get_meter_provider()`;
        `endpoint` and `every` are its own then, and `close()` leaves it open. It has one exporter:
        a second call returns the same.

    Raises
    ------
    ConfigError
        A parameter is wrong, or two would have one name; nothing is sent.
    """
    if provider is None:
        exporter = _pushed(endpoint, every)
    else:
        exporter = _EXPORTERS.get(provider) or OpenTelemetryExporter(provider)
        _EXPORTERS[provider] = exporter
    try:
        exporter.add_all(controllers, named or {})
    except BaseException:
        if provider is None:
            exporter.close()
        raise
    return exporter


def _pushed(endpoint: str, every: float) -> OpenTelemetryExporter:
    if fault := endpoint_fault(endpoint):
        raise ConfigError(f"endpoint: {fault}")
    if not 0.1 <= every < 86_400.0:
        raise ConfigError(f"every={every!r}: seconds between two pushes, from 0.1 to a day")
    origin = Origin.create()
    if str(origin.attributes[SERVICE_NAME]).startswith("unknown_service"):  # the environment says none
        origin = origin.merge(Origin({SERVICE_NAME: "quantum_control"}))
    reader = PeriodicExportingMetricReader(  # has a thread from here on
        OTLPMetricExporter(endpoint.rstrip("/") + PATH, timeout=SEND_SECONDS),
        export_interval_millis=every * 1e3,
        export_timeout_millis=SEND_SECONDS * 1e3,
        cardinality_limits={ObservableCounter: MOST_SERIES, ObservableGauge: MOST_SERIES},
    )
    provider = OwnProvider([reader], resource=origin, shutdown_on_exit=False)
    exporter = OpenTelemetryExporter(provider, lambda: provider.shutdown(END_SECONDS * 1e3))
    atexit.register(exporter.close)
    return exporter
