"""`quantum-control validate`: a randomised switchback experiment on the real part of a resource."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from quantum_control.core.errors import ConfigError
from quantum_control.terminal import AS_JSON, EXIT_ENDED_EARLY, EXIT_INTERRUPTED, examples, print_json
from quantum_control.validation.bed import BEDS, open_bed
from quantum_control.validation.experiment import Experiment, Mode
from quantum_control.validation.experiment import mode as mode_of
from quantum_control.validation.machine import check_libraries
from quantum_control.validation.own_plan import Own, as_text, merged, prepare
from quantum_control.validation.plan import Plan, ResourcePlan, committed, plan_file, read_plan
from quantum_control.validation.records import BLOCKS, experiments
from quantum_control.validation.tables import write

if TYPE_CHECKING:  # scipy and statsmodels are loaded when there is something to analyse
    from quantum_control.validation.analysis import Analysis

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
        check_libraries()
        _own(prepare(Path(str(config)), name, out, pairs=pairs, block=block, aa=aa, plan=own), out, as_json)
        return
    if name is not None or block is not None:
        raise ConfigError("--resource and --block are for your own resource: give its --config too")
    text = committed() if own is None else plan_file(own)
    plan = read_plan(text, "the plan" if own is None else str(own))
    chosen = _chosen(plan.of(resource), mode_of(plan.of(resource), aa=aa, overhead=overhead), arms)
    folder = out / (resource if chosen.name == "run" else f"{resource}-{chosen.name}")
    check_libraries()
    with open_bed(resource, plan.of(resource)) as bed:
        experiment = Experiment(plan, resource, chosen, bed, folder, text=text)
        experiment.run(pairs or plan.pairs, lambda line: click.echo(line, err=True))
    shown = _as_given()
    _show(out, folder, write_report(out, plan, text, shown), as_json)


def _own(own: Own, out: Path, as_json: bool) -> None:
    """Run the experiment on a resource of one's own, and report."""
    from quantum_control.validation.own import run

    code = run(own)
    if code == EXIT_INTERRUPTED:
        raise KeyboardInterrupt
    if code in (0, EXIT_ENDED_EARLY) and (own.folder / BLOCKS).exists():
        plan = merged(out, own)
        shown = _as_given()
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

    folders = [folder for folder, settings in experiments(out) if settings["resource"] in plan.resources]
    left_out = [folder.name for folder in folders if not planned_by(folder, plan)]
    if left_out:
        click.echo(unlike(left_out), err=True)
    analyses = correct([analyse(each, plan) for each in folders if each.name not in left_out], plan)
    write(out / TABLE, markdown(analyses, plan, shown, left_out))
    write(out / REPORT, page(analyses, plan, text, shown, left_out))
    return analyses


def _chosen(of: ResourcePlan, mode: Mode, arms: tuple[str, ...]) -> Mode:
    """Have the arms that were asked for, of those that the plan describes, beside the base and ours."""
    if not arms:
        return mode
    known = sorted(set(of.arms) - {mode.base, mode.ours}) if mode.name == "run" else []
    for arm in arms:
        if arm not in known:
            raise ConfigError(f"--arm {arm}: give some of {', '.join(known) or 'none'}")
    return replace(mode, others=list(dict.fromkeys(arms)))


def _as_given() -> str:
    """Say the command as it was given, with names of files for their paths."""
    context = click.get_current_context()
    said = ["quantum-control", "validate"]
    for parameter in context.command.params:
        value = context.params.get(str(parameter.name))
        if context.get_parameter_source(str(parameter.name)) is not ParameterSource.COMMANDLINE:
            continue
        for each in value if isinstance(value, tuple) else (value,):
            if isinstance(parameter, click.Option):
                said.append(parameter.opts[0])
            if not isinstance(each, bool):
                said.append(each.resolve().name if isinstance(each, Path) else str(each))
    return shlex.join(said)
