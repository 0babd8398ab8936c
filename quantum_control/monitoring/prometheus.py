"""The Prometheus exporter: controllers are looked at when Prometheus asks, and cost nothing between."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from math import inf
from types import TracebackType
from typing import Self

from quantum_control.core.controller import QuantumController
from quantum_control.core.errors import ConfigError
from quantum_control.core.secret import Secret
from quantum_control.monitoring.families import FAMILIES, Exported
from quantum_control.monitoring.serving import LOOPBACK, Answer, PageServer

try:
    from prometheus_client.core import Metric
    from prometheus_client.registry import Collector
except ImportError as error:
    raise ConfigError(
        "prometheus_client is missing; install it with: pip install 'quantum-control[prometheus]'"
    ) from error

PATH = "/metrics"

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

PORT = 9464
"""The port at which exporters of instrumented programs are usually found."""


class ControllerCollector(Exported, Collector):
    """Controllers as a collector of `prometheus_client`, for a registry of one's own.

    It holds no controller alive: the series vanish with theirs.
    """

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics, as a registry asks for them."""
        seen = self.seen()
        for family in FAMILIES:
            metric = Metric(family.name, family.text, family.kind)
            for name, each in seen:
                told = family.told(each)
                for labels, value in ({(): told} if isinstance(told, float) else told).items():
                    if value == value:
                        named = {"resource": name, **dict(zip(family.labels, labels, strict=True))}
                        metric.add_sample(family.sample_name, named, value)
            yield metric

    def exposition(self) -> bytes:
        """Return the page as `prometheus_client.generate_latest` would, in a fifth of its time."""
        seen = [(_escaped(name), each) for name, each in self.seen()]
        lines = []
        for family in FAMILIES:
            title, tell = family.sample_name, family.told
            lines.append(f"# HELP {title} {family.text}\n# TYPE {title} {family.kind}\n")
            start = f'{title}{{resource="'
            around: dict[tuple[str, ...], tuple[str, str]] = {}
            for name, each in seen:
                told = tell(each)
                if isinstance(told, float):
                    if told == told:
                        lines.append(f'{start}{name}"}} {_number(told)}\n')
                    continue
                for labels, value in told.items():
                    if value == value:
                        if labels not in around:
                            around[labels] = _around(title, family.labels, labels)
                        before, after = around[labels]
                        lines.append(f"{before}{name}{after} {_number(value)}\n")
        return "".join(lines).encode()


def _around(title: str, names: Sequence[str], values: Sequence[str]) -> tuple[str, str]:
    """Start and end of a series, between which the resource's name is: labels are in the order of theirs."""
    pairs = [(label, f'{label}="{_escaped(value)}"') for label, value in zip(names, values, strict=True)]
    before = "".join([f"{told}," for label, told in pairs if label < "resource"])
    after = "".join([f",{told}" for label, told in pairs if label > "resource"])
    return f'{title}{{{before}resource="', f'"{after}}}'


def _number(value: float) -> str:
    if -inf < value < inf:
        return repr(value)
    return "+Inf" if value > 0 else "-Inf"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


class Exporter(ControllerCollector):
    """A collector with a port of its own; made by `export`."""

    def __init__(self, server: PageServer) -> None:
        super().__init__()
        self.server = server
        """Where it is served; other pages may be added."""
        server.add(PATH, lambda _: Answer(self.exposition(), CONTENT_TYPE))
        server.start()

    @property
    def url(self) -> str:
        """Address of the page."""
        return self.server.url + PATH.removeprefix("/")

    def close(self) -> None:
        """Close the port; may be called any number of times."""
        self.server.close()

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
        The port is taken, a parameter is wrong, or two would have one name; nothing listens.
    """
    if (user is None) != (password is None):
        raise ConfigError("the exporter needs user and password, or neither")
    secret = None if password is None else Secret("password", password)
    server = PageServer(address, port, certificate=certificate, key=key, user=user, password=secret)
    try:
        exporter = Exporter(server)
        exporter.add_all(controllers, named or {})
    except BaseException:
        server.close()
        raise
    return exporter
