"""Every law on every load, with the same arrivals for all: what it cost, in runs that pair."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from quantum_control.core import plugins
from quantum_control.core.errors import ConfigError, unknown_name
from quantum_control.core.estimation import Estimator
from quantum_control.core.physics import Objective, PhysicsModel
from quantum_control.core.resource import ResourceState
from quantum_control.fleet.engine import engine_named
from quantum_control.simulation.accounting import backlog_of_sizes
from quantum_control.simulation.loads import LOADS, TRACES, trace
from quantum_control.simulation.peers import LIMITERS, PROVISIONERS, HoltWinters, best_fixed, foresight
from quantum_control.simulation.plants.queues import FluidQueue
from quantum_control.simulation.rollout import rollout
from quantum_control.simulation.traffic import FloatArray

OURS = ("optomechanical", "parametric", "coherent", "auto")
"""Our laws by name; with a star they are tuned."""

TUNED = "*"

HOLT_WINTERS = "holt_winters"
PERIODS = {"periodic": 120, "quiet_nights": 300}
"""Periods of the loads that have one, told to Holt-Winters and to nobody else."""

FIXED = "best fixed"
FORESIGHT = "foresight"

CHUNK, TUNED_CHUNK = 125, 50
"""Runs of each load stepped at once: few enough for the cache, enough to make an array worth it."""

TRACE_BIN = {"nasa": 5, "twitter": 5, "worldcup": 2}
"""Rows of a trace's file per interval: the traces of one second are read in fives, so that there is
something to serve in an interval, the one of a minute in twos, so that all are as long."""

TRACE_STEPS = 40_000
"""Intervals of each trace: 55 hours of the first two, 55 days of the third."""

TRACE_SEGMENT = 1000
"""Intervals of a trace that make one paired sample."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Some laws on the same part of the runs of several loads, which each steps all at once."""

    laws: tuple[str, ...]
    loads: tuple[str, ...]
    """All synthetic, or all traces."""
    first: int
    runs: int
    steps: int
    seed: int
    objective: Objective


@dataclass(frozen=True, slots=True)
class Costs:
    """What one law cost in each run (or each segment of a trace), as mean cost per interval."""

    law: str
    load: str
    first: int
    cost: FloatArray
    """Shape (samples,)."""
    movement: FloatArray
    """Mean |change| per interval, shape (samples,)."""


def laws() -> list[str]:
    """Names of all that compete, bounds last."""
    tuned = [name + TUNED for name in OURS]
    return [*tuned, *OURS, *PROVISIONERS, HOLT_WINTERS, *LIMITERS, FIXED, FORESIGHT]


def loads() -> list[str]:
    """Names of all loads: synthetic first, then traces."""
    return [*LOADS, *TRACES]


def pieces(
    names: Sequence[str],
    on: Sequence[str],
    *,
    runs: int,
    steps: int,
    seed: int,
    objective: Objective,
) -> list[Piece]:
    """The work in independent parts, dearest first.

    Raises
    ------
    ConfigError
        A law or a load is unknown.
    """
    for kind, given, known in (("law", names, laws()), ("load", on, loads())):
        for name in given:
            if name not in known:
                raise ConfigError(unknown_name(kind, name, known))
    synthetic = tuple(load for load in on if load not in TRACES)
    recorded = tuple(load for load in on if load in TRACES)
    tuned = tuple(name for name in names if name.endswith(TUNED))
    plain = tuple(name for name in names if name not in (*tuned, HOLT_WINTERS))
    work = []
    if recorded:
        together = [*((name,) for name in tuned), plain]
        work += [Piece(group, recorded, 0, 1, TRACE_STEPS, seed, objective) for group in together]
    shares = [(tuned, synthetic, TUNED_CHUNK), (plain, synthetic, CHUNK)]
    if HOLT_WINTERS in names:  # it must be told a period
        shares += [((HOLT_WINTERS,), (load,), CHUNK) for load in synthetic if load in PERIODS]
    work += [
        Piece(group, where, first, min(chunk, runs - first), steps, seed, objective)
        for group, where, chunk in shares
        for first in range(0, runs, chunk)
    ]
    return [piece for piece in work if piece.laws and piece.loads]


