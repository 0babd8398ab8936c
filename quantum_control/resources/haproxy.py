"""HAProxy by its runtime API, over a unix socket or TCP.

The socket needs `level admin` (`stats socket /run/haproxy/admin.sock level admin`)
and the backend an algorithm whose weights may change while it runs:
`leastconn`, `roundrobin` or `random`. On top of weights, `leastconn` is the best of them.
"""

from __future__ import annotations

import csv
import socket
from collections.abc import Iterable, Mapping
from itertools import islice

from quantum_control.core.errors import ActuatorError, ConfigError, SensorError
from quantum_control.resources.balancer import FULL_WEIGHT, BackEnd, Balancer, Reading, host_port

TIMEOUT = 2.0
"""Seconds for a connection, and for each part of an answer; it answers within a millisecond."""

BATCH = 50
"""Orders sent on one line: well within its buffer of 16 kB."""

STAT = ("svname", "status", "bck", "stot", "scur", "qcur", "hrsp_5xx", "econ", "eresp")
"""Columns read from `show stat`."""

STATE = ("srv_name", "srv_op_state", "srv_admin_state", "srv_uweight")
"""Columns read from `show servers state`."""

SERVERS = 4
"""`show stat` takes the kind of rows as a number; this means servers."""

BY_ORDER = 0x01
"""Bit of `srv_admin_state`: in maintenance by order, which the orders "drain" and "ready" would end."""

MAINTENANCE = BY_ORDER | 0x02 | 0x20
"""Bits of `srv_admin_state`: in maintenance by order, by the server it tracks, or for want of an address."""

DRAIN = 0x08 | 0x10
"""Bits of `srv_admin_state`: drained by order, or by the server it tracks."""


