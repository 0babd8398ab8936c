"""`quantum-control tune HISTORY`: the best fixed setting of a law for a recorded load."""

from __future__ import annotations

import os
from contextlib import redirect_stderr
from dataclasses import asdict, dataclass
from io import StringIO
from pathlib import Path
from typing import Any, cast

import click
import numpy as np
from numpy.typing import NDArray

from quantum_control.core.errors import ConfigError
from quantum_control.core.estimation import Estimator
from quantum_control.core.physics import Objective
from quantum_control.core.resource import ResourceState
from quantum_control.fleet.engine import ADDRESS, ENGINE, engine_named
from quantum_control.physics.base import StaffedModel
from quantum_control.physics.coherent import Coherent
from quantum_control.physics.optomechanical import Optomechanical
from quantum_control.physics.parametric import Parametric
from quantum_control.physics.staffing import Staffing
from quantum_control.terminal import AS_JSON, Progress, examples, print_json, tracked

Array = NDArray[np.float64]

LAWS: dict[str, type[StaffedModel]] = {law.name: law for law in (Optomechanical, Parametric, Coherent)}

SEARCHED = {
    "headroom": (-0.5, 3.0),
    "slack": (0.0, 1.5),
    "log10_agility": (-3.0, 0.5),
    "log10_jump": (0.0, 2.0),
}
"""Ranges of the search; a jump of 100 (10 standard deviations) is as good as never."""

TRAINED = 0.7
"""Share of the history that is searched; the rest is held out, and decides what is reported."""

GENERATIONS = 40
POPULATION = 12
"""Candidates per searched parameter."""


@dataclass(frozen=True, slots=True)
class Setting:
    """Parameters of a law, and what they cost."""

    physics_model: str
    headroom: float
    slack: float
    agility: float
    jump: float
    trained: float
    """Cost on the searched part, over that of the default setting. Unit 1."""
    held_out: float
    """The same on the part that the search did not see: the figure to believe."""

    @property
    def code(self) -> str:
        """The law with this setting, to paste."""
        law = LAWS[self.physics_model].__name__
        return (
            f"{law}(Staffing({self.headroom:.3g}, {self.slack:.3g}), "
            f"agility={self.agility:.3g}, jump={self.jump:.3g})"
        )


def tune(flow: Array, law: str, objective: Objective, seed: int = 0) -> Setting:
    """Search headroom, slack, agility and jump of `law` on the first part of `flow` (as size per interval).

    Differential evolution (Storn & Price 1997, scipy's), all candidates of a
    generation replayed at once through the law's own code.

    Raises
    ------
    ConfigError
        The `tune` extra is missing.
    """
    try:
        from scipy.optimize import differential_evolution
    except ImportError as error:
        raise ConfigError("tuning needs scipy: pip install 'quantum-control[tune]'") from error
    split = int(TRAINED * len(flow))
    seen, unseen = flow[:split], flow[split:]

    with Progress("generations of the search", GENERATIONS + 1) as progress:

        def cost(candidates: Any, /, *_: Any) -> Any:
            costs = replay(LAWS[law], candidates.reshape(len(SEARCHED), -1), seen, objective)
            progress.advance()
            return costs

        found = differential_evolution(
            cost,
            cast(Any, list(SEARCHED.values())),
            vectorized=True,
            updating="deferred",
            polish=False,
            popsize=POPULATION,
            maxiter=GENERATIONS,
            rng=seed,
        )
    usual = LAWS[law].create(objective)
    default = (
        usual.staffing.headroom,
        usual.staffing.slack,
        np.log10(usual.agility),
        np.log10(usual.jump),
    )
    both = np.column_stack([found.x, default])
    trained, held_out = (replay(LAWS[law], both, part, objective) for part in (seen, unseen))
    headroom, slack, agility, jump = (float(value) for value in found.x)
    return Setting(
        law,
        headroom,
        slack,
        10.0**agility,
        10.0**jump,
        float(trained[0] / trained[1]),
        float(held_out[0] / held_out[1]),
    )


