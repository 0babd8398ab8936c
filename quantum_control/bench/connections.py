"""`quantum-control bench connections`: pools before a real PostgreSQL, in pairs."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import click
import numpy as np

from quantum_control.bench.pool_results import Results, Run, place, write
from quantum_control.bench.spread import MARKS
from quantum_control.core.errors import ConfigError
from quantum_control.terminal import AS_JSON, examples, print_json

try:
    import psycopg

    from quantum_control.bench.database_servers import Postgres
    from quantum_control.bench.pool_arms import (
        DEFAULTS,
        GRID,
        OURS,
        STEERED,
        TOLD,
        Arm,
        named,
        named_sizes,
        start,
    )
    from quantum_control.bench.pool_load import (
        AHEAD,
        CLIENTS,
        PHASES,
        SCHEMA,
        Phase,
        capacity,
        recording,
        serve,
        timetable,
    )
except ImportError as error:
    raise ConfigError(
        f"{error.name or 'psycopg'} is missing; install it with: pip install 'quantum-control[postgres]'"
    ) from error

CANDIDATES = 2
"""Fixed sizes that run in every pair of a phase: the best when it was calibrated."""

CLOSE = 0.9
"""Share of the best size's throughput below which a size need not run to be known as worse."""

CALIBRATION_SECONDS = 1.5
CALIBRATION_ROUNDS = 2
"""For each size of the grid in each phase."""

SETTINGS: dict[str, str | int] = {"max_connections": CLIENTS + 40, "shared_buffers": "128MB", "jit": "off"}