def compete(
    work: Sequence[Piece], jobs: int, engine: str = "local", address: str | None = None
) -> Iterator[list[Costs]]:
    """Do the work in `jobs` processes, or on another engine; yields results as they come, the same wherever.

    Raises
    ------
    ConfigError
        The engine is not there.
    """
    return engine_named(engine, jobs, address).run(run_piece, work)


def run_piece(piece: Piece) -> list[Costs]:
    """Let the laws steer their part of the loads, one after the other; what each cost on each."""
    by_load = [_arrivals(piece, load) for load in piece.loads]
    arrivals = np.concatenate(by_load, axis=1)
    edges = np.cumsum([part.shape[1] for part in by_load])[:-1]
    costs = []
    for law in piece.laws:
        parts = np.split(_steered(law, piece, arrivals), edges, axis=1)
        costs += [
            _charge(law, piece, load, part, sizes)
            for load, part, sizes in zip(piece.loads, by_load, parts, strict=True)
        ]
    return costs


def _steered(name: str, piece: Piece, arrivals: FloatArray) -> FloatArray:
    """Sizes that a law sets under `arrivals`, of the same shape."""
    if name == FORESIGHT:
        foresight(arrivals, piece.objective)  # refuses prices for which it is no bound
        return arrivals
    if name == FIXED:
        size, _ = best_fixed(arrivals, piece.objective)
        return np.broadcast_to(size, arrivals.shape)
    law = competitor(name, piece.loads[0], piece.objective)
    return rollout(law, FluidQueue(), arrivals, observe=observer(law)).sizes


def competitor(name: str, load: str, objective: Objective) -> PhysicsModel:
    """A fresh law by its name in `laws()`."""
    if name.rstrip(TUNED) in OURS:
        law = plugins.law(name.rstrip(TUNED), objective)
        return law.tuned(objective) if name.endswith(TUNED) else law
    if name == HOLT_WINTERS:
        return HoltWinters(PERIODS[load])
    return {**PROVISIONERS, **LIMITERS}[name]()


def observer(law: PhysicsModel) -> Callable[[ResourceState], ResourceState]:
    """The estimator that the controller puts before a law."""
    estimator = Estimator(anticipate=law.anticipate, agility=law.agility, jump=law.jump, delay=0)
    return lambda measured: estimator.update(measured, measured.time, measured.commanded)


def _arrivals(piece: Piece, load: str) -> FloatArray:
    if load in TRACES:
        return trace(load, bin=TRACE_BIN[load])[: piece.steps]
    # Each run has a seed of its own, so that it does not depend on how the runs are cut.
    load_of = LOADS[load]
    runs = range(piece.first, piece.first + piece.runs)
    return np.concatenate(
        [load_of.arrivals(1, piece.seed * 1_000_003 + run, piece.steps) for run in runs], axis=1
    )


def _charge(law: str, piece: Piece, load: str, arrivals: FloatArray, sizes: FloatArray) -> Costs:
    backlog = backlog_of_sizes(arrivals, sizes)
    change = np.abs(np.diff(sizes, axis=0, prepend=sizes[:1]))
    price = piece.objective
    cost = price.waiting * backlog + price.size * sizes + price.change * change
    if load in TRACES:
        cost, change = (_segments(part[:, 0]) for part in (cost, change))
    return Costs(law, load, piece.first, cost.mean(axis=0), change.mean(axis=0))


def _segments(values: FloatArray) -> FloatArray:
    count = len(values) // TRACE_SEGMENT
    return values[: count * TRACE_SEGMENT].reshape(count, TRACE_SEGMENT).T
