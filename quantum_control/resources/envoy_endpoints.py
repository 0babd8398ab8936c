"""The endpoints in a file that Envoy watches (EDS), as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from quantum_control.resources.balancer import host_port

DRAINED = ("DRAINING", "UNHEALTHY", "TIMEOUT")
"""`health_status` of an endpoint that gets no new requests.

We order DRAINING: since Envoy 1.30 that is left out of its panic threshold, past which it sends to all of
them; UNHEALTHY counts towards it.
"""


def localities(document: Any, cluster: str) -> list[dict[str, Any]]:
    """Localities of a cluster.

    Raises
    ------
    LookupError
        There are none.
    """
    for resource in document["resources"]:
        if resource.get("cluster_name") == cluster and resource["endpoints"]:
            found: list[dict[str, Any]] = resource["endpoints"]
            return found
    raise LookupError(f"no endpoints of cluster {cluster!r}")


def endpoints(document: Any, cluster: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Names and endpoints of a cluster."""
    for locality in localities(document, cluster):
        for endpoint in locality.get("lb_endpoints", ()):
            yield endpoint_name(endpoint), endpoint


def plain(document: Any) -> Any:
    """Leave out of a document (which is changed) weights that are the default anyway."""
    for resource in document["resources"]:
        for locality in resource.get("endpoints", ()):
            for endpoint in locality.get("lb_endpoints", ()):
                if endpoint.get("load_balancing_weight") == 1:
                    del endpoint["load_balancing_weight"]
    return document


def endpoint_name(endpoint: dict[str, Any]) -> str:
    """Host and port of an endpoint."""
    return host_name(endpoint["endpoint"])


def host_name(holder: dict[str, Any]) -> str:
    """Host and port of what holds an address, an IPv6 host in brackets."""
    address = holder["address"]["socket_address"]
    return host_port(address["address"], address["port_value"])


def endpoint_weight(endpoint: dict[str, Any]) -> int:
    """Weight of an endpoint; 0 where it is drained."""
    drained = endpoint.get("health_status") in DRAINED
    return 0 if drained else int(endpoint.get("load_balancing_weight", 1))
