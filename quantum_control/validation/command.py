"""`quantum-control validate`: a randomised switchback experiment on the real part of a resource."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from quantum_control.core.errors import ConfigError
from quantum_control.terminal import AS_JSON, EXIT_ENDED_EARLY, EXIT_INTERRUPTED, examples, print_json
from quantum_control.validation.bed import BEDS, open_bed
from quantum_control.validation.experiment import Experiment, Mode
from quantum_control.validation.experiment import mode as mode_of
from quantum_control.validation.own_plan import Own, as_text, merged, prepare
from quantum_control.validation.plan import Plan, committed, plan_file, read_plan
from quantum_control.validation.records import BLOCKS, SETTINGS, has_pairs

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
        "validate --config config.toml --resource web --out results",
    ),
)
@click.argument("resource", type=click.Choice(list(BEDS)), required=False)
@click.option(
    "--config",
    "config",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Experiment on your own resource, as the daemon would steer it by this configuration.",
)
@click.option("--resource", "name", help="Which resource of the configuration, if it has several.")
@click.option(
    "--block",
    type=click.FloatRange(0.0, min_open=True),
    help="Seconds of a block of your own resource that count; by default 30 of its intervals.",
)
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
    resource: str | None,
    config: Path | None,
    name: str | None,
    block: float | None,
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

    With --config the resource is your own and so is its load: in turns it is held
    at its original size and steered, until it is known which is better, or until
    steering does harm. The original is put back in the end, whatever happens.
    """
    if aa and overhead:
        raise ConfigError("--aa and --overhead are two experiments; run one after the other")
    if (resource is None) == (config is None):
        raise ConfigError(
            f"give either --config, for your own resource, or one of {', '.join(BEDS)}, and not both"
        )
    if resource is None or config is not None:
        if overhead or arms:
            raise ConfigError("--overhead and --arm are for the packaged experiments, not for --config")
        _own(prepare(Path(str(config)), name, out, pairs=pairs, block=block, aa=aa, plan=own), out, as_json)
        return
    if name is not None or block is not None:
        raise ConfigError("--resource and --block are for your own resource: give its --config too")
    text = committed() if own is None else plan_file(own)
    plan = read_plan(text, "the plan" if own is None else str(own))
    chosen = _chosen(mode_of(plan.of(resource), aa=aa, overhead=overhead), arms)
    folder = out / (resource if chosen.name == "run" else f"{resource}-{chosen.name}")
    with open_bed(resource, plan.of(resource).bed) as bed:
        experiment = Experiment(plan, resource, chosen, bed, folder)
        experiment.run(pairs or plan.pairs, lambda line: click.echo(line, err=True))
    (folder / PLAN).write_text(text, encoding="utf-8")
    shown = f"quantum-control validate RESOURCE --out {out.name}"
    _show(out, folder, write_report(out, plan, text, shown), as_json)


def _own(own: Own, out: Path, as_json: bool) -> None:
    """Run the experiment on a resource of one's own, and report."""
    from quantum_control.validation.own import run

    code = run(own)
    if code == EXIT_INTERRUPTED:
        raise KeyboardInterrupt
    if code in (0, EXIT_ENDED_EARLY) and (own.folder / BLOCKS).exists():
        plan = merged(out, own)
        shown = f"quantum-control validate --config CONFIG --resource {own.name} --out {out.name}"
        _show(out, own.folder, write_report(out, plan, as_text(plan), shown), as_json)
    if code:
        sys.exit(code)


def _show(out: Path, folder: Path, analyses: list[Analysis], as_json: bool) -> None:
    from quantum_control.validation.analysis import as_json as results

    if as_json:
        print_json([results(each) for each in analyses if each.folder == folder])
        return
    click.echo((out / TABLE).read_text())
    click.echo(f"report: {out / REPORT}", err=True)


def write_report(out: Path, plan: Plan, text: str, shown: str) -> list[Analysis]:
    """Analyse all experiments of a plan in a folder, and write the report; those of other plans are named."""
    from quantum_control.validation.analysis import analyse, correct, planned_by
    from quantum_control.validation.report import markdown, page, unlike

    folders = [
        path.parent
        for path in sorted(out.glob(f"*/{SETTINGS}"))
        if json.loads(path.read_text())["resource"] in plan.resources and has_pairs(path.parent)
    ]
    left_out = [folder.name for folder in folders if not planned_by(folder, plan)]
    if left_out:
        click.echo(unlike(left_out), err=True)
    analyses = correct([analyse(each, plan) for each in folders if each.name not in left_out], plan)
    (out / TABLE).write_text(markdown(analyses, plan, shown, left_out), encoding="utf-8")
    (out / REPORT).write_text(page(analyses, plan, text, shown, left_out), encoding="utf-8")
    return analyses


def _chosen(mode: Mode, arms: tuple[str, ...]) -> Mode:
    """Leave out the arms that were not asked for."""
    if not arms:
        return mode
    unknown = [arm for arm in arms if arm not in mode.others]
    if unknown:
        raise ConfigError(f"--arm {unknown[0]}: give some of {', '.join(sorted(set(mode.others))) or 'none'}")
    return replace(mode, others=list(dict.fromkeys(arms)))
