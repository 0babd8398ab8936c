"""Where heavy work is done: in processes of this machine, or by Ray on many.

A piece of work depends on nothing but itself, so that what comes out is the
same on every engine, to the last bit on processors of one kind. Results come
as they are ready. A worker that is killed costs the piece it was at, which is
done again; an error that the work itself raises ends everything.
"""

from __future__ import annotations

import os
import pickle
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

import click

from quantum_control.core.errors import ConfigError, QuantumControlError
from quantum_control.fleet.processes import ATTEMPTS, ONE_THREAD, Processes

P = TypeVar("P")
R = TypeVar("R")

ENGINES = ("local", "ray")

PATIENCE = 5.0
"""Seconds to connect to a cluster."""

OBJECT_STORE = 100_000_000
"""Bytes that a Ray started here sets aside for results: those of ours are small."""


class Engine(Protocol):
    """Does pieces of work."""

    def run(self, task: Callable[[P], R], pieces: Sequence[P]) -> Iterator[R]:
        """Do `task(piece)` for each piece; yields what they return as they are done.

        Closing the iterator, or Ctrl-C, ends what is under way.
        """


class Ray:
    """Does the work on a Ray cluster.

    Parameters
    ----------
    jobs
        Processors of a Ray that is started here for the time being.
    address
        Of a cluster that runs already ("auto" for the one of this machine, "ray://host:10001"), which
        needs quantum-control in the same version. None starts one here, on the loopback interface.

    Raises
    ------
    ConfigError
        Ray is not installed.
    """

    def __init__(self, jobs: int, address: str | None = None) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would report home
        try:
            import ray
        except ImportError as error:
            raise ConfigError("--engine ray needs Ray: pip install 'quantum-control[ray]'") from error
        self._ray: Any = ray
        self._jobs = jobs
        self._address = address

    def run(self, task: Callable[[P], R], pieces: Sequence[P]) -> Iterator[R]:
        """Do `task(piece)` for each piece; yields what they return as they are done.

        Raises
        ------
        ConfigError
            The cluster cannot be reached.
        QuantumControlError
            A piece was lost with its worker again and again.
        """
        ray = self._ray
        own = not ray.is_initialized()
        if own:
            self._connect()
        remote = ray.remote(num_cpus=1, max_retries=ATTEMPTS - 1)(_unpacked)
        waiting = [remote.remote(pickle.dumps((task, piece))) for piece in pieces]
        try:
            while waiting:
                ready, waiting = ray.wait(waiting, num_returns=1)
                yield self._result(ready[0])
        finally:
            for one in waiting:
                ray.cancel(one, force=True)
            if own:
                ray.shutdown()

    def _connect(self) -> None:
        ray, options = self._ray, {"log_to_driver": False, "logging_level": "error"}
        try:
            if self._address is not None:
                self._probe(self._address)
                ray.init(address=self._address, **options)
            else:
                os.environ.update(ONE_THREAD)  # handed on to its workers
                ray.init(
                    address="local",
                    num_cpus=self._jobs,
                    include_dashboard=False,
                    object_store_memory=OBJECT_STORE,
                    _node_ip_address="127.0.0.1",
                    **options,
                )
        except (OSError, ValueError, RuntimeError) as error:
            where = self._address or "this machine"
            raise ConfigError(f"no Ray cluster at {where}: {error}") from error

    @staticmethod
    def _probe(address: str) -> None:
        """Try a plain HOST:PORT ourselves, at which Ray would look for minutes."""
        host, colon, port = address.rpartition(":")
        if colon and port.isdigit() and "/" not in host:
            socket.create_connection((host, int(port)), PATIENCE).close()

    def _result(self, reference: Any) -> Any:
        errors = self._ray.exceptions
        try:
            return self._ray.get(reference)
        except errors.RayTaskError as error:
            raise error.cause from None
        except errors.RayError as error:
            raise QuantumControlError(f"a piece of work was lost {ATTEMPTS} times: {error}") from error


def _unpacked(work: bytes) -> Any:
    """Do a piece of work in a worker of Ray, where numpy may not have been loaded yet."""
    os.environ.update(ONE_THREAD)
    task, piece = pickle.loads(work)  # noqa: S301 - packed by `Ray.run`
    return task(piece)


def engine_named(name: str, jobs: int, address: str | None = None) -> Engine:
    """The engine called `name`.

    Raises
    ------
    ConfigError
        There is no such engine, it is not installed, or an address was given for one that has none.
    """
    if name == "ray":
        return Ray(jobs, address)
    if name != "local":
        raise ConfigError(f"engine {name!r}: one of {', '.join(ENGINES)}")
    if address is not None:
        raise ConfigError("--address is that of a Ray cluster: add --engine ray")
    return Processes(jobs)


ENGINE = click.option(
    "--engine",
    type=click.Choice(ENGINES),
    default="local",
    show_default=True,
    help="Processes of this machine, or Ray.",
)
ADDRESS = click.option(
    "--address", help="Ray cluster: auto, or ray://host:10001. Left out, one is started here."
)
