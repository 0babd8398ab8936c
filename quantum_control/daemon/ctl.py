"""`quantum-control ctl`: asking the daemon, and telling it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from quantum_control.config import Config, Mode
from quantum_control.daemon.control import NAME, ask
from quantum_control.terminal import AS_JSON, examples, print_json

SOCKET = Config().runtime_directory / NAME


@click.group(
    "ctl",
    epilog=examples(
        "ctl status", "ctl explain web", "ctl mode web active", "ctl --json status | jq '.[].size'"
    ),
)
@click.option(
    "--socket",
    type=click.Path(path_type=Path),
    default=SOCKET,
    show_default=True,
    envvar="QUANTUM_CONTROL_SOCKET",
    help="Where the daemon answers: control.sock in its runtime_directory.",
)
@AS_JSON
@click.pass_context
def command(context: click.Context, socket: Path, as_json: bool) -> None:
    """Ask the running daemon how it is, or tell it what to do."""
    context.obj = (socket, as_json)


RESOURCE = click.argument("resource")


@command.command("status", epilog=examples("ctl status", "ctl --json status web"))
@click.argument("resource", required=False)
@click.pass_obj
def status(where: tuple[Path, bool], resource: str | None) -> None:
    """Every resource in a line, or one."""
    found = ask(where[0], do="status", resource=resource)
    if where[1]:
        print_json(found)
        return
    lines = found if isinstance(found, list) else [found]
    width = max([len("resource"), *(len(each["resource"]) for each in lines)])
    click.echo(
        f"{'resource':{width}}  {'mode':8}  {'state':10}  {'size':>8}  {'original':>8}  {'changes':>8}"
    )
    for each in lines:
        size, original = (("-" if each[key] is None else each[key]) for key in ("size", "original"))
        rest = each.get("trouble") or each["paused"]
        click.echo(
            f"{each['resource']:{width}}  {each['mode']:8}  {each['state']:10}  {size:>8}  {original:>8}"
            f"  {each['changes']:>8}{f'  {rest}' if rest else ''}"
        )


@command.command("explain", epilog=examples("ctl explain web"))
@RESOURCE
@click.pass_obj
def explain(where: tuple[Path, bool], resource: str) -> None:
    """What was seen, wanted and allowed of late, and why."""
    found = ask(where[0], do="explain", resource=resource)
    if where[1]:
        print_json(found)
        return
    for key, value in found.items():
        if key == "decisions":
            click.echo("decisions, the latest last:")
            for line in value:
                click.echo(f"  {line}")
        elif key == "metrics":
            click.echo("metrics: " + ", ".join(f"{name} {figure}" for name, figure in value.items()))
        elif value not in (None, ""):
            click.echo(f"{key.replace('_', ' ')}: {value}")


@command.command("pause", epilog=examples("ctl pause web"))
@RESOURCE
@click.pass_obj
def pause(where: tuple[Path, bool], resource: str) -> None:
    """Keep the size as it is until `resume`."""
    _done(where, ask(where[0], do="pause", resource=resource))


@command.command("resume", epilog=examples("ctl resume web"))
@RESOURCE
@click.pass_obj
def resume(where: tuple[Path, bool], resource: str) -> None:
    """Go on after a pause, a roll-back or a size set by hand."""
    _done(where, ask(where[0], do="resume", resource=resource))


@command.command("mode", epilog=examples("ctl mode web active"))
@RESOURCE
@click.argument("mode", type=click.Choice([mode.value for mode in Mode]))
@click.pass_obj
def mode(where: tuple[Path, bool], resource: str, mode: str) -> None:
    """Observe, shadow or active, until the daemon is started anew."""
    _done(where, ask(where[0], do="mode", resource=resource, mode=mode))


@command.command("rollback", epilog=examples("ctl rollback web"))
@RESOURCE
@click.pass_obj
def rollback(where: tuple[Path, bool], resource: str) -> None:
    """Put the original size back and keep it until `resume`."""
    _done(where, ask(where[0], do="rollback", resource=resource))


@command.command("reload", epilog=examples("ctl reload"))
@click.pass_obj
def reload(where: tuple[Path, bool]) -> None:
    """Read the configuration anew, as SIGHUP does."""
    _done(where, ask(where[0], do="reload"))


def _done(where: tuple[Path, bool], answer: Any) -> None:
    print_json(answer) if where[1] else click.echo(answer)
