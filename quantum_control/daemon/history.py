"""`quantum-control log`, `report` and `replay`: what the audit log tells."""

from __future__ import annotations

import json
import re
import time
from dataclasses import asdict
from datetime import datetime
from itertools import groupby
from pathlib import Path

import click

from quantum_control.config_file import read_config
from quantum_control.core.errors import ConfigError, unknown_name
from quantum_control.daemon.audit import Record, read_records
from quantum_control.daemon.worth import Played, measured, replayed, shadowed
from quantum_control.terminal import AS_JSON, examples, print_json, tracked

CONFIG = click.argument("config", type=click.Path(path_type=Path))
SINCE = click.option("--since", default="", help="10m, 2h, 3d, or a time such as 2026-01-31T14:00.")

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


@click.command(
    "log",
    epilog=examples(
        "log config.toml --resource web --since 10m",
        "log config.toml --all --json | jq -c 'select(.resource == \"web\") | [.time, .size]'",
    ),
)
@CONFIG
@click.option("--resource", help="Only this one.")
@SINCE
@click.option("--all", "everything", is_flag=True, help="Every decision, not only changes and troubles.")
@AS_JSON
def log(config: Path, resource: str | None, since: str, everything: bool, as_json: bool) -> None:
    """What was decided, and why; CONFIG says where the audit log is."""
    folder = read_config(config).state_directory
    for each in read_records(folder, resource, moment(since)):
        if not everything and each.get("outcome") == "held":
            continue
        click.echo(json.dumps(each) if as_json else _line(each))


@click.command(
    "report", epilog=examples("report config.toml", "report config.toml --resource web --since 24h --json")
)
@CONFIG
@click.option("--resource", help="Only this one.")
@SINCE
@AS_JSON
def report(config: Path, resource: str | None, since: str, as_json: bool) -> None:
    """What shadow mode would have done, and what it would have been worth."""
    found = read_config(config)
    if resource is not None and resource not in found.resources:
        raise ConfigError(unknown_name("resource", resource, found.resources))
    wanted = [resource] if resource is not None else list(found.resources)
    read = tracked(read_records(found.state_directory, resource, moment(since)), "records read")
    records = sorted(read, key=_named)
    by_name = {name: list(group) for name, group in groupby(records, _named)}
    answers: dict[str, object] = {}
    for name in wanted:
        try:
            played = shadowed(by_name.get(name, []), found.resources[name].objective.prices())
        except ConfigError as error:
            answers[name] = {"too_little": str(error)}
            click.echo(f"{name}: {error}") if not as_json else None
            continue
        answers[name] = asdict(played)
        click.echo(f"{name}: {told(played, 'as it was', 'shadow')}") if not as_json else None
    if as_json:
        print_json(answers)


@click.command(
    "replay",
    epilog=examples(
        "replay config.toml --resource web --model coherent",
        "replay config.toml --resource web --auto-tune --since 7d --json",
    ),
)
@CONFIG
@click.option("--resource", required=True, help="Whose measurements.")
@click.option("--model", default="optomechanical", show_default=True, help="The law.")
@click.option("--auto-tune", is_flag=True, help="Let it learn as it goes.")
@SINCE
@AS_JSON
def replay(config: Path, resource: str, model: str, auto_tune: bool, since: str, as_json: bool) -> None:
    """What another law would have done with the demand that was recorded."""
    found = read_config(config)
    if resource not in found.resources:
        raise ConfigError(unknown_name("resource", resource, found.resources))
    section = found.resources[resource]
    read = tracked(read_records(found.state_directory, resource, moment(since)), "records read")
    demand, size = measured(read)
    played = replayed(
        demand,
        size,
        model,
        auto_tune=auto_tune,
        objective=section.objective.prices(),
        bounds=(section.min_size or 1, section.max_size),
    )
    if as_json:
        print_json(asdict(played))
        return
    click.echo(f"{resource}: {told(played, 'as it was', model)}")


def told(played: Played, first: str, second: str) -> str:
    """Tell a comparison to people."""
    low, high = played.interval
    unclear = low <= 0.0 <= high or round(100.0 * played.saving, 1) == 0.0
    verdict = "no clear difference" if unclear else "saves" if low > 0.0 else "costs more"
    return (
        f"{played.intervals} intervals."
        f" {first}: mean size {played.mean_size:.4g}, backlog {played.mean_backlog:.4g};"
        f" {second}: mean size {played.other_size:.4g}, backlog {played.other_backlog:.4g},"
        f" {played.changes} changes."
        f" Saving {played.saving:+.1%} of the cost [{low:+.1%}, {high:+.1%}]: {verdict}."
        " Estimated on a queue that gets the same flow whatever the size."
    )


def moment(since: str) -> float:
    """Seconds since 1970 of "10m" ago, or of an ISO time; 0 for nothing.

    Raises
    ------
    ConfigError
        It is neither.
    """
    if not since:
        return 0.0
    if (span := re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", since)) is not None:
        return time.time() - float(span[1]) * UNITS[span[2]]
    try:
        return datetime.fromisoformat(since).astimezone().timestamp()
    except (ValueError, OverflowError, OSError):
        raise ConfigError(f"since {since!r}: write 10m, 2h, 3d, or a time such as 2026-01-31T14:00") from None


def _named(each: Record) -> str:
    return str(each.get("resource"))


def _line(each: Record) -> str:
    when = datetime.fromtimestamp(each["time"]).astimezone().strftime("%F %T")
    seen = f" demand {each['demand']} at size {each['size']}," if each.get("demand") is not None else ""
    why = f": {'; '.join(each['why'])}" if each.get("why") else ""
    return (
        f"{when} {each.get('resource')} ({each.get('mode')}) {each.get('outcome')}:{seen}"
        f" wanted {each.get('wanted')}, allowed {each.get('allowed')}{why}"
    )
