"""Pools of connections to a real PostgreSQL under a real mixed load, in short blocks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
import psycopg
from psycopg_pool import ConnectionPool

from quantum_control.bench.connections import SETTINGS
from quantum_control.bench.database_servers import Postgres
from quantum_control.bench.pool_arms import DEFAULTS, WAITING, psycopg_pool
from quantum_control.bench.pool_load import (
    AHEAD,
    CLIENTS,
    PHASES,
    SCHEMA,
    SLOT,
    Phase,
    Timetable,
    Work,
    capacity,
    recording,
    serve,
    timetable,
)
from quantum_control.core.controller import QuantumController
from quantum_control.core.errors import SensorError
from quantum_control.core.physics import Objective, PhysicsModel
from quantum_control.core.resource import Resource
from quantum_control.daemon.shadow import Shadow
from quantum_control.demo.arms import Stopwatch
from quantum_control.resources.connections import ConnectionPoolResource
from quantum_control.simulation.peers.gradient2 import Gradient2Limit
from quantum_control.validation.bed import TIMES, Bed, Block, Turn
from quantum_control.validation.beds.steps import Steps
from quantum_control.validation.beds.transactions import course, figures
from quantum_control.validation.beds.watch import Watch
from quantum_control.validation.plan import AGAIN, BEST, DEFAULT, UNSTEERED, WATCHED

SIZE = DEFAULTS["psycopg_pool"]

PEER, TOLD = "peer", "told"

RISE = 0.04
"""Seconds from the beginning of a block until as much is under way as in the midst of it: about the longest
transaction."""

SESSIONS = 10
"""Sessions on the server beside those of the pools: ours, and those that ask it for its figures."""


@dataclass(frozen=True, slots=True)
class Arm:
    """A pool that lasts over all blocks."""

    pool: ConnectionPool[Any]
    work: Work
    steps: Steps | None = None
    """None where nothing steers."""
    tell: Callable[[int], None] | None = None
    """Sets the size, where it is told."""
    clock: Stopwatch | None = None
    """Runs while it has its turn, where it is told."""

    def size(self) -> int:
        """Connections that may be used, or that are open where those are more."""
        return max(self.pool.max_size, self.pool.get_stats()["pool_size"])


class ConnectionsBed(Bed):
    """The load of `quantum-control bench connections` on pools of psycopg_pool.

    A stretch of pairs is one phase of that load: it begins with a slot of the
    phase before, so that the change is among what is measured, and a pair has
    the next few slots of it. The first moments of a block count for nothing.
    """

    SETTINGS = TIMES | {"pools", "capacity", "sizes", "sweep"}
    METRICS = frozenset({"latency_mean", "lost", "latency_p99", "connections", "throughput"})
    SEARCHED = frozenset({BEST, TOLD})

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__(settings)
        self._stack = ExitStack()
        self._arms: dict[str, Arm] = {}
        self._rates: Mapping[str, float] = {}
        self._best: Mapping[str, int] = {}
        # Every arm may have a connection for each client, and all arms are there at once.
        most = int(settings["pools"]) * CLIENTS + SESSIONS
        try:
            self._server = self._stack.enter_context(Postgres({**SETTINGS, "max_connections": most}))
            self._admin = self._stack.enter_context(psycopg.connect(self._server.dsn, autocommit=True))
            self._admin.execute(SCHEMA)
            self._admin.execute("VACUUM ANALYZE")
        except BaseException:
            self._stack.close()
            raise

    def calibrate(self, turns: list[Turn], tell: Callable[[str], object]) -> dict[str, Any]:
        """Measure what the server can do in each phase, then every fixed size on arrivals of the run."""
        sizes: Sequence[int] = self.settings["sizes"]
        with ExitStack() as stack:
            arms = {size: self._fixed(stack, size) for size in sizes}
            most = self._capacities(arms, tell)
            self._rates = {phase.name: phase.utilisation * max(most[phase.name].values()) for phase in PHASES}
            logs: dict[str, dict[int, list[float]]] = {}
            chosen = turns[: self.settings["sweep"]]
            for number, turn in enumerate(chosen, 1):
                tell(f"looking for the best fixed size: block {number} of {len(chosen)}")
                here = logs.setdefault(_phases(turn)[1].name, {size: [] for size in sizes})
                for size in turn.order().permutation(list(sizes)).tolist():
                    here[size].append(float(np.log(self._play(arms[size], turn).metrics["latency_mean"])))
        # The geometric mean, as the arms are compared by ratios; a phase counts as much as the other.
        by_phase = {
            name: {size: float(np.mean(found)) for size, found in here.items()} for name, here in logs.items()
        }
        means = {size: float(np.mean([here[size] for here in by_phase.values()])) for size in sizes if turns}
        best = {
            "best_fixed": _least(means),
            "best_in_phase": {phase.name: _least(by_phase.get(phase.name, means)) for phase in PHASES},
        }
        return {
            **(best if turns else {}),
            "latency_by_size": {str(size): round(float(np.exp(value)), 6) for size, value in means.items()},
            "latency_in_phase": {
                name: {str(size): round(float(np.exp(value)), 6) for size, value in here.items()}
                for name, here in by_phase.items()
            },
            "arrivals_per_second": {name: round(rate, 1) for name, rate in self._rates.items()},
            "transactions_per_second": {
                name: {str(size): round(value, 1) for size, value in found.items()}
                for name, found in most.items()
            },
        }

    def prepare(self, calibration: Mapping[str, Any], arms: list[str]) -> None:
        """Open the pools."""
        self._rates = calibration["arrivals_per_second"]
        self._best = calibration.get("best_in_phase", {})
        for name in arms:
            if name in (DEFAULT, AGAIN):
                self._arms[name] = self._fixed(self._stack, SIZE)
            elif name == BEST:
                self._arms[name] = self._fixed(self._stack, int(calibration["best_fixed"]))
            elif name in (TOLD, UNSTEERED):
                self._arms[name] = self._adopted(told=name == TOLD)
            else:
                self._arms[name] = self._steered(name)

    def run(self, arm: str, turn: Turn) -> Block:
        """Play the slots of a turn."""
        return self._play(self._arms[arm], turn)

    def inputs(self) -> dict[str, str]:
        """Recording that the arrivals follow."""
        return {"trace": recording()}

    def versions(self) -> dict[str, str]:
        """PostgreSQL's."""
        return {"postgresql": self._admin.info.parameter_status("server_version") or "unknown"}

    def _fixed(self, stack: ExitStack, size: int) -> Arm:
        work, steered = stack.enter_context(psycopg_pool(self._server, size))
        return Arm(steered["pool"], work)

    def _adopted(self, *, told: bool) -> Arm:
        """A pool of the default size to begin with, through the same adapter as what is steered."""
        work, steered = self._stack.enter_context(psycopg_pool(self._server, SIZE))
        clock = Stopwatch()
        resource = self._stack.enter_context(
            ConnectionPoolResource(**steered, max_connections=CLIENTS, clock=clock)
        )
        return Arm(steered["pool"], work, tell=resource.apply_control if told else None, clock=clock)

    def _steered(self, name: str) -> Arm:
        """A pool of the default size, and a controller that begins with it."""
        steps = Steps(float(self.settings["interval"]))
        work, steered = self._stack.enter_context(psycopg_pool(self._server, SIZE))
        resource: Resource = self._stack.enter_context(
            ConnectionPoolResource(
                **steered,
                # The peer knows nothing of what the server's sessions do, nor did it as published.
                server=None if name == PEER else self._server.dsn,
                max_connections=CLIENTS,
                clock=steps.clock,
            )
        )
        law: PhysicsModel | str = Gradient2Limit() if name == PEER else name
        if name == WATCHED:
            resource, law = Shadow(resource), "auto"
        steps.steer(
            QuantumController(
                resource,
                law,
                auto_tune=isinstance(law, str),
                interval=steps.interval,
                objective=Objective(waiting=WAITING),
                clock=steps.clock,
            )
        )
        return Arm(steered["pool"], work, steps)

    def _capacities(
        self, arms: Mapping[int, Arm], tell: Callable[[str], object]
    ) -> dict[str, dict[int, float]]:
        """Transactions per second with every client busy, by phase and size."""
        found: dict[str, dict[int, float]] = {phase.name: {} for phase in PHASES}
        for size, arm in arms.items():
            tell(f"calibrating: {size} connections")
            for phase in PHASES:
                found[phase.name][size] = capacity(arm.work, phase, float(self.settings["capacity"]))
        return found

    def _play(self, arm: Arm, turn: Turn) -> Block:
        table = self._table(turn)
        before, phase = _phases(turn)
        if arm.tell is not None:
            arm.tell(self._best[before.name if turn.place == 0 else phase.name])
        try:
            self._admin.execute("VACUUM hot")  # what the block before has left there
        except psycopg.Error as error:
            raise SensorError(f"the server could not be tidied between two blocks: {error}") from error
        begin = time.monotonic() + AHEAD
        with ExitStack() as stack:
            watch = stack.enter_context(Watch(arm.size))
            if arm.clock is not None:
                arm.clock.go()
                stack.callback(arm.clock.halt)
            if arm.steps is not None:
                # Not while the clients are waking up, nor while the last of them are served: for the control
                # one block is the continuation of the other.
                stack.enter_context(arm.steps.between(begin + RISE, begin + table.seconds))
            if arm.tell is not None and turn.place == 0:
                change = threading.Timer(AHEAD + SLOT, arm.tell, (self._best[phase.name],))
                change.start()
                stack.callback(change.join)
            latency = serve(arm.work, table)
        times = np.array(watch.times) - begin
        return Block(
            metrics=figures(table, latency, times, watch.sizes, float(self.settings["wash_in"])),
            control_cpu=0.0 if arm.steps is None else arm.steps.cpu,
            steps=0 if arm.steps is None else arm.steps.taken,
            control_memory=None if arm.steps is None else arm.steps.memory(),
            course=course(table, latency, times, watch.sizes),
            phase=phase.name,
        )

    def _table(self, turn: Turn) -> Timetable:
        """The turn's part of its stretch: a slot of the phase before, then the phase."""
        seconds = float(self.settings["seconds"])
        rng = turn.conditions()
        before, phase = _phases(turn)
        length = turn.length * seconds
        first = timetable(before, self._rates[before.name], SLOT, rng)
        then = timetable(phase, self._rates[phase.name], length - first.seconds, rng)
        due = np.concatenate([first.due, then.due + first.seconds])
        begin = turn.place * seconds
        mine = slice(*np.searchsorted(due, (begin, begin + seconds)).tolist())
        return Timetable(seconds, due[mine] - begin, (first.statements + then.statements)[mine])

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()


def _least(values: Mapping[int, float]) -> int | None:
    """Size of the least value; None if there is none."""
    return min(values, key=values.__getitem__) if values else None


def _phases(turn: Turn) -> tuple[Phase, Phase]:
    """Phase before that of a turn's stretch, and its own."""
    return PHASES[(turn.stretch - 1) % len(PHASES)], PHASES[turn.stretch % len(PHASES)]
