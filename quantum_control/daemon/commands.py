"""`quantum-control run`, `check`, `init`, `discover` and `restore`."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Container, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from quantum_control.config import Config
from quantum_control.config_file import read_config
from quantum_control.core.discovery import Found
from quantum_control.core.errors import ConfigError
from quantum_control.core.plugins import load, names
from quantum_control.core.recovery import Fate
from quantum_control.daemon.capabilities import missing, needed
from quantum_control.terminal import AS_JSON, EXIT_NOT_RESTORED, examples, print_json, tracked

CONFIG = click.argument("config", type=click.Path(path_type=Path))

FOUND_NAME = 58
"""Characters of the name of what was found: of the 64 of a configuration, with room for a number."""

TEMPLATE = """\
# What `quantum-control run` steers. `quantum-control check FILE` says whether it is right.

# Journal of originals, audit log, what was learnt. Made if it is missing.
state_directory = "/var/lib/quantum_control"
# Control socket and locks: the same for all daemons of a machine.
runtime_directory = "/run/quantum_control"
# Who may write to the control socket may steer.
socket_mode = "0660"

[log]
level = "info"      # info: one line per change; warning: silence but for trouble
format = "human"    # or "json"

[audit]
file_bytes = 16777216
files = 8

# Where Prometheus reads /metrics and browsers the live page, /. Takes the extra [prometheus].
# [metrics]
# address = "127.0.0.1"                # another is for networks that may see it: then TLS and a password too
# port = 9464
# certificate = "/etc/quantum_control/cert.pem"
# key = "/etc/quantum_control/key.pem"
# user = "prometheus"
# password = "env:METRICS_PASSWORD"    # or "file:PATH"

# Where the same metrics are pushed to, by OTLP over HTTP. Takes the extra [opentelemetry].
# [opentelemetry]
# endpoint = "http://127.0.0.1:4318"
# every = 15.0                         # seconds

# What every resource has unless it says otherwise.
[defaults]
mode = "shadow"     # observe: only measure; shadow: decide and record, touch nothing; active: steer
interval = 1.0      # seconds

