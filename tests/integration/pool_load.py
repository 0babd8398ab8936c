"""Clients that keep a pool busy, and a controller stepped beside them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import pytest
from integration.requirements import require

from quantum_control.bench.database_servers import Pgbouncer, Postgres, Redis
from quantum_control.bench.server_process import find_program, wait_until
from quantum_control.core.controller import QuantumController
from quantum_control.core.errors import ConfigError
from quantum_control.resources.connections import ConnectionPoolResource

LIMIT = 20.0
"""Seconds after which a condition that should hold counts as failed."""


class Clients:
    """Threads that call `work` again and again; errors are counted, and paced as a client would."""

    def __init__(self, work: Callable[[], object], number: int, pause: float = 0.0) -> None:
        self.done = 0
        self.errors: list[str] = []
        self._work = work
        self._pause = pause
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._loop, daemon=True) for _ in range(number)]

    def _loop(self) -> None:
        while not self._stopping.is_set():
            try:
                self._work()
                self.done += 1
            except Exception as error:  # noqa: BLE001 - the tests judge them
                self.errors.append(f"{type(error).__name__}: {error}")
                self._stopping.wait(0.02)
            if self._pause:
                self._stopping.wait(self._pause)

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._stopping.set()
        # Where a test has failed its server may be down, with clients that wait for it: those end with it.
        deadline = time.monotonic() + (LIMIT if kind is None else 1.0)
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        assert kind is not None or not any(thread.is_alive() for thread in self._threads)


def eventually(condition: Callable[[], object], what: str) -> None:
    """Fail unless `condition` comes to hold."""
    if not wait_until(condition, LIMIT, pause=0.05):
        pytest.fail(f"never came about: {what}")


def steer(
    controller: QuantumController, until: Callable[[], object], what: str, pause: float = 0.1
) -> list[int]:
    """Step a controller until a condition holds; the sizes that it ordered on the way."""
    sizes: list[int] = []
    deadline = time.monotonic() + LIMIT
    while not until():
        if time.monotonic() > deadline:
            last = [(d.outcome.name, d.allowed, d.reasons) for d in list(controller.decisions)[-8:]]
            pytest.fail(f"never came about: {what}; sizes {sizes[-20:]}, last {last}")
        sizes.append(controller.optimize().allowed)
        time.sleep(pause)
    return sizes


def settle(controller: QuantumController) -> int:
    """Step a controller until its size is what the load of before needs; the largest of the last steps."""
    end = controller.steps + 30
    return max(steer(controller, lambda: controller.steps >= end, "steps under a steady load")[-10:])


def stalled(resource: ConnectionPoolResource) -> None:
    """Measure until nothing comes back, so that no step sees the interval in which the server stalls."""
    silent = 0

    def nothing_comes() -> bool:
        nonlocal silent
        resource.measure_state()
        silent = silent + 1 if resource.get_metrics()["throughput"] == 0.0 else 0
        return silent == 6

    eventually(nothing_comes, "nothing comes back")


def backends(server: Postgres, application: str = "pooled") -> int:
    """Connections of an application, as the server itself counts them."""
    import psycopg  # not needed for the pools of Redis

    with psycopg.connect(server.dsn, autocommit=True) as admin:
        row = admin.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s", [application]
        ).fetchone()
    assert row is not None
    count: int = row[0]
    return count


def installed(program: str) -> None:
    """Skip where a server is not installed."""
    try:
        find_program(program)
    except ConfigError as error:
        require(False, str(error))


@contextmanager
def postgres(**settings: Any) -> Any:
    """A PostgreSQL of the test's own."""
    installed("postgres")
    with Postgres(settings) as server:
        yield server


@contextmanager
def pgbouncer(server: Postgres, passwords: dict[str, str] | None = None, **settings: Any) -> Any:
    """A PgBouncer of the test's own."""
    installed("pgbouncer")
    with Pgbouncer(server, settings, passwords) as bouncer:
        yield bouncer


@contextmanager
def redis_server() -> Any:
    """A Redis of the test's own."""
    installed("redis-server")
    with Redis() as server:
        yield server