class HAProxy(Balancer):
    """One backend of a running HAProxy, 2.4 or later; to add servers, 2.5 or later.

    Parameters
    ----------
    backend
        Name of the backend.
    path
        Unix socket of the runtime API.
    address
        Host and port of the runtime API, in place of the path.
    """

    def __init__(self, backend: str, *, path: str = "", address: tuple[str, int] | None = None) -> None:
        if not backend or not backend.isprintable() or set(backend) & set("/; \\"):
            raise ConfigError(f"backend={backend!r}: the name of a backend, as in HAProxy's configuration")
        self._backend = backend
        self._target: str | tuple[str, int] = address or path
        self.outlives_boot = address is not None  # it may be on another machine
        self._version = "of unknown version"
        self._weights: dict[str, int] = {}  # in force, as read last
        self._drained: set[str] = set()  # of these, the ones in the state "drain"
        self._maintained: set[str] = set()  # and the ones in maintenance by order
        self._uptime = 0  # seconds, as read last
        self._restarts = (
            0  # since the first reading, of the same process id: in a container it is given again
        )

    def __repr__(self) -> str:
        where = self._target if isinstance(self._target, str) else host_port(*self._target)
        return f"HAProxy(backend {self._backend!r} at {where})"

    def read(self) -> Reading:
        """Read `show info`, `show stat` and `show servers state` in one go."""
        info, stat, state = self._ask(
            "show info",
            f"show stat {self._backend} {SERVERS} -1",
            f"show servers state {self._backend}",
        )
        facts = dict(line.split(": ", 1) for line in info.splitlines() if ": " in line)
        if not facts.keys() >= {"Pid", "Version", "Uptime_sec"}:
            raise SensorError(
                f"{self!r}: `show info` lacks Pid, Version or Uptime_sec; is this a HAProxy? {_start(info)}"
            )
        self._version = facts["Version"]
        before, self._uptime = self._uptime, int(facts["Uptime_sec"])
        self._restarts += self._uptime < before
        states = self._states(state)
        servers = {}
        for row in self._rows(stat, ",", STAT):
            name = row["svname"]
            if name not in states:
                raise SensorError(f"{self!r} came and went while it was read: no state of server {name!r}")
            down = int(states[name]["srv_admin_state"]) & MAINTENANCE or states[name]["srv_op_state"] == "0"
            started, running = int(row["stot"] or 0), int(row["scur"] or 0)
            servers[name] = BackEnd(
                weight=self._weights[name],
                started=started,
                ended=started - running,
                failed=sum(int(row[key] or 0) for key in ("hrsp_5xx", "econ", "eresp")),
                in_flight=running + int(row["qcur"] or 0),
                up=not down,
                spare=row["bck"] == "1",
            )
        return Reading(servers, run=f"{facts['Pid']}.{self._restarts}")

    def write(self, weights: Mapping[str, int]) -> None:
        """Drain, make ready and weigh, then read back; put the old weights back if one order is refused."""
        before = {name: self._weights[name] for name in weights if name in self._weights}
        try:
            self._order(line for name, weight in weights.items() for line in self._orders(name, weight))
            self._verify(weights)
        except (ActuatorError, SensorError) as error:
            undone = self._undo(before)
            raise ActuatorError(f"{error}; {undone}") from error

    def name_of(self, address: str) -> str:
        """Names of servers have no colon."""
        return "qc-" + address.replace("[", "").replace("]", "").replace(":", "-")

    def add(self, address: str) -> str:
        """Add a server (`add server`), in the state drain in place of the maintenance that it comes in."""
        name = self.name_of(address)
        server = f"{self._backend}/{name}"
        # Without weight from the start: one that stops halfway is then as drained as it was to be.
        self._order([f"add server {server} {address} weight 0"], allow=("New server registered.",))
        self._order([f"set server {server} state drain"])
        self._weights[name] = 0
        self._drained.add(name)
        return name

    def remove(self, name: str) -> bool:
        """Delete a server (`del server`); it stays in maintenance while connections hold on to it."""
        server = f"{self._backend}/{name}"
        # Without the weight of its time in use, which maintenance in place of the drain would bring back.
        self._order([f"set server {server} weight 0", f"set server {server} state maint"])
        answer = self._exchange(f"del server {server}")
        if answer.strip() in ("", "Server deleted."):
            return True
        if "connections attached" in answer or "still has" in answer:
            return False
        raise ActuatorError(f"{self!r} refused to delete {name!r}: {_start(answer)}")

    # ---- the protocol ---------------------------------------------------------------------------

    def _states(self, answer: str) -> dict[str, dict[str, str]]:
        """Rows of `show servers state` by server; what they say of weights and orders is remembered."""
        if answer.startswith("Can't find backend"):
            raise SensorError(f"{self!r} has no backend of this name; `show backend` lists them")
        rows = {row["srv_name"]: row for row in self._rows(answer.partition("\n")[2], " ", STATE)}
        admin = {name: int(row["srv_admin_state"]) for name, row in rows.items()}
        self._drained = {name for name, bits in admin.items() if bits & DRAIN}
        self._maintained = {name for name, bits in admin.items() if bits & BY_ORDER}
        weights = {name: int(row["srv_uweight"]) for name, row in rows.items()}
        self._weights = weights | dict.fromkeys(self._drained, 0)
        return rows

    def _read_back(self) -> None:
        (state,) = self._ask(f"show servers state {self._backend}")
        self._states(state)

    def _orders(self, name: str, weight: int) -> Iterable[str]:
        if not 0 <= weight <= FULL_WEIGHT:
            raise ActuatorError(f"weight {weight} of {name!r} is not within 0 to {FULL_WEIGHT}")
        server = f"set server {self._backend}/{name}"
        # In maintenance it gets nothing anyway, and the weight is what it comes back with: "drain" and
        # "ready" would end what somebody else has begun.
        if weight == 0 and name not in self._maintained:
            yield f"{server} state drain"
            return
        yield f"{server} weight {weight}"
        if name in self._drained - self._maintained:
            yield f"{server} state ready"

    def _verify(self, weights: Mapping[str, int]) -> None:
        self._read_back()
        astray = {n: self._weights.get(n) for n, weight in weights.items() if self._weights.get(n) != weight}
        if astray:
            raise ActuatorError(f"{self!r} did not take the weights {dict(weights)}: it reports {astray}")

    def _undo(self, before: Mapping[str, int]) -> str:
        try:
            self._read_back()
            changed = {name: weight for name, weight in before.items() if self._weights.get(name) != weight}
            self._order(line for name, weight in changed.items() for line in self._orders(name, weight))
        except (ActuatorError, SensorError) as error:
            return f"the weights {dict(before)} could not be put back: {error}"
        return "the weights are as they were"

    def _order(self, lines: Iterable[str], allow: tuple[str, ...] = ()) -> None:
        remaining = iter(lines)
        while batch := list(islice(remaining, BATCH)):
            try:
                answers = self._exchange("; ".join(batch))
            except SensorError as error:
                raise ActuatorError(str(error)) from error
            refusals = [line for line in answers.splitlines() if line.strip() and line not in allow]
            if any("Permission denied" in line for line in refusals):
                raise ActuatorError(
                    f"{self!r} may be read but not steered: Permission denied."
                    " Give the socket `level admin` in HAProxy's configuration"
                )
            if refusals:
                raise ActuatorError(
                    f"{self!r} refused {batch[0]!r} or what followed: {_start(' '.join(refusals))}"
                )

    def _ask(self, *commands: str) -> list[str]:
        """Answers to commands that each answer with a block of lines; blank lines part them."""
        answer = self._exchange("; ".join(commands))
        if not answer.endswith("\n\n"):
            raise SensorError(f"{self!r}: the answer ended in the middle: ...{answer[-60:]!r}")
        blocks = answer.removesuffix("\n\n").split("\n\n", len(commands) - 1)
        if len(blocks) != len(commands):
            raise SensorError(
                f"{self!r}: {len(blocks)} answers to {len(commands)} commands: {_start(answer)}"
            )
        return [block.strip("\n") for block in blocks]

    def _exchange(self, line: str) -> str:
        chunks = []
        try:
            with _connected(self._target) as connection:
                connection.sendall(line.encode() + b"\n")
                while chunk := connection.recv(65536):
                    chunks.append(chunk)
        except OSError as error:
            raise SensorError(
                f"{self!r} cannot be reached: {error}. Is it running, and is this its `stats socket`?"
            ) from error
        return b"".join(chunks).decode("utf-8", "replace")

    def _rows(self, table: str, separator: str, needed: tuple[str, ...]) -> Iterable[dict[str, str]]:
        if not table.startswith("# "):
            raise SensorError(f"{self!r} ({self._version}) gives no table: {_start(table)}")
        header, *lines = csv.reader(table.removeprefix("# ").splitlines(), delimiter=separator)
        missing = [name for name in needed if name not in header]
        if missing:
            raise SensorError(
                f"{self!r} ({self._version}) reports no {', '.join(missing)}; known to work are 2.4 and later"
            )
        for fields in lines:
            if len(fields) != len(header):
                raise SensorError(
                    f"{self!r} ({self._version}): a row is cut short: {_start(separator.join(fields))}"
                )
            yield dict(zip(header, fields, strict=True))


def _connected(target: str | tuple[str, int]) -> socket.socket:
    """Connect to the path of a unix socket, or to a host and a port, by IPv6 or IPv4."""
    if not isinstance(target, str):
        return socket.create_connection(target, TIMEOUT)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(TIMEOUT)
        connection.connect(target)
    except OSError:
        connection.close()
        raise
    return connection


def _start(text: str) -> str:
    """Cut the first line out, short enough for a message."""
    line = text.strip().splitlines()[0] if text.strip() else "(nothing)"
    return line if len(line) <= 120 else line[:117] + "..."
