"""What is scaled, as the metadata of a trigger says it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from math import ceil, inf, isfinite

from quantum_control.core.errors import ConfigError, unknown_name
from quantum_control.core.physics import Objective
from quantum_control.core.plugins import names

INTERVAL = 15.0
"""Seconds; that of the Horizontal Pod Autoscaler's own loop."""

STARTUP = 60.0
"""Seconds from the decision for a pod until it serves."""

HOLD = 300.0
"""Seconds for which the last good answer stands in; Prometheus itself looks back as long."""

LARGEST_DELAY = 240
"""Intervals that a start-up may take."""

MOST_TEXT = 4096
"""Characters of a query."""

MODEL = "coherent"
"""The law by default: of those that are as cheap the one that changes least."""

OF_KEDA = frozenset(
    {"scalerAddress", "enableTLS", "unsafeSsl", "caCert", "tlsCertFile", "tlsClientCert", "tlsClientKey"}
)
"""Keys that are for KEDA and reach us with the rest."""


@dataclass(frozen=True, slots=True)
class LawKey:
    """What targets must have in common to be stepped as rows of one array."""

    model: str
    waiting: float
    pod: float
    change: float
    interval: float
    delay: int

    @property
    def objective(self) -> Objective:
        """Prices as the law sees them, whose every decision stands for delay + 1 intervals.

        A pod too few makes work wait until the next can be there, delay/2 intervals more on average;
        a pod that starts is paid delay intervals before it serves, half of it for each move of a pair.
        """
        half = self.delay / 2.0
        return Objective(self.waiting * (1.0 + half), self.pod, self.change + self.pod * half)


@dataclass(frozen=True, slots=True)
class Target:
    """One trigger of one ScaledObject, validated."""

    namespace: str
    name: str
    server: str
    query: str
    backlog: str
    """PromQL of the work that waits; empty where it is not measured."""
    per_pod: float
    """Work that one pod serves, in the unit of the query."""
    law: LawKey
    smallest: int
    largest: float
    activation: float
    hold: float
    fallback: int | None
    metric: str

    @classmethod
    def of(
        cls, namespace: str, name: str, metadata: Mapping[str, str], servers: Mapping[str, object]
    ) -> Target:
        """Read the metadata of a trigger; `servers` are those that may be asked, the first by default.

        Raises
        ------
        ConfigError
            Something is missing, unknown or out of its range.
        """
        said = {key: value.strip() for key, value in metadata.items() if key not in OF_KEDA}
        take = partial(_number, said)
        if not name or not namespace:
            raise ConfigError("the reference has no name or no namespace of a ScaledObject")
        server = said.pop("serverAddress", "").rstrip("/") or next(iter(servers))
        if server not in servers:
            raise ConfigError(
                f"serverAddress {server!r} is none that this scaler may ask ({', '.join(servers)});"
                " start it with a further --prometheus"
            )
        query, backlog = said.pop("query", ""), said.pop("backlog", "")
        if not query:
            raise ConfigError("query is missing: the demand in units of work, in PromQL")
        if len(query) > MOST_TEXT or len(backlog) > MOST_TEXT:
            raise ConfigError(f"query and backlog may have {MOST_TEXT} characters each")
        model = said.pop("model", MODEL)
        if model not in names("physics"):
            raise ConfigError(unknown_name("physics model", model, names("physics")))
        interval = take("interval", INTERVAL, 1.0, 3600.0)
        delay = ceil(take("startup", STARTUP, 0.0, interval * LARGEST_DELAY) / interval)
        law = LawKey(
            model=model,
            waiting=take("waiting", 3.0, 1e-6, 1e6),
            pod=take("pod", 1.0, 1e-6, 1e6),
            change=take("change", 0.3, 0.0, 1e6),
            interval=interval,
            delay=delay,
        )
        smallest = int(take("minReplicas", 1.0, 0.0, 1e5, whole=True))
        most = take("maxReplicas", inf, max(smallest, 1), 1e5, whole=True)
        fallback = take("fallback", -1.0, 0.0, 1e5, whole=True)
        target = cls(
            namespace=namespace,
            name=name,
            server=server,
            query=query,
            backlog=backlog,
            per_pod=take("perPod", None, 1e-12, 1e15),
            law=law,
            smallest=max(smallest, 1),  # none at all is KEDA's to decide, by IsActive
            largest=most,
            activation=take("activation", 0.0, 0.0, 1e15),
            hold=take("hold", HOLD, 0.0, 86400.0),
            fallback=None if fallback < 0.0 else int(fallback),
            metric="quantum-control-" + _digest(namespace, name, metadata),
        )
        if said:
            key = next(iter(said))
            raise ConfigError(unknown_name("key of the trigger's metadata", key, _KEYS))
        return target


_KEYS = (
    *("serverAddress", "query", "backlog", "perPod", "model", "interval", "startup", "waiting", "pod"),
    *("change", "minReplicas", "maxReplicas", "activation", "hold", "fallback"),
)


def _digest(namespace: str, name: str, metadata: Mapping[str, str]) -> str:
    """Tell triggers apart, so that no two have a metric of the same name."""
    parts = [namespace, name, *(text for pair in sorted(metadata.items()) for text in pair)]
    return sha256("\0".join(parts).encode()).hexdigest()[:12]


def _number(
    said: dict[str, str], key: str, default: float | None, low: float, high: float, *, whole: bool = False
) -> float:
    text = said.pop(key, None)
    if text is None:
        if default is None:
            raise ConfigError(f"{key} is missing: the work that one pod serves, in the unit of the query")
        return default
    read: Callable[[str], float] = int if whole else float
    try:
        value = read(text)
    except ValueError:
        raise ConfigError(f"{key}={text!r} is no {'whole ' if whole else ''}number") from None
    if not (isfinite(value) and low <= value <= high):
        raise ConfigError(f"{key}={text!r} is out of its range, {low:g} to {high:g}")
    return value
