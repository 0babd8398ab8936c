"""Envoy by a watched endpoint file (EDS) and the statistics of its admin interface.

The cluster is of `type: EDS` with a `path_config_source` whose `path` is the
file and whose `watched_directory` is the directory it lies in; the file is
JSON. Envoy takes a new file up when it is moved into place, and keeps the old
endpoints if it does not like the new ones.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quantum_control.core.errors import ActuatorError, ConfigError, SensorError
from quantum_control.resources.balancer import BackEnd, Balancer, Reading, host_port
from quantum_control.resources.envoy_endpoints import (
    DRAINED,
    endpoint_name,
    endpoint_weight,
    endpoints,
    host_name,
    localities,
    plain,
)
from quantum_control.resources.whole_file import replace_file

TIMEOUT = 2.0
"""Seconds for the admin interface to answer; it takes milliseconds."""

PATIENCE = 3
"""Readings after which endpoints that Envoy has not taken up are an error; it takes milliseconds too."""


class Envoy(Balancer):
    """One EDS cluster of a running Envoy.

    Parameters
    ----------
    admin
        Host and port of the admin interface.
    cluster
        Name of the cluster.
    eds
        Path of the endpoint file.
    authorization_env
        Name of an environment variable that holds "user:password", for an
        admin interface behind a proxy that asks for them.
    authorization_file
        Path of a file that holds them, in place of the variable.

    Raises
    ------
    ConfigError
        The environment variable is not set, the file cannot be read, or both are given.
    """

    outlives_boot = True

    def __init__(
        self,
        admin: tuple[str, int],
        cluster: str,
        eds: str,
        authorization_env: str = "",
        authorization_file: str = "",
    ) -> None:
        self._admin = admin
        self._cluster = cluster
        self._path = Path(eds)
        self._headers: dict[str, str] = {}
        secret = _secret(authorization_env, authorization_file)
        if secret:
            self._headers["Authorization"] = "Basic " + base64.b64encode(secret.encode()).decode()
        self._found: bytes | None = None  # the file as it was found, put back to the byte
        self._health: dict[str, object] = {}  # health_status of endpoints before we drained them
        self._behind = 0  # readings in a row in which Envoy had not taken up the file

    def __repr__(self) -> str:
        return f"Envoy(cluster {self._cluster!r} at {host_port(*self._admin)}, {self._path})"

    def read(self) -> Reading:
        """Weights from the endpoint file, the rest from `/clusters`.

        Raises
        ------
        SensorError
            Also where Envoy has not taken the file up in PATIENCE readings.
        """
        hosts = self._hosts()
        back_ends = {}
        behind = []
        for name, endpoint in endpoints(self._load(), self._cluster):
            weight = endpoint_weight(endpoint)
            host = hosts.get(name)
            if host is None or not _taken_up(weight, host):
                behind.append(name)
            if host is None:
                back_ends[name] = BackEnd(weight, 0, 0, 0, 0, up=False)
                continue
            stats = {stat["name"]: int(stat.get("value", 0)) for stat in host.get("stats", ())}
            started, running = stats.get("rq_total", 0), stats.get("rq_active", 0)
            health = host.get("health_status", {})
            back_ends[name] = BackEnd(
                weight=weight,
                started=started,
                ended=started - running,
                failed=stats.get("rq_error", 0) + stats.get("cx_connect_fail", 0),
                in_flight=running,
                up=not any(value is True for value in health.values()),
            )
        self._behind = self._behind + 1 if behind else 0
        if self._behind > PATIENCE:
            raise SensorError(
                f"{self!r}: Envoy has not taken up the endpoints of {', '.join(behind)}. Does it watch this"
                f" file and its directory? Its log and cluster.{self._cluster}.update_failure tell more"
            )
        return Reading(back_ends)

    def read_weights(self) -> Reading:
        """Weights from the endpoint file alone, whatever Envoy makes of it."""
        there = endpoints(self._load(), self._cluster)
        return Reading({name: BackEnd(endpoint_weight(endpoint), 0, 0, 0, 0) for name, endpoint in there})

    def write(self, weights: Mapping[str, int]) -> None:
        """Move a new endpoint file into place, or leave the old one whole."""
        document = self._load_to_write()
        there = dict(endpoints(document, self._cluster))
        for name, weight in weights.items():
            if name not in there:
                raise ActuatorError(f"{self!r} has no endpoint {name!r} any more; nothing was changed")
            if weight < 0:
                raise ActuatorError(f"weight {weight} of {name!r} is below 0; nothing was changed")
            self._set(name, there[name], weight)
        self._replace(document)

    def snapshot(self) -> dict[str, object]:
        """The endpoint file as it was found."""
        if self._found is None:
            self._load()
        return {"file": (self._found or b"").decode("utf-8", "surrogateescape")}

    def recall(self, snapshot: Mapping[str, object]) -> None:
        """Put the file back to the byte once its endpoints are as they were."""
        self._found = str(snapshot["file"]).encode("utf-8", "surrogateescape")
        for name, endpoint in endpoints(json.loads(self._found), self._cluster):
            self._health[name] = endpoint.get("health_status")

    def add(self, address: str) -> str:
        """Add an endpoint to the first locality of the file, drained."""
        host, _, port = address.rpartition(":")
        document = self._load_to_write()
        added = {
            "endpoint": {
                "address": {"socket_address": {"address": host.strip("[]"), "port_value": int(port)}}
            },
            "health_status": "DRAINING",
        }
        self._health[address] = None
        localities(document, self._cluster)[0].setdefault("lb_endpoints", []).append(added)
        self._replace(document)
        return address

    def remove(self, name: str) -> bool:
        """Take an endpoint out of the file; Envoy lets its requests end."""
        document = self._load_to_write()
        for locality in localities(document, self._cluster):
            locality["lb_endpoints"] = [
                e for e in locality.get("lb_endpoints", ()) if endpoint_name(e) != name
            ]
        self._replace(document)
        return True

    # ---- the file -------------------------------------------------------------------------------

    def _load(self) -> Any:
        try:
            content = self._path.read_bytes()
        except OSError as error:
            raise SensorError(f"{self!r}: the endpoint file cannot be read: {error}") from error
        try:
            document = json.loads(content)
            list(endpoints(document, self._cluster))
        except (ValueError, TypeError, KeyError, LookupError) as error:
            raise SensorError(
                f"{self!r}: {self._path} holds no JSON with the endpoints of this cluster ({error});"
                " YAML has to be rewritten as JSON"
            ) from error
        if self._found is None:
            self._found = content
        return document

    def _load_to_write(self) -> Any:
        try:
            return self._load()
        except SensorError as error:
            raise ActuatorError(f"{error}; nothing was changed") from error

    def _set(self, name: str, endpoint: dict[str, Any], weight: int) -> None:
        drained = endpoint_weight(endpoint) == 0
        if weight == 0:
            if not drained:
                self._health[name] = endpoint.get("health_status")
            endpoint["health_status"] = "DRAINING"
            return
        if drained:
            health = self._health.get(name)  # kept: the file may turn out not to be replaceable
            if health is None:
                endpoint.pop("health_status", None)
            else:
                endpoint["health_status"] = health
        if weight == 1:
            endpoint.pop("load_balancing_weight", None)  # the default, and how most files are written
        else:
            endpoint["load_balancing_weight"] = weight

    def _replace(self, document: Any) -> None:
        content = (json.dumps(document, indent=1) + "\n").encode()
        if self._found is not None and plain(document) == plain(json.loads(self._found)):
            content = self._found
        try:
            replace_file(self._path, content)
        except OSError as error:
            raise ActuatorError(
                f"{self!r}: the endpoint file cannot be replaced: {error}. It is as it was;"
                " its directory has to be writable for this process"
            ) from error

    # ---- the admin interface --------------------------------------------------------------------

    def _hosts(self) -> dict[str, dict[str, Any]]:
        connection = http.client.HTTPConnection(*self._admin, timeout=TIMEOUT)
        try:
            connection.request("GET", "/clusters?format=json", headers=self._headers)
            response = connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise SensorError(f"{self!r}: the admin interface does not answer: {error!r}") from error
        finally:
            connection.close()
        if response.status in (401, 403):
            raise SensorError(
                f"{self!r}: the admin interface refuses to answer ({response.status} {response.reason});"
                " give authorization_env=, the name of an environment variable that holds user:password,"
                " or authorization_file=, the path of a file that does"
            )
        try:
            clusters = {one["name"]: one for one in json.loads(body)["cluster_statuses"]}
            statuses = clusters[self._cluster].get("host_statuses", ()) if self._cluster in clusters else None
            hosts = {} if statuses is None else {host_name(host): host for host in statuses}
        except (ValueError, TypeError, KeyError) as error:
            raise SensorError(
                f"{self!r}: `/clusters?format=json` gave {response.status} and no clusters ({error!r});"
                " known to work is 1.40"
            ) from error
        if statuses is None:
            raise SensorError(
                f"{self!r}: Envoy has no cluster of this name; it has {', '.join(clusters) or 'none'}"
            )
        return hosts


def _taken_up(weight: int, host: Mapping[str, Any]) -> bool:
    """Whether what Envoy says of a host is what the file asks for; 0 is drained."""
    drained = host.get("health_status", {}).get("eds_health_status") in DRAINED
    return drained if weight == 0 else not drained and weight == host.get("weight", 1)


def _secret(variable: str, file: str) -> str:
    """Read user:password from where it is kept; empty where none is asked for. Errors name the place only."""
    if variable and file:
        raise ConfigError("give either authorization_env= or authorization_file=, and not both")
    if variable:
        secret = os.environ.get(variable)
        if secret is None:
            raise ConfigError(f"the environment variable {variable} is not set; put user:password there")
        return secret
    if not file:
        return ""
    try:
        return Path(file).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        # Not chained: an error of decoding holds what was read.
        raise ConfigError(
            f"the authorization file {file} cannot be read ({type(error).__name__}); put user:password there"
        ) from None