# One section for each resource; the name is yours.
# [resources.web]
# kind = "KIND"                        # one of: {kinds}
# mode = "shadow"
# options = {{}}                         # arguments of its type; passwords as "env:NAME" or "file:PATH"
# physics_model = "optomechanical"     # one of: {laws}
# auto_tune = false
# min_size = 1
# max_size = 100
# quiet = ["22:00-06:00", "sat,sun"]   # no changes then; local time
# hold_off = 0.0                       # seconds from one change to the next
# manual_hold = 3600.0                 # seconds for which a size set by hand is left alone
# roll_back = true                     # put the original back where steering costs more
# guard = {{ slew_up = 10.0, slew_down = 2.0, dead_band = 0.0, hysteresis = 0.0 }}
# objective = {{ waiting = 3.0, size = 1.0, change = 0.3 }}
# budget = "database"                  # shares this budget with others
#
# [budgets.database]
# total = 100
# reserve = 10
# store = "redis://db:6379/0"          # shared with the daemons of other hosts
"""


@click.command("run", epilog=examples("run config.toml"))
@CONFIG
def run(config: Path) -> None:
    """Steer what CONFIG names, until SIGTERM; SIGHUP reads it anew."""
    from quantum_control.daemon.supervisor import supervise

    sys.exit(supervise(config))


@click.command(
    "check",
    epilog=examples(
        "check config.toml", "check --schema config.toml > schema.json", "check --json config.toml"
    ),
)
@CONFIG
@click.option("--schema", is_flag=True, help="Print the JSON schema for editors instead; CONFIG is not read.")
@AS_JSON
def check(config: Path, schema: bool, as_json: bool) -> None:
    """Say everything that is wrong with CONFIG; touch nothing."""
    if schema:
        print_json(Config.model_json_schema())
        return
    found = read_config(config)
    if as_json:
        listed = {
            name: {
                "kind": section.kind,
                "mode": section.mode,
                "interval": section.interval,
                "capabilities": sorted(needed(section.kind, section.options)),
                "missing_capabilities": missing(section.kind, section.options),
            }
            for name, section in found.resources.items()
        }
        print_json(listed)
        return
    for name, section in found.resources.items():
        click.echo(f"{name}: {section.kind}, {section.mode}, every {section.interval:g} s")
        if lacking := missing(section.kind, section.options):
            click.echo(f"{name}: steering it takes {', '.join(lacking)}, which this process lacks")
    click.echo(f"{config} is right: {len(found.resources)} resources")


@click.command("init", epilog=examples("init config.toml"))
@CONFIG
@AS_JSON
def init(config: Path, as_json: bool) -> None:
    """Write a commented configuration to CONFIG, which must not exist."""
    text = TEMPLATE.format(kinds=", ".join(names("resources")), laws=", ".join(names("physics")))
    _write_new(config, text)
    if as_json:
        print_json({"wrote": str(config)})
        return
    click.echo(f"wrote {config}; `quantum-control discover` shows what could be steered here")


@click.command(
    "discover", epilog=examples("discover", "discover --write config.toml", "discover --json | jq '.[].kind'")
)
@click.option("--write", type=click.Path(path_type=Path), help="Write the configuration to this new file.")
@AS_JSON
def discover(write: Path | None, as_json: bool) -> None:
    """Look for what could be steered here, and make a configuration of it in shadow mode."""
    found, troubles = _found()
    for trouble in troubles:
        click.echo(trouble, err=True)
    text = "".join(configuration(found))
    if write is not None:
        _write_new(write, text)
    if as_json:
        print_json(
            [
                {
                    "kind": f.kind,
                    "name": f.name,
                    "options": dict(f.options),
                    "note": f.note,
                    "possible": f.possible,
                }
                for f in found
            ]
        )
        return
    if write is None:
        click.echo(text, nl=False)
        return
    live = sum(f.possible for f in found)
    click.echo(f"wrote {write}: {live} resources in shadow mode; next: quantum-control run {write}")
    if live < len(found):
        click.echo(f"{len(found) - live} more in comments: something is missing there")


@click.command(
    "restore",
    epilog=examples("restore config.toml", "restore --json config.toml", "restore --force config.toml"),
)
@CONFIG
@click.option("--force", is_flag=True, help="Also sizes that somebody else has changed since.")
@AS_JSON
def restore(config: Path, force: bool, as_json: bool) -> None:
    """Put back what a daemon that is gone has changed."""
    from quantum_control.daemon.supervisor import put_back

    done = put_back(read_config(config), force=force, tell=None if as_json else click.echo)
    if as_json:
        print_json([asdict(each) for each in done])
    elif not done:
        click.echo("nothing to restore")
    if any(each.fate is Fate.FAILED for each in done):
        sys.exit(EXIT_NOT_RESTORED)


def _found() -> tuple[list[Found], list[str]]:
    """What all finders find, with names made unique, and what went wrong."""
    found: dict[str, Found] = {}
    troubles = []
    for name in tracked(names("discovery"), "looking around", len(names("discovery"))):
        try:
            for each in load("discovery", name)():
                own = _named(each.name, found)
                found[own] = replace(each, name=own)
        except Exception as error:  # noqa: BLE001 - a finder may be anyone's; the others go on
            troubles.append(f"looking for {name}: {type(error).__name__}: {error}")
    return list(found.values()), troubles


def _named(name: str, taken: Container[str]) -> str:
    """A name that a configuration takes and nothing else has.

    Finders make names of those that others have given: of a unit of systemd, a container, a back end.
    """
    fit = re.sub(r"[^A-Za-z0-9._-]", "-", name).lstrip("._-")[:FOUND_NAME] or "found"
    unique, number = fit, 2
    while unique in taken:
        unique, number = f"{fit}-{number}", number + 1
    return unique


def configuration(found: list[Found]) -> Iterator[str]:
    """Give the TOML text of a configuration in shadow mode; in comments what cannot be begun as it is."""
    yield '# As found by `quantum-control discover`.\n\n[defaults]\nmode = "shadow"\n'
    for each in found:
        yield "".join(f"\n# {line}" for line in each.note.splitlines())
        # A section that cannot be begun would be an error at every start.
        mark = "" if each.possible else "# "
        yield f"\n{mark}[resources.{_toml(each.name)}]\n{mark}kind = {_toml(each.kind)}\n"
        if each.options:
            yield f"{mark}options = {_toml(dict(each.options))}\n"
    if not found:
        yield "\n# Nothing was found that could be steered here; `quantum-control init` shows what can be.\n"


def _toml(value: Any) -> str:
    """A value in TOML; JSON's strings, numbers and lists are TOML's as well."""
    if isinstance(value, dict):
        inside = ", ".join(
            f"{_toml(str(key))} = {_toml(each)}" for key, each in value.items() if each is not None
        )
        return f"{{ {inside} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml(each) for each in value)}]"
    return json.dumps(value if isinstance(value, bool | int | float) else str(value), ensure_ascii=False)


def _write_new(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigError(f"{str(path)!r} exists already; give a new name, or move it away") from None
    except OSError as error:
        raise ConfigError(f"{str(path)!r} cannot be written: {error.strerror}") from error
