"""The command line: `quantum-control COMMAND`."""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import cast

import click

from quantum_control import __version__
from quantum_control.core.errors import QuantumControlError, unknown_name
from quantum_control.terminal import EXIT_INTERRUPTED, EXIT_REFUSED, examples


class LazyGroup(click.Group):
    """A group whose commands are imported when they are first used, so that `--help` stays quick."""

    def __init__(self, homes: Mapping[str, str], name: str, help: str, epilog: str) -> None:
        super().__init__(name, help=help, epilog=epilog)
        self._homes = homes

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Names in the order in which people need them."""
        return list(self._homes)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command; suggest the nearest name if there is none."""
        if cmd_name not in self._homes:
            ctx.fail(unknown_name("command", cmd_name, self._homes))
        module, _, attribute = self._homes[cmd_name].partition(":")
        return cast(click.Command, getattr(import_module(module), attribute or "command"))

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; after Ctrl-C, by which it has put everything back, end as shells expect it."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            ctx.exit(EXIT_INTERRUPTED)


BENCH = LazyGroup(
    {
        "laws": "quantum_control.bench.laws",
        "connections": "quantum_control.bench.connections",
        "loadbalancer": "quantum_control.bench.loadbalancer",
        "buffer": "quantum_control.bench.buffer",
        "distance": "quantum_control.bench.distance",
        "memory": "quantum_control.bench.memory",
        "memory-cgroup": "quantum_control.bench.memory_cgroup",
    },
    "bench",
    "Measure the laws and the adapters against their peers, in pairs.",
    examples("bench laws --runs 100", "bench memory --out results"),
)

main = click.version_option(__version__, prog_name="quantum-control")(
    LazyGroup(
        {
            "demo": "quantum_control.demo.command",
            "discover": "quantum_control.daemon.commands:discover",
            "init": "quantum_control.daemon.commands:init",
            "check": "quantum_control.daemon.commands:check",
            "run": "quantum_control.daemon.commands:run",
            "ctl": "quantum_control.daemon.ctl",
            "top": "quantum_control.daemon.top",
            "report": "quantum_control.daemon.history:report",
            "log": "quantum_control.daemon.history:log",
            "replay": "quantum_control.daemon.history:replay",
            "restore": "quantum_control.daemon.commands:restore",
            "plot": "quantum_control.monitoring.plot",
            "dashboards": "quantum_control.monitoring.dashboards",
            "tune": "quantum_control.tuning.offline",
            "keda": "quantum_control.fleet.keda",
            "validate": "quantum_control.validation.command",
            "bench": "quantum_control.cli:BENCH",
        },
        "quantum-control",
        "Adaptive sizing of infrastructure: one controller for any resource.",
        examples("demo", "discover --write config.toml", "run config.toml", "COMMAND --help"),
    )
)


def run() -> None:
    """Entry point: errors of ours are told in one line, without a traceback.

    SIGTERM is taken for Ctrl-C, as by default Python would end without putting anything back.
    """
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        main()
    except QuantumControlError as error:
        click.echo(f"quantum-control: {error}", err=True)
        sys.exit(EXIT_REFUSED)
