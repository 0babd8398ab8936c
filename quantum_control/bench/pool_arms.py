"""What takes part in the benchmark of connection pools: fixed sizes, peers, and the control."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg_pool import ConnectionPool

from quantum_control.bench.database_servers import Pgbouncer, Postgres
from quantum_control.bench.pool_load import CLIENTS, Work
from quantum_control.core.controller import QuantumController
from quantum_control.core.physics import Objective, PhysicsModel
from quantum_control.resources.connections import ConnectionPoolResource
from quantum_control.simulation.peers.gradient2 import Gradient2Limit
from quantum_control.simulation.peers.hill_climbing import HillClimbing

DEFAULTS = {"psycopg_pool": 4, "pgbouncer": 20}
"""Size without any setting, by pool: psycopg_pool's `min_size` (and, without `max_size`, maximum),
PgBouncer's `default_pool_size`."""

FORMULA = "2 x cores + 1"
"""The PostgreSQL wiki's formula ("Number of Database Connections") for one effective spindle."""

GRID = (2, 4, 8, 16, 32, 64)
"""Fixed sizes among which the best of each phase is looked for."""

OURS = "quantum_control"
STEERED = (OURS, "gradient2", "hill climbing")
"""Arms that steer."""

TOLD = {"told at the change": 0, "told one step later": 1}
"""Arms that are told each phase's best size as it was calibrated, so many steps after the phase has begun.
They bound what steering can reach: whoever has to see a change before they follow it has figures of the new
phase one step after it at the earliest, and the best fixed size needs none."""

INTERVALS = {"psycopg_pool": 0.1, "pgbouncer": 0.25}
"""Seconds between steps of all that steer; a change through PgBouncer's console takes 30 to 50 ms."""

WAITING = 100.0
"""Price of a waiting client in idle connections, for our arm. What is judged has no price on connections; one
that rests costs some megabytes and no work."""

PATIENCE = 300.0
"""Seconds that a client waits for a connection: longer than any phase, so that slowness shows as slowness."""


def fixed(size: int) -> str:
    """Name of the arm of a fixed size."""
    return f"fixed {size}"


def named_sizes(backend: str) -> dict[str, int]:
    """Fixed sizes that people choose without measuring: the default, and the formula."""
    formula = 2 * (os.cpu_count() or 1) + 1
    return {f"default ({DEFAULTS[backend]})": DEFAULTS[backend], f"{FORMULA} ({formula})": formula}


def named(size: int, backend: str) -> str:
    """Name of the arm of a fixed size: its own, if people know it by one."""
    return next((name for name, known in named_sizes(backend).items() if known == size), fixed(size))


@dataclass(slots=True)
class Account:
    """What the steps of an arm have cost, and which sizes they kept; all zero where nothing steers."""

    cpu_seconds: float = 0.0
    steps: int = 0
    size_sum: float = 0.0


@dataclass(frozen=True, slots=True)
class Arm:
    """One that is ready to run."""

    work: Work
    size: int
    """At the beginning."""
    account: Account
    """Grows; the difference of two readings is what was between them."""
    tell: Callable[[int], None] | None = None
    """Sets the size, of an arm that is told it."""
    late: float = 0.0
    """Seconds after the beginning of a phase at which it is told."""


@contextmanager
def start(name: str, backend: str, server: Postgres) -> Iterator[Arm]:
    """Set up an arm before a running server; everything is ended with the context."""
    sizes = named_sizes(backend) | {fixed(size): size for size in GRID}
    size = sizes.get(name, DEFAULTS[backend])
    pools = psycopg_pool if backend == "psycopg_pool" else _pgbouncer
    with pools(server, size) as (work, steered):
        if name in TOLD:
            with ConnectionPoolResource(**steered, max_connections=CLIENTS) as resource:
                yield Arm(work, size, Account(), resource.apply_control, TOLD[name] * INTERVALS[backend])
            return
        if name not in STEERED:
            yield Arm(work, size, Account())
            return
        # The peers know nothing of what the server's sessions do, nor did they as published.
        asked = server.dsn if name == OURS else None
        with (
            ConnectionPoolResource(**steered, server=asked, max_connections=CLIENTS) as resource,
            _steer(name, resource, INTERVALS[backend]) as account,
        ):
            yield Arm(work, size, account)


Pool = tuple[Work, dict[str, Any]]
"""How clients work, and the arguments of the resource that steers it."""


@contextmanager
def psycopg_pool(server: Postgres, size: int) -> Iterator[Pool]:
    """A psycopg_pool of one size, and clients that work through it."""
    with ConnectionPool(
        server.dsn, kwargs={"autocommit": True}, min_size=size, max_size=size, timeout=PATIENCE, open=True
    ) as pool:
        pool.wait()

        def work(statement: str) -> None:
            with pool.connection() as connection:
                connection.execute(statement)

        yield work, {"pool": pool}


@contextmanager
def _pgbouncer(server: Postgres, size: int) -> Iterator[Pool]:
    """Clients each with a connection to PgBouncer of its own, opened when it first needs one."""
    mine = threading.local()
    opened: list[psycopg.Connection[tuple[object, ...]]] = []
    with Pgbouncer(server, {"default_pool_size": size}) as bouncer:

        def work(statement: str) -> None:
            if not hasattr(mine, "connection"):
                mine.connection = psycopg.connect(bouncer.dsn, autocommit=True, prepare_threshold=None)
                opened.append(mine.connection)
            mine.connection.execute(statement)

        try:
            yield work, {"dsn": bouncer.admin_dsn, "database": "postgres"}
        finally:
            for connection in opened:
                connection.close()


@contextmanager
def _steer(name: str, resource: ConnectionPoolResource, interval: float) -> Iterator[Account]:
    """Step a controller on a thread of its own, whose processor time is what the control costs."""
    laws: dict[str, PhysicsModel | str] = {
        OURS: "optomechanical",
        "gradient2": Gradient2Limit(),
        "hill climbing": HillClimbing(),
    }
    objective = Objective(waiting=WAITING)
    controller = QuantumController(resource, laws[name], interval=interval, objective=objective)
    account = Account()
    stopping = threading.Event()

    def loop() -> None:
        began = time.thread_time()
        while not stopping.wait(interval):
            decision = controller.optimize()
            account.cpu_seconds = time.thread_time() - began
            account.steps += 1
            account.size_sum += decision.allowed

    thread = threading.Thread(target=loop, name="control")
    thread.start()
    try:
        yield account
    finally:
        stopping.set()
        thread.join()
