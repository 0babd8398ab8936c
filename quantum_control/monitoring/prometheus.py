"""The Prometheus exporter: controllers are looked at when Prometheus asks, and cost nothing between."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from math import inf, nan
from operator import attrgetter, itemgetter
from types import TracebackType
from typing import NamedTuple, Self
from weakref import ref

from quantum_control.core.controller import QuantumController
from quantum_control.core.decision import Decision
from quantum_control.core.errors import ConfigError
from quantum_control.core.resource import ResourceState
from quantum_control.core.secret import Secret
from quantum_control.monitoring.serving import LOOPBACK, MetricsServer

try:
    from prometheus_client.core import Metric
    from prometheus_client.registry import Collector
except ImportError as error:
    raise ConfigError(
        "prometheus_client is missing; install it with: pip install 'quantum-control[prometheus]'"
    ) from error

PORT = 9464
"""The port at which exporters of instrumented programs are usually found."""

MOST_FIGURES = 40
"""Of an adapter's own, for each resource: what a label may hold has to end somewhere."""

TOLD = frozenset({"throughput", "wait_seconds", "service_seconds", "errors", "drops"})
"""Figures that have families of their own."""


class Sample(NamedTuple):
    """One value of a family; its labels beside `resource`."""

    value: float
    labels: tuple[tuple[str, str], ...] = ()


class Seen(NamedTuple):
    """One controller at one instant."""

    controller: QuantumController
    kind: str
    decision: Decision
    state: ResourceState | None


class Family(NamedTuple):
    """One metric name, and what it is for a controller; nan where there is nothing to tell."""

    name: str
    kind: str
    text: str
    read: Callable[[Seen], float | Iterable[Sample]]

    @property
    def sample_name(self) -> str:
        """Name in the lines of the exposition."""
        return f"{self.name}_total" if self.kind == "counter" else self.name


def _of_state(field: str) -> Callable[[Seen], float]:
    field_of = attrgetter(field)

    def read(seen: Seen) -> float:
        return nan if seen.state is None else field_of(seen.state)

    return read


def _info(seen: Seen) -> Iterable[Sample]:
    model, resource = seen.controller.physics, seen.controller.resource
    labels = (("model", model.name), ("type", seen.kind), ("unit", resource.unit))
    return (Sample(1.0, labels),)


def _figures(seen: Seen) -> Iterable[Sample]:
    own = [item for item in seen.controller.metrics.items() if item[0] not in TOLD]
    return [Sample(value, (("figure", name),)) for name, value in own[:MOST_FIGURES]]


def _cost(seen: Seen, size: float) -> float:
    if seen.state is None:
        return nan
    prices = seen.controller.objective
    return prices.waiting * max(0.0, seen.state.demand - size) + prices.size * size


FAMILIES: tuple[Family, ...] = tuple(
    Family(f"quantum_control_{name}", kind, text, read)
    for name, kind, text, read in (
        ("resource_info", "gauge", "The law, the type of the resource and its unit, as labels.", _info),
        ("size", "gauge", "Size ordered, in the resource's unit.", lambda s: s.controller.size or nan),
        ("size_in_force", "gauge", "Size found at the last measurement.", _of_state("size")),
        ("size_wanted", "gauge", "Size that the law asked for.", lambda s: s.decision.wanted),
        ("size_original", "gauge", "Size found at the start.", lambda s: s.controller.original or nan),
        ("size_minimum", "gauge", "Smallest that may be set.", lambda s: s.controller.bounds.minimum),
        ("size_maximum", "gauge", "Largest that may be set.", lambda s: s.controller.bounds.maximum or inf),
        ("demand", "gauge", "In use and waiting, in units of size.", _of_state("demand")),
        ("backlog", "gauge", "Work that will wait when the next size acts.", _of_state("backlog")),
        ("flow", "gauge", "New demand of the last interval, without backlog.", _of_state("flow")),
        ("position", "gauge", "Demand over size, less one: negative is slack.", _of_state("position")),
        ("velocity_per_second", "gauge", "Rate of change of the position.", _of_state("velocity")),
        ("acceleration_per_second_squared", "gauge", "Of the position.", _of_state("acceleration")),
        ("temperature", "gauge", "Noise of the flow; 1 is Poisson's.", _of_state("temperature")),
        ("force_per_second", "gauge", "Relative change of size asked for.", lambda s: s.decision.force),
        ("setpoint", "gauge", "Position at which the law wants to rest.", lambda s: s.decision.setpoint),
        ("throughput_per_second", "gauge", "Completions of the resource.", _of_state("throughput")),
        ("wait_seconds", "gauge", "Mean wait before service.", _of_state("wait_seconds")),
        ("service_seconds", "gauge", "Mean time in service.", _of_state("service_seconds")),
        ("errors_per_second", "gauge", "Failures in the resource.", _of_state("errors")),
        ("drops_per_second", "gauge", "Rejections of the resource.", _of_state("drops")),
        ("figure", "gauge", "What the adapter measures besides, by its own names.", _figures),
        ("steps", "counter", "Steps of the loop.", lambda s: s.controller.steps),
        ("changes", "counter", "Steps that changed the size.", lambda s: s.controller.changes),
        ("failures", "counter", "Steps that failed.", lambda s: s.controller.failures),
        ("model_skill", "gauge", "Predictions of the law: 1 is perfect, 0 no better than none.",
         lambda s: s.controller.score.skill),
        ("model_error", "gauge", "Mean error of the predictions, over the size.",
         lambda s: s.controller.score.error),
        ("cost", "gauge", "Waiting and size of the last interval, in the objective's prices.",
         lambda s: _cost(s, s.state.size if s.state else nan)),
        ("cost_at_original", "gauge", "What the same demand would have cost at the original size.",
         lambda s: _cost(s, s.controller.original or nan)),
        ("interval_seconds", "gauge", "Time between steps.", lambda s: s.controller.interval),
        ("running", "gauge", "1 while the loop runs by itself.", lambda s: s.controller.running),
        ("suspended", "gauge", "1 while the resource is handed back after failures.",
         lambda s: s.controller.suspended),
    )
)  # fmt: skip
"""All that is exported, in the order of the page."""