@click.command(
    "connections",
    epilog=examples(
        "bench connections --out results",
        "bench connections --pairs 5 --backend pgbouncer --out results --json",
    ),
)
@click.option("--pairs", default=30, show_default=True, help="Runs of every arm on the same arrivals.")
@click.option("--phase-seconds", default=20.0, show_default=True, help="Length of each of the two phases.")
@click.option(
    "--whole",
    default=2,
    show_default=True,
    help="Pairs in which every arm runs. In the others ours and the best fixed sizes do.",
)
@click.option(
    "--backend",
    type=click.Choice(list(DEFAULTS)),
    default="psycopg_pool",
    show_default=True,
    help="Which pool.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder for the raw data. A run that was interrupted goes on where it was.",
)
@click.option("--seed", default=1, show_default=True, help="Of the arrivals and of the order of the arms.")
@AS_JSON
def command(
    pairs: int, phase_seconds: float, whole: int, backend: str, out: Path, seed: int, as_json: bool
) -> None:
    """Compare the control with fixed sizes and its peers, on PostgreSQL.

    Each pair runs arms, in an order drawn anew, through the same arrivals
    in two phases, also in an order drawn anew: updates of hot rows, where few
    connections are best, and waits inside transactions, where many are. The
    best fixed size of each phase is found in hindsight. Needs PostgreSQL (and
    PgBouncer) installed: scripts/install-servers.
    """
    if pairs < 1 or not phase_seconds >= 2.0 or whole < 1:
        raise ConfigError("--pairs and --whole need 1 or more, --phase-seconds 2 or more")
    out.mkdir(parents=True, exist_ok=True)
    with Postgres(SETTINGS) as server:
        _execute(server, SCHEMA)
        _execute(server, "VACUUM ANALYZE")
        calibration = _calibration(out / "calibration.json", server, backend, phase_seconds, seed)
        best = {phase: [named(size, backend) for size in of] for phase, of in calibration.candidates.items()}
        fixed_arms = list(dict.fromkeys([*named_sizes(backend), *chain.from_iterable(best.values())]))
        arms = [*fixed_arms, *STEERED, *TOLD]
        for pair in range(pairs):
            rng = np.random.default_rng((seed, pair))
            for name in rng.permutation(arms).tolist():
                wanted = [
                    phase for phase in PHASES if pair < whole or name == OURS or name in best[phase.name]
                ]
                if not wanted or place(out, pair, name).exists():
                    continue
                _execute(server, "VACUUM hot")
                with start(name, backend, server) as arm:
                    runs = run_arm(arm, wanted, calibration, phase_seconds, (seed, pair))
                write(place(out, pair, name), runs)
            click.echo(f"pair {pair + 1} of {pairs} is there", err=True)
    results = Results(out, arms, pairs, always={phase: [OURS, *of] for phase, of in best.items()})
    if as_json:
        print_json(
            {"backend": backend, "arrivals_per_second": calibration.rates, **results.as_json(fixed_arms)}
        )
        return
    rounded = ", ".join(f"{phase} {rate:.0f}" for phase, rate in calibration.rates.items())
    click.echo(
        f"{backend}, {len(results.pairs)} pairs, phases of {phase_seconds:g} s, {os.cpu_count()} cores,"
        f" arrivals per second: {rounded}. Figures over the best fixed size's: median over the pairs of an"
        f" arm {MARKS}.\n"
    )
    click.echo(results.table(fixed_arms))


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was measured before the pairs, by phase."""

    rates: dict[str, float]
    """Arrivals per second."""
    candidates: dict[str, list[int]]
    """Fixed sizes that run in every pair."""
    best: dict[str, int]
    """Size of the highest throughput."""


def run_arm(
    arm: Arm, phases: Sequence[Phase], calibration: Calibration, seconds: float, seed: tuple[int, int]
) -> list[Run]:
    """Run one arm through the phases of one pair, in the order that the seed gives them."""
    order = np.random.default_rng((*seed, 0)).permutation(len(PHASES)).tolist()
    runs = []
    for index in order:
        phase = PHASES[index]
        if phase not in phases:
            continue
        table = timetable(
            phase, calibration.rates[phase.name], seconds, np.random.default_rng((*seed, 1, index))
        )
        account = arm.account
        cpu, steps, sizes = account.cpu_seconds, account.steps, account.size_sum
        if arm.tell is None:
            latency, told = serve(arm.work, table), arm.size
        else:
            told = calibration.best[phase.name]
            with ThreadPoolExecutor(1) as teller:
                telling = teller.submit(_tell, arm, told)
                latency = serve(arm.work, table)
            telling.result()
        steps = account.steps - steps
        runs.append(
            Run(
                phase=phase.name,
                seconds=table.seconds,
                due=table.due.astype(np.float32),
                latency=latency,
                size=(account.size_sum - sizes) / steps if steps else told,
                control_cpu=account.cpu_seconds - cpu,
            )
        )
    return runs


def _tell(arm: Arm, size: int) -> None:
    if arm.late > 0.0:
        time.sleep(AHEAD + arm.late)
    if arm.tell is not None:
        arm.tell(size)


def _calibration(path: Path, server: Postgres, backend: str, seconds: float, seed: int) -> Calibration:
    """Arrivals per second of each phase and its best sizes: measured once, and kept with the data.

    Raises
    ------
    ConfigError
        The data in the folder are of other settings.
    """
    settings = {
        "backend": backend,
        "phase_seconds": seconds,
        "seed": seed,
        "cores": os.cpu_count(),
        "trace": recording(),
    }
    if path.exists():
        kept = json.loads(path.read_text())
        if kept["settings"] != settings:
            raise ConfigError(
                f"{path.parent} has the data of {kept['settings']}, not of {settings}; give another --out"
            )
        return _calibrated(kept)
    sizes = sorted({*GRID, *named_sizes(backend).values()})
    most: dict[str, dict[int, float]] = {phase.name: dict.fromkeys(sizes, 0.0) for phase in PHASES}
    for _ in range(CALIBRATION_ROUNDS):
        for size in sizes:
            with start(named(size, backend), backend, server) as arm:
                for phase in PHASES:
                    served = capacity(arm.work, phase, CALIBRATION_SECONDS)
                    most[phase.name][size] += served / CALIBRATION_ROUNDS
            click.echo(f"calibrating: {size} connections", err=True)
    rates = {phase.name: phase.utilisation * max(most[phase.name].values()) for phase in PHASES}
    candidates = {phase: _candidates(found) for phase, found in most.items()}
    kept = {"settings": settings, "rates": rates, "candidates": candidates, "capacity": most}
    path.write_text(json.dumps(kept, indent=1) + "\n")
    return _calibrated(json.loads(path.read_text()))


def _candidates(found: dict[int, float]) -> list[int]:
    best = sorted(found, key=lambda size: -found[size])[:CANDIDATES]
    return [size for size in best if found[size] >= CLOSE * found[best[0]]]


def _calibrated(kept: dict[str, Any]) -> Calibration:
    most = kept["capacity"]
    best = {phase: int(max(found, key=found.get)) for phase, found in most.items()}
    return Calibration(kept["rates"], kept["candidates"], best)


def _execute(server: Postgres, script: str) -> None:
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        connection.execute(script)
