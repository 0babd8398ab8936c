"""Raw data of an experiment: a table with a row a block, and a description of its columns beside it.

`blocks.csv` has a column for each figure, `courses.csv` a row for each sample
of the blocks whose course is kept, `failures.csv` a row for each attempt that
failed; `datapackage.json` says what the columns are (Frictionless Data
Package). Rows are added by whole pairs, so that an interruption costs the pair
under way and no other.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from quantum_control.core.errors import ConfigError
from quantum_control.validation import tables
from quantum_control.validation.columns import FAILED, FIXED, LATER, SAMPLED
from quantum_control.validation.plan import ResourcePlan

BLOCKS, COURSES, FAILURES = "blocks.csv", "courses.csv", "failures.csv"

PACKAGE, SETTINGS = "datapackage.json", "settings.json"

ENDS = "ended.jsonl"
"""One line for each time that the experiment was ended early."""


@dataclass(frozen=True, slots=True)
class Row:
    """One block."""

    pair: int
    stretch: int
    arm: str
    place: int
    began: float
    seconds: float
    late: float | None
    control_cpu: float
    steps: int
    metrics: Mapping[str, float]
    control_memory: float | None = None
    phase: str = ""


@dataclass(frozen=True, slots=True)
class Sample:
    """An arm at a moment."""

    pair: int
    arm: str
    time: float
    size: float
    demand: float


@dataclass(frozen=True, slots=True)
class Failure:
    """A block that failed, so that its pair was played again, or given up."""

    pair: int
    arm: str
    time: float
    """When; seconds since 1970."""
    kind: str
    reason: str


@dataclass(frozen=True, slots=True)
class End:
    """An experiment that was ended before it was over."""

    time: float
    """When; seconds since 1970."""
    pairs: int
    """Whole pairs until then."""
    why: str


class Records:
    """The data of one experiment, in a folder of its own.

    Parameters
    ----------
    folder
        Where they are; made if it is missing.
    plan
        What was planned for the resource.
    settings
        What the data must have in common; JSON.
    arms
        Blocks of a whole pair.

    Raises
    ------
    ConfigError
        The folder has the data of other settings, or something else in their place.
    """

    def __init__(self, folder: Path, plan: ResourcePlan, settings: Mapping[str, Any], arms: int) -> None:
        self.folder = folder
        self._arms = arms
        self._plan = plan
        self._names = [metric.name for metric in plan.metrics]
        tables.make(folder)
        _agree(folder / SETTINGS, settings)
        columns = FIXED | {
            metric.name: ("number", metric.unit, f"{metric.title}; {metric.better} is better")
            for metric in plan.metrics
        }
        about = {BLOCKS: columns, COURSES: SAMPLED, FAILURES: FAILED}
        package = {
            "name": folder.name,
            "resources": [tables.described(name, fields) for name, fields in about.items()],
        }
        tables.write(folder / PACKAGE, json.dumps(package, indent=1) + "\n")
        for name, fields in about.items():
            if not (folder / name).exists():
                tables.write(folder / name, tables.as_lines([list(fields)]))
        self.rows = self._read()
        """All blocks of whole pairs, in the order in which they ran."""
        self.failures = read_failures(folder)
        """Blocks that failed, in the order in which they did."""
        with (folder / BLOCKS).open(encoding="utf-8") as file:
            self._columns = file.readline().strip().split(",")

    @property
    def pairs(self) -> set[int]:
        """Pairs that are there."""
        return {row.pair for row in self.rows}

    def add(self, rows: Sequence[Row], samples: Sequence[Sample]) -> None:
        """Add one pair; it is on the disk when this returns."""
        cells = [
            [each.pair, each.arm, *(f"{x:.5g}" for x in (each.time, each.size, each.demand))]
            for each in samples
        ]
        tables.append(self.folder / COURSES, tables.as_lines(cells))
        tables.append(self.folder / BLOCKS, tables.as_lines(map(self._cells, rows)))
        self.rows += rows

    def fail(self, failure: Failure) -> None:
        """Add a block that failed."""
        cells = [failure.pair, failure.arm, f"{failure.time:.3f}", failure.kind]
        reason = " ".join(failure.reason.split())  # a line each
        tables.append(self.folder / FAILURES, tables.as_lines([[*cells, reason]]))
        self.failures.append(failure)

    def _cells(self, row: Row) -> list[object]:
        cells = {
            "pair": row.pair,
            "stretch": row.stretch,
            "arm": row.arm,
            "place": row.place,
            "began": f"{row.began:.3f}",
            "seconds": f"{row.seconds:.4f}",
            "late": "" if row.late is None else f"{row.late:.6f}",
            "control_cpu": f"{row.control_cpu:.6f}",
            "steps": row.steps,
            "control_memory": "" if row.control_memory is None else f"{row.control_memory:.0f}",
            "phase": row.phase,
            **{name: f"{row.metrics[name]:.6g}" for name in self._names},
        }
        return [cells[name] for name in self._columns]  # those of an older version are fewer

    def _read(self) -> list[Row]:
        """Read the blocks; what an interruption has left of a pair is cut off."""
        rows = read_rows(self.folder, self._plan)
        # The machine went down in the middle of a write; pairs are written one after the other.
        torn = len(rows) % self._arms
        _cut(self.folder / BLOCKS, torn)
        rows = rows[: len(rows) - torn]
        # The course of a pair is written before its blocks.
        whole = {row.pair for row in rows}
        _cut(self.folder / COURSES, sum(sample.pair not in whole for sample in read_samples(self.folder)))
        return rows


def _cut(path: Path, count: int) -> None:
    """Remove so many rows from the end of a table."""
    if count:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        tables.write(path, "".join(lines[:-count]))


def read_rows(folder: Path, plan: ResourcePlan) -> list[Row]:
    """Blocks of an experiment, in the order in which they ran."""
    names = [metric.name for metric in plan.metrics]
    return [
        Row(
            pair=int(cells["pair"]),
            stretch=int(cells["stretch"]),
            arm=cells["arm"],
            place=int(cells["place"]),
            began=float(cells["began"]),
            seconds=float(cells["seconds"]),
            late=float(cells["late"]) if cells["late"] else None,
            control_cpu=float(cells["control_cpu"]),
            steps=int(cells["steps"]),
            metrics={name: float(cells[name]) for name in names},
            control_memory=float(cells["control_memory"]) if cells.get("control_memory") else None,
            phase=cells.get("phase", ""),
        )
        for cells in tables.read(folder / BLOCKS, [*FIXED, *names], LATER)
    ]


def has_pairs(folder: Path) -> bool:
    """Whether there is anything to analyse: a row below the head."""
    path = folder / BLOCKS
    return path.exists() and path.read_text(encoding="utf-8").count("\n") > 1


def add_end(folder: Path, end: End) -> None:
    """Write down that an experiment was ended early."""
    tables.append(folder / ENDS, json.dumps(asdict(end)) + "\n")


def read_ends(folder: Path) -> list[End]:
    """Each time that an experiment was ended early."""
    path = folder / ENDS
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [End(**json.loads(line)) for line in lines]


def read_failures(folder: Path) -> list[Failure]:
    """Blocks that failed; none if the data are of a version that did not keep them."""
    if not (folder / FAILURES).exists():
        return []
    return [
        Failure(int(cells["pair"]), cells["arm"], float(cells["time"]), cells["kind"], cells["reason"])
        for cells in tables.read(folder / FAILURES, list(FAILED))
    ]


def experiments(out: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Folders of a folder that hold an experiment with a block, and its settings.

    Others may hold files of the same names that are somebody else's: those are passed over.
    """
    for path in sorted(out.glob(f"*/{SETTINGS}")):
        if not has_pairs(path.parent):
            continue
        try:
            settings = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(settings, dict) and {"resource", "mode", "plan"} <= settings.keys():
            yield path.parent, settings


def by_pair(rows: Iterable[Row]) -> dict[int, dict[str, Row]]:
    """Blocks by the number of their pair, and by their arm."""
    found: dict[int, dict[str, Row]] = defaultdict(dict)
    for row in rows:
        found[row.pair][row.arm] = row
    return dict(found)


def read_samples(folder: Path) -> list[Sample]:
    """Courses of the pairs that keep them."""
    return [
        Sample(
            int(cells["pair"]),
            cells["arm"],
            float(cells["time"]),
            float(cells["size"]),
            float(cells["demand"]),
        )
        for cells in tables.read(folder / COURSES, list(SAMPLED))
    ]


def _agree(path: Path, settings: Mapping[str, Any]) -> None:
    """Keep the settings with the data, and refuse data of others."""
    if not path.exists():
        tables.write(path, json.dumps(settings, indent=1) + "\n")
        return
    kept = json.loads(path.read_text(encoding="utf-8"))
    different = sorted(key for key in {*kept, *settings} if kept.get(key) != settings.get(key))
    if different:
        told = ", ".join(f"{key} {kept.get(key)!r}, not {settings.get(key)!r}" for key in different)
        raise ConfigError(f"{path.parent} has the data of another experiment: {told}; give another --out")
