"""`quantum-control top`: what a daemon does, in a terminal."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from math import isfinite, isnan
from pathlib import Path

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from quantum_control.core.errors import ConfigError, LifecycleError
from quantum_control.daemon.control import ask
from quantum_control.daemon.ctl import SOCKET
from quantum_control.daemon.standing import TROUBLE, Status, ordered, troubled, why
from quantum_control.terminal import examples

NONE = "-"
"""Where there is no figure."""

NUMBERS = ("size", "wanted", "demand", "force")
"""Figures of the table; the lines have more."""

MORE = ("original", "changes", "failures")

PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))

LONGEST = 99_999
"""Sizes beyond are written with a prefix where there is little room."""

LONGEST_WAIT = 86_400.0
"""Seconds from one to the next: a day."""

STYLES = dict.fromkeys(TROUBLE, "bold red") | {"paused": "yellow"}
"""Of the states that come first."""

FRAME = 5
"""Lines of a picture that are not resources: title, head, rule, what was left out, and the last one."""


@click.command("top", epilog=examples("top", "top --json | jq '.[] | select(.state == \"failed\")'"))
@click.option(
    "--socket",
    type=click.Path(path_type=Path),
    default=SOCKET,
    show_default=True,
    envvar="QUANTUM_CONTROL_SOCKET",
    help="Where the daemon answers: control.sock in its runtime_directory.",
)
@click.option(
    "--every",
    type=click.FloatRange(0.1, LONGEST_WAIT),
    default=2.0,
    show_default=True,
    help="Seconds from one to the next.",
)
@click.option(
    "--count",
    type=click.IntRange(0),
    help="How many times; 0 is until Ctrl-C. By default that in a terminal, and once elsewhere.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array a time, in a line.")
def command(socket: Path, every: float, count: int | None, as_json: bool) -> None:
    """Watch the resources of the running daemon: size, demand, force, and why."""
    if isnan(every):  # which is in every range
        raise ConfigError("--every nan: give a number of seconds")
    console = Console()
    live = console.is_terminal and not as_json
    times = count if count is not None else 0 if live else 1
    found = ordered(ask(socket, do="status"))  # whoever asks where nobody answers is told at once
    try:
        if live:
            _watch(console, socket, found, every, times)
            return
        done = 1
        _print(found, as_json)
        while done != times:
            time.sleep(every)
            _print(ordered(ask(socket, do="status")), as_json)
            done += 1
    except KeyboardInterrupt:
        return  # the usual way to end it


def table(found: Sequence[Status], note: str = "", rows: int | None = None) -> Group:
    """Table of the resources, of which at most `rows` are shown; `note` stands in its title."""
    shown = found if rows is None else found[: max(rows, 1)]
    made = Table(expand=True, box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False, show_edge=False)
    made.add_column("resource", no_wrap=True)
    for name in ("mode", "state"):
        made.add_column(name, no_wrap=True)
    for name in NUMBERS:
        made.add_column(name, justify="right", no_wrap=True)
    made.add_column("why", ratio=1, min_width=12, no_wrap=True)
    for each in shown:
        style = STYLES.get(each["state"], "bold red" if troubled(each) else "")
        made.add_row(
            Text(each["resource"]),
            Text(each["mode"]),
            Text(each["state"], style=style),
            *(Text(_number(each, name, short=True)) for name in NUMBERS),
            Text(why(each)),
        )
    looked_for = sum(map(troubled, found))
    title = f"{len(found)} resources, {looked_for} of them in trouble or paused"
    parts: list[Text | Table] = [Text(f"{title}  {note}".rstrip()), made]
    if len(shown) < len(found):
        parts.append(Text(f"and {len(found) - len(shown)} more"))
    return Group(*parts)


def lines(found: Sequence[Status]) -> list[str]:
    """The same in plain lines, which nothing is left out of."""
    rows = [("resource", "mode", "state", *NUMBERS, *MORE, "why")]
    rows += [
        (
            each["resource"],
            each["mode"],
            each["state"],
            *(_number(each, name) for name in (*NUMBERS, *MORE)),
            why(each),
        )
        for each in found
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    left = {0, 1, 2, len(widths) - 1}
    return [
        "  ".join(
            cell.ljust(width) if index in left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _watch(console: Console, socket: Path, found: list[Status], every: float, times: int) -> None:
    """Show it anew again and again, also over restarts of the daemon."""
    note, done = "", 1
    with Live(table(found, note, _room(console)), console=console, auto_refresh=False, screen=True) as live:
        while done != times:
            time.sleep(every)
            try:
                found, note = ordered(ask(socket, do="status")), ""
            except (LifecycleError, ConfigError) as error:
                note = f"as it was; now: {error}"
            live.update(table(found, note, _room(console)), refresh=True)
            done += 1


def _room(console: Console) -> int:
    return console.height - FRAME


def _print(found: Sequence[Status], as_json: bool) -> None:
    click.echo(json.dumps(found) if as_json else "\n".join(lines(found)))


def _number(each: Status, name: str, *, short: bool = False) -> str:
    value = each.get(name)
    if not isinstance(value, int | float) or not isfinite(value):
        return NONE
    if name == "force":
        return f"{value:+.3f}"
    if short and abs(value) > LONGEST:
        unit, prefix = next(each for each in PREFIXES if abs(value) >= each[0])
        return f"{value / unit:.4g}{prefix}"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
