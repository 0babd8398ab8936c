"""`quantum-control plot HISTORY FILE`: size, demand and force of a recorded history over time."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from quantum_control.core.errors import ConfigError
from quantum_control.monitoring.recorded import Array, Course, course_of_csv, course_of_records
from quantum_control.terminal import AS_JSON, examples, print_json, tracked

MOST_POINTS = 4000
"""More than the eye tells apart; longer courses are drawn as means over equal parts."""

COLOURS = {"demand": "tab:orange", "size": "tab:blue", "wanted": "tab:gray", "force": "tab:purple"}


@click.command(
    "plot",
    epilog=examples(
        "plot history.csv history.svg", "plot /var/lib/quantum_control web.png --resource web --since 2h"
    ),
)
@click.argument("history", type=click.Path(path_type=Path))
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--resource", help="Which one, where HISTORY holds several.")
@click.option("--since", default="", help="Of a daemon: 10m, 2h, 3d, or a time such as 2026-01-31T14:00.")
@AS_JSON
def command(history: Path, file: Path, resource: str | None, since: str, as_json: bool) -> None:
    """Draw HISTORY to FILE (png, svg, pdf ...): size, demand and force over time.

    HISTORY is a CSV file (gzip too), or the state_directory of a daemon.
    """
    if history.is_dir():
        from quantum_control.daemon.audit import read_records
        from quantum_control.daemon.history import moment

        records = tracked(read_records(history, resource, moment(since)), "records read")
        course = course_of_records(records, str(history))
    else:
        if resource or since:
            raise ConfigError(f"--resource and --since are for a daemon's folder; {str(history)!r} is none")
        course = course_of_csv(history)
    draw(course, file)
    if as_json:
        print_json({"wrote": str(file), "intervals": course.time.size})
        return
    click.echo(f"wrote {file}: {course.time.size} intervals")


def draw(course: Course, path: Path) -> None:
    """Draw sizes and demand above, force below where it was recorded.

    Raises
    ------
    ConfigError
        matplotlib is missing or does not know the format, or the file cannot
        be written.
    """
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError(
            "plot needs matplotlib, which is not installed: pip install 'quantum-control[plot]'"
        ) from error
    known = Figure().canvas.get_supported_filetypes()
    if path.suffix[1:].lower() not in known:
        raise ConfigError(f"{str(path)!r}: end the name in one of {', '.join(f'.{each}' for each in known)}")
    mpl.rcParams["svg.hashsalt"] = "quantum_control"  # the same figures give the same file
    thin = -(-course.time.size // MOST_POINTS)
    time = course.time[::thin]
    columns = {name: _means(values, thin) for name, values in course.columns.items()}
    forced = "force" in columns
    figure = Figure(figsize=(9.0, 5.2 if forced else 3.6), layout="constrained")
    axes = figure.subplots(2 if forced else 1, 1, sharex=True, squeeze=False)[:, 0]
    above = axes[0]
    if "demand" in columns:
        above.fill_between(
            time, columns["demand"], step="post", color=COLOURS["demand"], alpha=0.35, label="demand"
        )
    for name in ("wanted", "size"):  # the size on top
        if name in columns:
            above.step(time, columns[name], where="post", color=COLOURS[name], linewidth=1.4, label=name)
    above.set_ylim(bottom=0.0)
    above.set_ylabel("size")
    figure.legend(*above.get_legend_handles_labels(), loc="outside upper center", ncols=len(columns))
    if forced:
        axes[1].step(time, columns["force"], where="post", color=COLOURS["force"], linewidth=1.0)
        axes[1].set_ylabel("force, 1/s")
    axes[-1].set_xlabel(course.unit if thin == 1 else f"{course.unit}; means over {thin} intervals")
    for panel in axes:
        panel.grid(alpha=0.3)
    try:
        figure.savefig(
            path, dpi=120, metadata={"Date": None} if path.suffix.lower() in (".svg", ".svgz") else None
        )
    except OSError as error:
        raise ConfigError(f"{str(path)!r} cannot be written: {error.strerror}; name another FILE") from error


def _means(values: Array, thin: int) -> Array:
    """Means over each `thin` values; not known where one of them is not."""
    padded = np.full(-(-values.size // thin) * thin, values[-1])
    padded[: values.size] = values
    means: Array = padded.reshape(-1, thin).mean(axis=1)
    return means
