"""`quantum-control demo`: the same work on Python's default pool, on the best fixed one, on a steered one."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from math import inf, isnan
from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

from quantum_control.core.errors import ConfigError
from quantum_control.core.physics import Objective
from quantum_control.demo import picture, report, sweep
from quantum_control.demo.arms import MODEL, Arm, FixedArm, SteeredArm
from quantum_control.demo.load import CPU_SHARE, FloatArray, Load, daily, default_size, recorded
from quantum_control.demo.run import Played, play
from quantum_control.demo.server import LocalServer
from quantum_control.demo.view import view
from quantum_control.demo.work import Work
from quantum_control.resources.adaptive import INTERVAL
from quantum_control.resources.threads import MAX_THREADS
from quantum_control.terminal import AS_JSON, EXIT_INTERRUPTED, examples

SECONDS = 80.0
"""Length of the demonstration."""

OUTSIDE = 4.0
"""Seconds of it that are not load: starting the server, calibration, the sweep, statistics."""

OVERRUN = 0.08
"""Share by which playing takes longer than the load, about: the default pool is late in its segments."""

FEW = 5
"""Blocks; the intervals of fewer are narrower than they should be by half and more."""


@click.command(
    "demo",
    epilog=examples(
        "demo", "demo --seconds 30 --plot demo.svg", "demo --trace requests.csv.gz --json > result.json"
    ),
)
@click.option(
    "--seconds",
    default=SECONDS,
    show_default=True,
    type=click.FloatRange(4.0, 3600.0),
    help="How long it all takes, about.",
)
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0), help="Seed of the arrivals.")
@click.option(
    "--trace",
    type=click.Path(path_type=Path),
    help="File of recorded arrivals, plain or gzip: one count a line, or CSV with the count last.",
)
@click.option(
    "--fixed",
    "sizes",
    multiple=True,
    type=click.IntRange(1, MAX_THREADS),
    help="Fixed size to run instead of the one that the sweep finds; may be repeated.",
)
@click.option(
    "--plot",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Draw a picture into this file; needs the extra 'plot'.",
)
@AS_JSON
def command(
    seconds: float, seed: int, trace: Path | None, sizes: tuple[int, ...], plot: Path | None, as_json: bool
) -> None:
    """Real work on real thread pools: Python's default size, the best fixed size, and steered.

    Tasks wait for an HTTP server on loopback, which is there for the time of
    the demonstration; a few compute. All pools get the same arrivals, in turn.
    """
    if isnan(seconds):  # which is in every range
        raise ConfigError("--seconds nan: give a number of seconds")
    if plot is not None:
        picture.check(plot)
    arms = 2 + (len(set(sizes) - {default_size()}) if sizes else 1)
    length = max(seconds - OUTSIDE, 0.6 * seconds) / arms / (1.0 + OVERRUN)
    began = time.monotonic()
    try:
        load = recorded(trace, length, seed) if trace is not None else daily(length, seed)
        shown = _run(load, sizes, Console(stderr=True))
    except KeyboardInterrupt:
        click.echo("interrupted; pools and server have ended", err=True)
        raise SystemExit(EXIT_INTERRUPTED) from None
    if as_json:
        click.echo(shown.as_json(seed))
    else:
        console = Console()
        text = Text(shown.text(console.width if console.is_terminal else inf, time.monotonic() - began))
        text.highlight_regex(r"\bmet\b", "green")
        text.highlight_regex(r"\bMISSED\b", "bold red")
        console.print(text, soft_wrap=not console.is_terminal)
    if plot is not None:
        names = [arm.name for arm in shown.arms]
        try:
            picture.draw(plot, load, dict(zip(names, shown.played, strict=True)))
        except OSError as error:
            raise ConfigError(f"--plot {plot}: {error.strerror}; name another file") from error
        click.echo(f"picture: {plot}", err=True)


def _run(load: Load, sizes: tuple[int, ...], console: Console) -> _Shown:
    """Play the load, and draw up what is to be shown."""
    objective = Objective()
    with ExitStack() as stack:
        server = stack.enter_context(LocalServer())
        work = stack.enter_context(Work(server.port))
        services = sweep.expected_services(load, work.calibrate())
        costs = sweep.sweep(load, services, objective)
        best = _least(costs)
        chosen = sorted({default_size(), *(sizes or (best,))})
        for line in _introduction(load, costs, best, chosen):
            console.print(line, highlight=False, soft_wrap=not console.is_terminal)
        arms: list[Arm] = []
        for size in (*chosen, None):
            arms.append(FixedArm(size) if size is not None else SteeredArm())
            stack.callback(arms[-1].close)
        with view(console, arms, len(load.segments), load.seconds) as show:
            played = play(load, arms, work, show.observe)
    return _Shown.of(load, services, costs, arms, played, objective)


def _introduction(load: Load, costs: dict[int, float], best: int, sizes: list[int]) -> list[str]:
    least, most = (round(wait * 1e3) for wait in load.waits)
    fixed = [f"  fixed    {size} threads" for size in sizes if size != default_size()]
    return [
        f"Thread pools serve the same arrivals in turn, in {len(load.segments)} blocks:",
        f"  default  {default_size()} threads, Python's default on this machine",
        *fixed,
        f"  steered  {MODEL} law, self-tuning, a step every {INTERVAL:g} s, from {default_size()} threads",
        f"sweep      {best} threads cost least of the fixed sizes 1 to {max(costs)} (arrivals replayed)",
        f"tasks      {load.tasks} in {load.seconds:.1f} s: "
        f"HTTP requests answered after {least} to {most} ms; {CPU_SHARE:.0%} compute",
        f"arrivals   {load.source}",
        "",
    ]


def _least(costs: Mapping[int, float]) -> int:
    """Fixed size of the least cost."""
    return min(costs, key=costs.__getitem__)


@dataclass(frozen=True, slots=True)
class _Shown:
    """What there is to show in the end."""

    load: Load
    costs: dict[int, float]
    """Of the sweep."""
    played: list[list[Played]]
    arms: list[report.ArmReport]
    claims: list[report.Claim]
    enough: int | None
    """Least fixed size that waits no longer in bursts than the steered pool did; None if there is none."""
    objective: Objective

    @classmethod
    def of(
        cls,
        load: Load,
        services: list[FloatArray],
        costs: dict[int, float],
        arms: list[Arm],
        played: list[list[Played]],
        objective: Objective,
    ) -> _Shown:
        measured = [sweep.measured_cost(each, objective) for each in played]
        fixed = {arm.size: index for index, arm in enumerate(arms) if arm.size is not None}
        best, named = fixed.get(_least(costs)), report.BEST
        if best is None:
            best, named = min(fixed.values(), key=measured.__getitem__), report.LEAST_PLAYED
        statistics = [report.Statistics(load, each, objective) for each in played]
        reports = []
        default = 0
        for index, arm in enumerate(arms):
            replayed = None
            name = arm.name
            if arm.size is not None:
                served = [each.services for each in played[index]]
                replayed = sweep.replayed_cost(load, served, arm.size, objective)
                if arm.size == default_size():
                    default = index
                    name = f"default, {arm.size}"
                if index == best:
                    name = f"best {name}" if named == report.BEST else f"{named}: {name}"
            reports.append(statistics[index].report(name, arm.size, replayed))
        judged = report.claims(
            statistics[default], statistics[best], statistics[-1], len(load.segments), named
        )
        waited = reports[-1].figures["burst_wait_p99_seconds"].value
        enough = None if isnan(waited) else sweep.enough(load, services, waited)
        return cls(load, costs, played, reports, judged, enough, objective)

    def text(self, width: float, seconds: float) -> str:
        """For people; the table in `width` columns."""
        prices, blocks = self.objective, len(self.load.segments)
        checks = [
            f"{arm.size} threads {arm.replayed_cost / arm.figures['cost'].value - 1.0:+.1%}"
            for arm in self.arms
            if arm.replayed_cost is not None
        ]
        fixed = [arm for arm in self.arms if arm.size is not None]
        cheapest, least = min(fixed, key=lambda arm: arm.figures["cost"].value), _least(self.costs)
        lines = ["", report.table(self.arms, width), ""]
        lines += [report.sentence(claim) for claim in self.claims]
        if self.enough is not None:
            lines.append(
                f"a fixed size of the same burst wait: {self.enough} threads, "
                f"{self.enough * self.load.seconds:.0f} thread-seconds (replayed)"
            )
        lines += [
            "",
            "wait: from the arrival of a task to its start; dropped tasks count as well",
            "thread-seconds: threads kept, busy or not, added up over time",
            f"cost: {prices.waiting:g} x backlog + {prices.size:g} x threads + {prices.change:g} x changes; "
            + (
                "the best fixed has the least"
                if cheapest.size == least
                else f"the best fixed has {least} threads (replayed)"
            ),
            f"replayed cost over measured: {', '.join(checks)}",
            f"[95 % intervals] by bootstrap over {blocks} blocks, paired"
            + ("; too few to rely on" if blocks < FEW else ""),
            f"{seconds:.0f} s in all",
        ]
        return "\n".join(lines)

    def as_json(self, seed: int) -> str:
        """For programs."""
        result = {
            "load": {
                "source": self.load.source,
                "seed": seed,
                "tasks": self.load.tasks,
                "seconds": self.load.seconds,
                "blocks": len(self.load.segments),
            },
            "machine": {"cpus": os.cpu_count(), "python": platform.python_version()},
            "control": {"model": MODEL, "interval_seconds": INTERVAL, "prices": asdict(self.objective)},
            "sweep": {str(size): value for size, value in self.costs.items()},
            "fixed_size_of_equal_burst_wait": self.enough,
            **report.as_json(self.arms, self.claims),
        }
        return json.dumps(result, indent=2)
