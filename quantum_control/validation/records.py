"""Raw data of an experiment: a table with a row a block, and a description of its columns beside it.

`blocks.csv` has a column for each figure, `courses.csv` a row for each sample
of the blocks whose course is kept; `datapackage.json` says what the columns
are (Frictionless Data Package). Rows are added by whole pairs, so that an
interruption costs the pair under way and no other.
"""

from __future__ import annotations

import csv
import json
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from quantum_control.core.errors import ConfigError
from quantum_control.validation.plan import ResourcePlan

BLOCKS, COURSES, PACKAGE, SETTINGS = "blocks.csv", "courses.csv", "datapackage.json", "settings.json"

ENDS = "ended.jsonl"
"""One line for each time that the experiment was ended early."""

FIXED = {
    "pair": ("integer", "", "number of the pair, from 0: blocks that are compared with each other"),
    "stretch": ("integer", "", "number of the stretch of pairs that share their conditions"),
    "arm": ("string", "", "who served the block"),
    "place": ("integer", "", "place in the order of the pair, from 0"),
    "began": ("number", "s", "when, since 1970"),
    "seconds": ("number", "s", "how long it took, wash-in and rest included"),
    "late": ("number", "s", "how late its load left, 99th percentile"),
    "control_cpu": ("number", "s", "processor time of what steered it"),
    "steps": ("integer", "", "steps of what steered it"),
    "control_memory": (
        "number",
        "B",
        "what the objects of what steered it held at its end, if measured",
    ),
}
"""Columns of every experiment: type, unit, and what it is."""

LATER = frozenset({"control_memory"})
"""Of them, those that data of an older version lack."""

SAMPLED = {
    "pair": FIXED["pair"],
    "arm": FIXED["arm"],
    "time": ("number", "s", "since the beginning of the block"),
    "size": ("number", "", "size in force"),
    "demand": ("number", "", "in use and waiting, in units of size"),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One block."""

    pair: int
    stretch: int
    arm: str
    place: int
    began: float
    seconds: float
    late: float
    control_cpu: float
    steps: int
    metrics: Mapping[str, float]
    control_memory: float | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """An arm at a moment."""

    pair: int
    arm: str
    time: float
    size: float
    demand: float


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
        folder.mkdir(parents=True, exist_ok=True)
        _agree(folder / SETTINGS, settings)
        columns = FIXED | {
            metric.name: ("number", metric.unit, f"{metric.title}; {metric.better} is better")
            for metric in plan.metrics
        }
        package = {"name": folder.name, "resources": [_table(BLOCKS, columns), _table(COURSES, SAMPLED)]}
        (folder / PACKAGE).write_text(json.dumps(package, indent=1) + "\n")
        self.rows = self._read()
        """All blocks of whole pairs, in the order in which they ran."""
        with (folder / BLOCKS).open(encoding="utf-8") as file:
            self._with_memory = "control_memory" in file.readline().strip().split(",")

    @property
    def pairs(self) -> set[int]:
        """Pairs that are there."""
        return {row.pair for row in self.rows}

    def add(self, rows: Sequence[Row], samples: Sequence[Sample]) -> None:
        """Add one pair; it is on the disk when this returns."""
        _append(
            self.folder / COURSES,
            [
                [each.pair, each.arm, *(f"{x:.5g}" for x in (each.time, each.size, each.demand))]
                for each in samples
            ],
        )
        _append(self.folder / BLOCKS, [self._cells(row) for row in rows])
        self.rows += rows

    def _cells(self, row: Row) -> list[object]:
        numbers = [f"{row.began:.3f}", f"{row.seconds:.4f}", f"{row.late:.6f}", f"{row.control_cpu:.6f}"]
        metrics = [f"{row.metrics[name]:.6g}" for name in self._names]
        memory = (
            []
            if not self._with_memory
            else ["" if row.control_memory is None else f"{row.control_memory:.0f}"]
        )
        return [row.pair, row.stretch, row.arm, row.place, *numbers, row.steps, *memory, *metrics]

    def _read(self) -> list[Row]:
        """Read the blocks; what an interruption has left of a pair is cut off."""
        path = self.folder / BLOCKS
        for name, columns in ((BLOCKS, [*FIXED, *self._names]), (COURSES, list(SAMPLED))):
            if not (self.folder / name).exists():
                _append(self.folder / name, [columns])
        rows = read_rows(self.folder, self._plan)
        torn = len(rows) % self._arms
        if not torn:
            return rows
        # The machine went down in the middle of a write; pairs are written one after the other.
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        path.write_text("".join(lines[:-torn]), encoding="utf-8")
        return rows[:-torn]


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
            late=float(cells["late"]),
            control_cpu=float(cells["control_cpu"]),
            steps=int(cells["steps"]),
            metrics={name: float(cells[name]) for name in names},
            control_memory=float(cells["control_memory"]) if cells.get("control_memory") else None,
        )
        for cells in _lines(folder / BLOCKS, [*FIXED, *names])
    ]


def has_pairs(folder: Path) -> bool:
    """Whether there is anything to analyse: a row below the head."""
    path = folder / BLOCKS
    return path.exists() and path.read_text(encoding="utf-8").count("\n") > 1


def add_end(folder: Path, end: End) -> None:
    """Write down that an experiment was ended early."""
    with (folder / ENDS).open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(end)) + "\n")


def read_ends(folder: Path) -> list[End]:
    """Each time that an experiment was ended early."""
    path = folder / ENDS
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [End(**json.loads(line)) for line in lines]


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
        for cells in _lines(folder / COURSES, list(SAMPLED))
    ]


def _agree(path: Path, settings: Mapping[str, Any]) -> None:
    """Keep the settings with the data, and refuse data of others."""
    if not path.exists():
        path.write_text(json.dumps(settings, indent=1) + "\n")
        return
    kept = json.loads(path.read_text())
    different = sorted(key for key in {*kept, *settings} if kept.get(key) != settings.get(key))
    if different:
        told = ", ".join(f"{key} {kept.get(key)!r}, not {settings.get(key)!r}" for key in different)
        raise ConfigError(f"{path.parent} has the data of another experiment: {told}; give another --out")


def _table(name: str, columns: Mapping[str, tuple[str, str, str]]) -> dict[str, Any]:
    fields = [
        {"name": column, "type": kind, "unit": unit, "description": what}
        for column, (kind, unit, what) in columns.items()
    ]
    return {"name": name.removesuffix(".csv"), "path": name, "schema": {"fields": fields}}


def _append(path: Path, rows: Sequence[Sequence[object]]) -> None:
    """Add rows in one write, and wait for the disk."""
    text = "".join(",".join(map(str, row)) + "\n" for row in rows)
    with path.open("a", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _lines(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Rows of a table, by its columns; a last line that was cut off by a crash is removed from the file."""
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole, encoding="utf-8")
    head, *rows = list(csv.reader(whole.splitlines())) or [[]]
    if head not in (list(columns), [column for column in columns if column not in LATER]):
        raise ConfigError(
            f"{path}: its columns are {', '.join(head)}, not {', '.join(columns)}; give another --out"
        )
    return [dict(zip(head, cells, strict=True)) for cells in rows]
