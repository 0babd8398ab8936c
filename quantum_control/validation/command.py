"""`quantum-control validate`: a randomised switchback experiment on the real part of a resource."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from quantum_control.core.errors import ConfigError
from quantum_control.terminal import AS_JSON, examples, print_json
from quantum_control.validation.bed import BEDS, open_bed
from quantum_control.validation.experiment import Experiment, Mode
from quantum_control.validation.experiment import mode as mode_of
from quantum_control.validation.plan import Plan, committed, plan_file, read_plan
from quantum_control.validation.records import SETTINGS

if TYPE_CHECKING:  # scipy and statsmodels are loaded when there is something to analyse
    from quantum_control.validation.analysis import Analysis

PLAN = "plan.toml"

REPORT, TABLE = "report.html", "report.md"


@click.command(
    "validate",
    epilog=examples(
        "validate threads --out results",
        "validate threads --pairs 20 --out results --json",
        "validate threads --aa --out results",
    ),
)
@click.argument("resource", type=click.Choice(list(BEDS)))
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder for raw data and report. A run that was interrupted goes on where it was.",
)
@click.option(
    "--pairs", type=click.IntRange(1), help="Pairs to have in the end; by default those of the plan."
)
@click.option(
    "--arm", "arms", multiple=True, help="Only these arms beside default and auto; may be repeated."
)
@click.option("--aa", is_flag=True, help="Compare the default with itself: nothing should be found.")
@click.option("--overhead", is_flag=True, help="Compare with a controller that measures and changes nothing.")
@click.option(
    "--plan",
    "own",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A plan of your own, instead of the packaged one.",
)
@AS_JSON
def command(
    resource: str,
    out: Path,
    pairs: int | None,
    arms: tuple[str, ...],
    aa: bool,
    overhead: bool,
    own: Path | None,
    as_json: bool,
) -> None:
    """Prove, or disprove, that steering RESOURCE is better than leaving it alone.

    Blocks of load are played to every arm in an order drawn anew, each pair with
    the same arrivals. Metrics, tests and exclusions are those of a plan that was
    written before, and is kept with the data.
    """
    from quantum_control.validation.analysis import as_json as results

    if aa and overhead:
        raise ConfigError("--aa and --overhead are two experiments; run one after the other")
    text = committed() if own is None else plan_file(own)
    plan = read_plan(text, "the plan" if own is None else str(own))
    chosen = _chosen(mode_of(plan.of(resource), aa=aa, overhead=overhead), arms)
    folder = out / (resource if chosen.name == "run" else f"{resource}-{chosen.name}")
    with open_bed(resource, plan.of(resource).bed) as bed:
        experiment = Experiment(plan, resource, chosen, bed, folder)
        experiment.run(pairs or plan.pairs, lambda line: click.echo(line, err=True))
    (folder / PLAN).write_text(text, encoding="utf-8")
    analyses = write_report(out, plan, text)
    if as_json:
        print_json([results(each) for each in analyses if each.folder == folder])
        return
    click.echo((out / TABLE).read_text())
    click.echo(f"report: {out / REPORT}", err=True)


def write_report(out: Path, plan: Plan, text: str) -> list[Analysis]:
    """Analyse all experiments in a folder, and write the report."""
    from quantum_control.validation.analysis import analyse, correct
    from quantum_control.validation.report import markdown, page

    folders = sorted(path.parent for path in out.glob(f"*/{SETTINGS}"))
    analyses = correct([analyse(folder, plan) for folder in folders], plan)
    shown = f"quantum-control validate RESOURCE --out {out.name}"
    (out / TABLE).write_text(markdown(analyses, plan, shown), encoding="utf-8")
    (out / REPORT).write_text(page(analyses, plan, text, shown), encoding="utf-8")
    return analyses


def _chosen(mode: Mode, arms: tuple[str, ...]) -> Mode:
    """Leave out the arms that were not asked for."""
    if not arms:
        return mode
    unknown = [arm for arm in arms if arm not in mode.others]
    if unknown:
        raise ConfigError(f"--arm {unknown[0]}: give some of {', '.join(sorted(set(mode.others))) or 'none'}")
    return replace(mode, others=list(dict.fromkeys(arms)))
