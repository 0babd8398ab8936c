"""Which database servers and poolers of this machine have connections that could be steered."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from quantum_control.core.discovery import Found
from quantum_control.resources.listening import PROC, Listener, Place, listeners

SOCKET = ".s.PGSQL."
"""Name of PostgreSQL's unix sockets, and of PgBouncer's, before the port."""

PORTS = {"postgres": 5432, "pgbouncer": 6432, "redis-server": 6379}
"""Where each listens unless told otherwise."""

ADMIN = re.compile(r"^[ \t]*admin_users[ \t]*=[ \t]*\"?(?P<name>[\w.-]+)", re.MULTILINE)

KIND = "connections"


def find(proc: Path = PROC) -> Iterator[Found]:
    """PgBouncers with their admin console; PostgreSQL and Redis servers, whose pools are in applications."""
    for listener in listeners("pgbouncer", proc):
        for host, port in _ends("pgbouncer", listener):
            dsn = f"host={host} port={port} dbname=pgbouncer"
            configs = [word for word in listener.arguments[1:] if word.endswith(".ini")]
            admin = _admin(configs[0]) if configs else ""
            own = f"; for a database with a pool_size of its own also database= and config={configs[0]!r}"
            what = (
                "its password, if it has one, is left to PGPASSFILE or PGPASSWORD"
                if admin
                else "the console needs a user= among admin_users"
            )
            options = {"dsn": f"{dsn} user={admin}" if admin else dsn}
            note = f"{what}{own if configs else ''}"
            yield Found(KIND, f"pgbouncer-{port}", options, note, possible=bool(admin))
    for listener in listeners("postgres", proc):
        for host, port in _ends("postgres", listener):
            note = (
                "PostgreSQL: its pools are in the applications; give one as pool=, with these options, and"
                " share the server by a SharedBudget"
            )
            yield Found(
                KIND, f"postgresql-{port}", {"server": f"host={host} port={port}"}, note, possible=False
            )
    for listener in listeners("redis-server", proc):
        for host, port in _ends("redis-server", listener):
            note = f"Redis at {host} port {port}: its pools are in the applications; give one as pool="
            yield Found(KIND, f"redis-{port}", {}, note, possible=False)


def _admin(path: str) -> str:
    """First of the admin users in PgBouncer's configuration; empty where that may not be read or has none."""
    try:
        text = Path(path).read_text("utf-8", "replace")
    except OSError:
        return ""
    match = ADMIN.search(text)
    return match["name"] if match else ""


def _ends(program: str, listener: Listener) -> list[tuple[str, int]]:
    """Where to connect to, one a port: by TCP rather than by unix socket."""
    found: dict[int, str] = {}
    for place in sorted(listener.places, key=lambda place: place.port, reverse=True):
        port = place.port or _port_of(place)
        if port and port not in found and (listener.known or _belongs(program, listener, port)):
            found[port] = place.local if place.port else str(Path(place.path).parent)
    return [(host, port) for port, host in sorted(found.items())]


def _port_of(place: Place) -> int:
    """Port in the name of a unix socket of PostgreSQL's; 0 if it has none."""
    name = Path(place.path).name
    number = name.removeprefix(SOCKET)
    return int(number) if name.startswith(SOCKET) and number.isdecimal() else 0


def _belongs(program: str, listener: Listener, port: int) -> bool:
    """Whether a port of a user is likely that program's: Debian runs PgBouncer and PostgreSQL as one user."""
    return port == PORTS[program] or any(str(port) in word for word in listener.arguments)
