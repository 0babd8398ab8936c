"""`quantum-control bench laws`: every model and peer on every load, in paired runs."""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from quantum_control.bench.contest import (
    FIXED,
    FORESIGHT,
    OURS,
    TUNED,
    Costs,
    Piece,
    compete,
    laws,
    loads,
    pieces,
)
from quantum_control.bench.standings import SEVEN, Standing, Standings, holm
from quantum_control.core.errors import ConfigError
from quantum_control.core.physics import Objective
from quantum_control.fleet.engine import ADDRESS, ENGINE
from quantum_control.simulation.loads import TRACES, traces_directory
from quantum_control.terminal import AS_JSON, examples, print_json, tracked

RUNS = 1000
STEPS = 2000
"""Intervals per synthetic run: 16 periods of the periodic load."""

WIDE = 200
"""Columns of the table where it is not shown on a terminal."""

TIE = 0.02
"""Costs within 2 % of the best count as as good, when movement is compared."""


@click.command(
    "laws",
    epilog=examples(
        "bench laws",
        "bench laws --laws 'auto*,ewma,hpa' --runs 100 --out results",
        "bench laws --loads bursts --json",
    ),
)
@click.option("--runs", default=RUNS, show_default=True, type=click.IntRange(8), help="Paired runs per load.")
@click.option(
    "--steps", default=STEPS, show_default=True, type=click.IntRange(300), help="Intervals per run."
)
@click.option("--seed", default=1, show_default=True, help="Seed of the arrivals.")
@click.option(
    "--jobs", default=os.cpu_count() or 1, show_default=True, type=click.IntRange(1), help="Processes."
)
@ENGINE
@ADDRESS
@click.option("--laws", "chosen", help="Only these, separated by commas; a star means tuned: auto*,ewma.")
@click.option("--loads", "on", help="Only these, separated by commas.")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="Folder for CSV files and picture."
)
@AS_JSON
def command(
    runs: int,
    steps: int,
    seed: int,
    jobs: int,
    engine: str,
    address: str | None,
    chosen: str | None,
    on: str | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Cost of every law on every load, against perfect foresight and the best fixed size in hindsight.

    Cost per interval = 3 backlog + 1 size + 0.3 |change|, on a fluid queue
    with one interval between a measurement and its effect. All laws see the
    same arrivals; intervals are 95 % bootstrap over runs (over segments of
    1000 intervals on the recorded traces, which are left out where absent).
    """
    names = [name.strip() for name in chosen.split(",")] if chosen else laws()
    names = list(dict.fromkeys([*names, FIXED, FORESIGHT]))
    available = [load for load in loads() if load not in TRACES or traces_directory() is not None]
    which = [load.strip() for load in on.split(",")] if on else available
    missing = sorted(set(which) & set(TRACES) - set(available))
    if missing:
        raise ConfigError(f"no folder of traces for {', '.join(missing)}: set QC_TRACES to it")
    work = pieces(names, which, runs=runs, steps=steps, seed=seed, objective=Objective())
    # Not on a terminal, lines are as long as the table is wide: cells cut short are worth nothing.
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDE)
    begun = time.monotonic()
    standings = Standings(_run(work, jobs, engine, address), seed)
    rows = [row for law in names for load in which if (row := standings.standing(law, load))]
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        _write(out, rows, standings)
        from quantum_control.bench.picture import draw

        draw(out / "laws.svg", standings, names, which)
    if as_json:
        overall = {law: value[0] for law in names if (value := standings.overall(law))}
        print_json({"standings": [asdict(row) for row in rows], "seven": overall, "of": list(SEVEN)})
        return
    console.print(_table(standings, names, which, runs, steps, seed))
    console.print(_claims(standings, names, which))
    if set(TRACES) - set(which):
        console.print("Recorded traces left out; set QC_TRACES to their folder to include them.")
    console.print(
        f"{time.monotonic() - begun:.0f} s in {jobs} processes{' of Ray' if engine == 'ray' else ''}."
    )


def _run(work: Sequence[Piece], jobs: int, engine: str, address: str | None) -> list[Costs]:
    results = compete(work, jobs, engine, address)
    return [each for piece in tracked(results, "pieces of work", len(work)) for each in piece]


def _table(
    standings: Standings, names: Sequence[str], which: Sequence[str], runs: int, steps: int, seed: int
) -> Table:
    title = f"Cost over that of perfect foresight ({runs} runs of {steps} intervals, seed {seed})"
    table = Table(title=title, caption="* tuned online · ± half the 95 % interval · seven: geometric mean")
    table.add_column("law")
    for load in which:
        table.add_column(load, justify="right")
    table.add_column("seven", justify="right")
    for law in _by_rank(standings, names):
        cells = []
        for load in which:
            row = standings.standing(law, load)
            cells.append("" if row is None else f"{row.to_foresight:.3f} ±{(row.high - row.low) / 2:.3f}")
        overall = standings.overall(law)
        cells.append("" if overall is None else f"{overall[0]:.3f} ±{(overall[2] - overall[1]) / 2:.3f}")
        table.add_row(law, *cells, style="bold" if law.rstrip(TUNED) in OURS else None)
    return table


def _by_rank(standings: Standings, names: Sequence[str]) -> list[str]:
    def rank(law: str) -> tuple[float, int]:
        overall = standings.overall(law)
        return (overall[0] if overall else float("inf"), names.index(law))

    return sorted(names, key=rank)


def _claims(standings: Standings, names: Sequence[str], which: Sequence[str]) -> Table:
    """Ours against the best peer of each load, and who moves least among those that cost as little."""
    table = Table(title="Against the best peer of each load (chosen in hindsight), and movement")
    for column in ("load", "best peer", "auto*", "difference", "Holm p", "over best fixed", "least movement"):
        table.add_column(column, justify="left" if column in ("load", "best peer") else "right")
    peers = [name for name in names if name.rstrip(TUNED) not in OURS and name not in (FIXED, FORESIGHT)]
    flagship = "auto" + TUNED
    if flagship not in names or not peers:
        return table
    best = {}
    for load in which:
        rows = [row for peer in peers if (row := standings.standing(peer, load))]
        best[load] = min(rows, key=lambda row: row.to_foresight)
    corrected = holm([standings.p_value(flagship, best[load].law, load) for load in which])
    for load, p_value in zip(which, corrected, strict=True):
        ours = standings.standing(flagship, load)
        assert ours is not None  # noqa: S101 - it took part in every load
        change = ours.to_foresight / best[load].to_foresight - 1.0
        table.add_row(
            load,
            f"{best[load].law} {best[load].to_foresight:.3f}",
            f"{ours.to_foresight:.3f}",
            f"{change:+.1%}",
            f"{p_value:.1g}",
            f"{ours.to_fixed:.3f}",
            _least_movement(standings, names, load),
        )
    return table


def _least_movement(standings: Standings, names: Sequence[str], load: str) -> str:
    rows = [row for law in names if law != FORESIGHT and (row := standings.standing(law, load))]
    best = min(row.to_foresight for row in rows)
    row = min((row for row in rows if row.to_foresight <= best * (1.0 + TIE)), key=lambda row: row.movement)
    return f"{row.law} {row.movement:.3f}"


def _write(out: Path, rows: Sequence[Standing], standings: Standings) -> None:
    with (out / "summary.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["law", "load", "to_foresight", "low", "high", "to_best_fixed", "movement", "samples"]
        )
        writer.writerows(
            [r.law, r.load, r.to_foresight, r.low, r.high, r.to_fixed, r.movement, r.samples] for r in rows
        )
    with (out / "runs.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["law", "load", "run", "cost_per_interval", "movement_per_interval"])
        for law in standings.laws():
            for load in standings.loads():
                cost = standings.cost(law, load)
                if cost is not None:
                    moved = standings.movement(law, load)
                    writer.writerows(
                        [law, load, run, f"{cost[run]:.6g}", f"{moved[run]:.6g}"] for run in range(len(cost))
                    )