class ControllerCollector(Collector):
    """Controllers as a collector of `prometheus_client`, for a registry of one's own.

    It holds no controller alive: the series vanish with theirs.
    """

    def __init__(self) -> None:
        self._controllers: dict[str, tuple[ref[QuantumController], str]] = {}

    def add(self, controller: QuantumController, name: str | None = None, kind: str | None = None) -> str:
        """Export `controller` under `name`, by default its kind, numbered; return the name.

        The `kind` is the label `type`, by default the type of the resource.

        Raises
        ------
        ConfigError
            Another controller is exported under this name.
        """
        taken = {each for each, (held, _) in list(self._controllers.items()) if held() is not None}
        kind = kind or type(controller.resource).__name__
        if name is None:
            numbered = (kind if n == 1 else f"{kind}-{n}" for n in range(1, len(taken) + 2))
            name = next(each for each in numbered if each not in taken)
        elif name in taken:
            raise ConfigError(f"a controller is exported as {name!r} already; give each a name of its own")
        self._controllers[name] = ref(controller), kind
        return name

    def remove(self, name: str) -> None:
        """Export it no more; nothing happens if it is not exported."""
        self._controllers.pop(name, None)

    def _seen(self) -> list[tuple[str, Seen]]:
        """Look at each controller once, so that what is told of it belongs together."""
        seen = []
        for name, (held, kind) in sorted(self._controllers.items(), key=itemgetter(0)):
            controller = held()
            if controller is None:
                self._controllers.pop(name, None)
            elif controller.decisions:
                decision = controller.decisions[-1]
                seen.append((name, Seen(controller, kind, decision, decision.state)))
        return seen

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics, as a registry asks for them."""
        seen = self._seen()
        for family in FAMILIES:
            metric = Metric(family.name, family.text, family.kind)
            for name, each in seen:
                for value, labels in _samples(family, each):
                    metric.add_sample(family.sample_name, {"resource": name, **dict(labels)}, value)
            yield metric

    def exposition(self) -> bytes:
        """Return the page as `prometheus_client.generate_latest` would, in a fifth of its time."""
        seen = [(_escaped(name), each) for name, each in self._seen()]
        lines = []
        for family in FAMILIES:
            sample_name = family.sample_name
            lines.append(f"# HELP {sample_name} {family.text}\n# TYPE {sample_name} {family.kind}\n")
            start = f'{sample_name}{{resource="'
            for name, each in seen:
                told = family.read(each)
                if isinstance(told, (float, int)):  # most of the page: not a call more than it needs
                    if told == told:
                        lines.append(f'{start}{name}"}} {_number(told)}\n')
                    continue
                for value, labels in told:
                    if value == value:
                        # In the order of their names, as the client does.
                        before = "".join([f'{k}="{_escaped(v)}",' for k, v in labels if k < "resource"])
                        after = "".join([f',{k}="{_escaped(v)}"' for k, v in labels if k > "resource"])
                        lines.append(f'{sample_name}{{{before}resource="{name}"{after}}} {_number(value)}\n')
        return "".join(lines).encode()


def _samples(family: Family, seen: Seen) -> Iterable[Sample]:
    told = family.read(seen)
    if isinstance(told, (float, int)):
        return () if told != told else (Sample(told),)
    return [each for each in told if each.value == each.value]


def _number(value: float) -> str:
    if -inf < value < inf:
        return repr(float(value))
    return "+Inf" if value > 0 else "-Inf"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


class Exporter(ControllerCollector):
    """A collector with a port of its own; made by `export`."""

    def __init__(self, server: MetricsServer) -> None:
        super().__init__()
        self._server = server
        server.serve(self.exposition)

    @property
    def url(self) -> str:
        """Address of the page."""
        return self._server.url

    def close(self) -> None:
        """Close the port; may be called any number of times."""
        self._server.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def export(
    *controllers: QuantumController,
    named: Mapping[str, QuantumController] | None = None,
    port: int = PORT,
    address: str = LOOPBACK,
    certificate: str | os.PathLike[str] | None = None,
    key: str | os.PathLike[str] | None = None,
    user: str | None = None,
    password: str | None = None,
) -> Exporter:
    """Serve the metrics of controllers at `/metrics`, on a thread of their own, until `close()`.

    Parameters
    ----------
    controllers
        Exported under the names of the resources' types; others may follow by `add`.
    named
        The same, under names of one's own.
    port
        0 for any that is free.
    address
        At which to listen; this machine's own only, unless told otherwise.
    certificate, key
        Files in PEM, for TLS.
    user, password
        For basic authentication; `password` says where it is kept,
        "env:NAME" or "file:PATH".

    Raises
    ------
    ConfigError
        The port is taken, or a parameter is wrong; nothing listens.
    """
    if (user is None) != (password is None):
        raise ConfigError("the exporter needs user and password, or neither")
    secret = None if password is None else Secret("password", password)
    server = MetricsServer(address, port, certificate=certificate, key=key, user=user, password=secret)
    exporter = Exporter(server)
    for controller in controllers:
        exporter.add(controller)
    for name, controller in (named or {}).items():
        exporter.add(controller, name)
    return exporter