def replay(law: type[StaffedModel], candidates: Array, flow: Array, objective: Objective) -> Array:
    """Mean cost per interval under `flow` of each candidate, a column of the parameters in SEARCHED."""
    headroom, slack, agility, jump = candidates
    model = law(Staffing(cast(float, headroom), cast(float, slack)))
    estimator = Estimator(
        anticipate=model.anticipate,
        agility=cast(float, 10.0**agility),
        jump=cast(float, 10.0**jump),
        delay=0,
    )
    size = np.full(candidates.shape[1], max(float(flow[0]), 1.0))
    backlog = np.zeros_like(size)
    total = np.zeros_like(size)
    for step, new in enumerate(flow):
        demand = backlog + new
        backlog = np.maximum(demand - size, 0.0)
        measured = ResourceState(cast(float, demand / size - 1.0), size=cast(float, size))
        state = estimator.update(measured, float(step), cast(float, size))
        wanted = np.maximum(size * np.exp(model.calculate_force(state)), 1.0)
        total += (
            objective.waiting * backlog + objective.size * size + objective.change * np.abs(wanted - size)
        )
        size = wanted
    return total / len(flow)


@dataclass(frozen=True, slots=True)
class Search:
    """One history to be tuned for, as a piece of work."""

    number: int
    flow: Array
    law: str
    objective: Objective
    seed: int


def search(piece: Search) -> tuple[int, Setting]:
    """Tune for one of several histories, without a word on how far it is."""
    with redirect_stderr(StringIO()):
        return piece.number, tune(piece.flow, piece.law, piece.objective, piece.seed)


@click.command(
    "tune",
    epilog=examples(
        "tune history.csv",
        "tune history.csv --model coherent --waiting 10 --json",
        "tune hosts/*.csv --engine ray --address auto",
    ),
)
@click.argument("history", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--model", type=click.Choice(sorted(LAWS)), default="optomechanical", show_default=True)
@click.option("--waiting", default=3.0, show_default=True, help="Price of one unit of backlog per interval.")
@click.option("--size", default=1.0, show_default=True, help="Price of one unit of size per interval.")
@click.option("--change", default=0.3, show_default=True, help="Price of one unit of change.")
@click.option("--seed", default=0, show_default=True, help="Of the search.")
@click.option(
    "--jobs", default=os.cpu_count() or 1, show_default=True, type=click.IntRange(1), help="Processes."
)
@ENGINE
@ADDRESS
@AS_JSON
def command(
    history: tuple[Path, ...],
    model: str,
    waiting: float,
    size: float,
    change: float,
    seed: int,
    jobs: int,
    engine: str,
    address: str | None,
    as_json: bool,
) -> None:
    """Find the best fixed setting of a law for a recorded load, or for each of several.

    HISTORY is a CSV file, one interval a line: a column flow (or arrivals, or
    count), or the columns demand and size. The last 30 % is held out: believe
    that figure, and prefer the default where the gain there is small.
    """
    from quantum_control.tuning.history import read_flow

    flows = [read_flow(each) for each in history]
    objective = Objective(waiting, size, change)
    where = engine_named(engine, jobs, address)
    if len(flows) == 1 and engine == "local":
        found = [tune(flows[0], model, objective, seed)]
    else:
        work = [Search(number, flow, model, objective, seed) for number, flow in enumerate(flows)]
        results = dict(tracked(where.run(search, work), "histories", len(work)))
        found = [results[number] for number in range(len(work))]
    if as_json:
        named = [{"history": str(path)} | asdict(each) for path, each in zip(history, found, strict=True)]
        print_json(named if len(named) > 1 else asdict(found[0]))
        return
    for path, flow, each in zip(history, flows, found, strict=True):
        if len(found) > 1:
            click.echo(f"{path}:")
        _print(each, len(flow))


def _print(found: Setting, intervals: int) -> None:
    click.echo(f"{found.code}  # without auto_tune=True, which would learn its own")
    click.echo(f"cost over that of the default setting: {found.trained:.3f} on the {TRAINED:.0%} searched,")
    click.echo(
        f"{found.held_out:.3f} on the rest, which the search has not seen ({intervals} intervals in all)"
    )
    if found.held_out >= 1.0:
        click.echo("The default is as good: keep it, or let auto_tune=True learn as it goes.")
