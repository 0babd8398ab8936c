"""Which load balancers of this machine could be steered: what their command lines and configurations say."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from quantum_control.core.discovery import Found
from quantum_control.resources.balancer import host_port
from quantum_control.resources.listening import PROC, Listener, listeners

KIND = "loadbalancer"

STATS_SOCKET = re.compile(r"^\s*stats\s+socket\s+(?P<where>\S+)(?P<rest>.*)$", re.MULTILINE)
TCP = re.compile(r"^(?:ipv4@|ipv6@)?\[?(?P<host>[^@/\[\]]*)\]?:(?P<port>\d+)$")

PROXIES = frozenset({"backend", "listen"})
"""Words that begin a section of HAProxy's configuration which may have servers to be weighed."""

SECTIONS = PROXIES | {
    "acme",
    "cache",
    "crt-store",
    "defaults",
    "fcgi-app",
    "frontend",
    "global",
    "http-errors",
    "log-forward",
    "log-profile",
    "mailers",
    "namespace_list",
    "peers",
    "program",
    "resolvers",
    "ring",
    "traces",
    "userlist",
}
"""All that begin one, and so end the one before; peers and rings have a `server` of their own."""

SERVERS = frozenset({"server", "server-template"})

ANY = {"": "127.0.0.1", "*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - read
"""Where to reach what listens everywhere."""


def find(proc: Path = PROC) -> Iterator[Found]:
    """HAProxys with their backends, and Envoys with their EDS clusters."""
    for listener in listeners("haproxy", proc):
        yield from _haproxy(listener, proc)
    for listener in listeners("envoy", proc):
        yield from _envoy(listener, proc)


def _haproxy(listener: Listener, proc: Path) -> Iterator[Found]:
    files = listener.option("-f")
    text = "\n".join(filter(None, (_read(_within(proc, listener.pid, name)) for name in files)))
    # Of a process's own descriptors, or without a place in the file system, there are others.
    sockets = [each for each in STATS_SOCKET.finditer(text) if _socket_url(each["where"])]
    if not sockets:
        what = "no `stats socket` at a path or a port" if text else "its configuration cannot be read"
        note = f"HAProxy, process {listener.pid}: {what}; its runtime API is needed, at `level admin`"
        yield Found(KIND, f"haproxy-{listener.pid}", {}, note, possible=False)
        return
    # The first at level admin, else the first.
    chosen = next((each for each in sockets if "level admin" in each["rest"]), sockets[0])
    note = "" if "level admin" in chosen["rest"] else "its `stats socket` needs `level admin` to be steered"
    for name, servers in _backends(text).items():
        url = f"{_socket_url(chosen['where'])}?backend={name}"
        told = note if servers else f"HAProxy's {name!r} has no server"
        yield Found(KIND, f"haproxy-{name}", {"url": url}, told, possible=servers)


def _backends(text: str) -> dict[str, bool]:
    """Back ends by name, and whether each has a server: one for statistics or redirections has none."""
    found: dict[str, bool] = {}
    name = ""
    for line in text.splitlines():
        word, *rest = line.split() or [""]
        if word in SECTIONS:
            name = rest[0] if rest and word in PROXIES else ""
            if name:
                found.setdefault(name, False)
        elif name and word in SERVERS:
            found[name] = True
    return found


def _socket_url(where: str) -> str:
    """Where to connect to; empty if nobody else can."""
    match = TCP.match(where)
    if match:
        host = ANY.get(match["host"], match["host"])
        return f"haproxy+tcp://{host_port(host, int(match['port']))}"
    path = where.removeprefix("unix@")
    return f"haproxy+unix://{path}" if path.startswith("/") else ""


def _envoy(listener: Listener, proc: Path) -> Iterator[Found]:
    note = f"Envoy, process {listener.pid}: "
    files = listener.option("-c", "--config-path")
    text = _read(_within(proc, listener.pid, files[0])) if files else ""
    try:
        configuration = json.loads(text)
        admin = configuration["admin"]["address"]["socket_address"]
        host = ANY.get(admin["address"], admin["address"])
        where = f"envoy+http://{host_port(host, admin['port_value'])}"
        clusters = configuration["static_resources"]["clusters"]
        watched = {name: path for name, path in map(_eds, clusters) if path}
    except (ValueError, KeyError, TypeError):
        what = "its configuration is not there to read, as JSON with an admin address and clusters"
        note = f"{note}{what}; its URL needs cluster= and eds="
        yield Found(KIND, f"envoy-{listener.pid}", {}, note, possible=False)
        return
    if not watched:
        note = f"{note}no cluster has its endpoints in a watched file"
        yield Found(KIND, f"envoy-{listener.pid}", {}, note, possible=False)
    for name, path in watched.items():
        yield Found(KIND, f"envoy-{name}", {"url": f"{where}?cluster={name}&eds={path}"})


def _eds(cluster: dict[str, Any]) -> tuple[str, str]:
    """Name of a cluster, and the file with its endpoints; empty if there is none."""
    source = cluster.get("eds_cluster_config", {}).get("eds_config", {}).get("path_config_source", {})
    return cluster["name"], source.get("path", "")


def _within(proc: Path, pid: int, name: str) -> Path:
    """Path that a process means: relative to its own working directory."""
    return proc / str(pid) / "cwd" / name  # an absolute one stands for itself


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""
