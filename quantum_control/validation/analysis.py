"""From raw data to results: what the plan asks for, and nothing that it does not."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import isfinite, nan
from pathlib import Path
from typing import Any

import numpy as np

from quantum_control.core.errors import ConfigError
from quantum_control.validation import by_arm
from quantum_control.validation.comparison import Comparison, compare, on_time, whole_stretches
from quantum_control.validation.experiment import CALIBRATION
from quantum_control.validation.pilot import pilot_power, read_pilot
from quantum_control.validation.plan import UNSTEERED, WATCHED, Plan, ResourcePlan
from quantum_control.validation.records import (
    SETTINGS,
    End,
    Sample,
    by_pair,
    read_ends,
    read_failures,
    read_rows,
    read_samples,
)
from quantum_control.validation.statistics import Power, false_positives, holm

MACHINE = "machine.json"


@dataclass(frozen=True, slots=True)
class Analysis:
    """All that is known of one experiment."""

    folder: Path
    resource: str
    mode: str
    plan: ResourcePlan
    fingerprint: str
    """Of the plan that the data were made by."""
    pairs: int
    """Whole pairs."""
    planned: int
    """Pairs of the plan."""
    excluded: int
    """Of the pairs, those left out by the plan's rule."""
    comparisons: list[Comparison]
    means: Mapping[str, Mapping[str, float]]
    """By arm and metric: the mean over its blocks."""
    blocks: Mapping[str, int]
    control: Mapping[str, tuple[float, float]]
    """By arm: processor seconds of its control over those for which it steered, and of one step."""
    memory: Mapping[str, float]
    """By arm, where it was measured: most bytes that the objects of its control held."""
    ends: list[End]
    """When and why it was ended early; empty if it never was."""
    failed: Mapping[str, int]
    """Blocks of each arm that failed; the whole pair was played again."""
    power: Power | None
    """By the pilot; None if there is none, or too little of it."""
    pilot: int
    """Pairs of the pilot."""
    false_positives: tuple[int, int, float] | None
    """Of an A/A run, over all its metrics: significant windows, windows, and how likely as many are."""
    minutes: float
    machine: Mapping[str, Any]
    calibration: Mapping[str, Any]

    @property
    def ours(self) -> str:
        """Arm that the others are compared with."""
        return _ours(self.mode, self.plan)

    @property
    def base(self) -> str:
        """Arm that stands for leaving the resource alone."""
        return UNSTEERED if self.mode == "overhead" else self.plan.base

    @property
    def whole(self) -> bool:
        """Whether it has the pairs of the plan: tests and intervals of a fixed length are right only then."""
        return not self.ends and self.pairs == self.planned

    def comparison(self, other: str, metric: str) -> Comparison | None:
        """One of them; None if it was not made."""
        wanted = (self.ours, other, metric)
        return next((c for c in self.comparisons if (c.ours, c.other, c.metric.name) == wanted), None)

    def typical(self) -> tuple[int, list[Sample]]:
        """Pair whose primary difference from the base is nearest to the median, of those with a course."""
        samples = read_samples(self.folder)
        ours, metric = self.ours, self.plan.primary
        found = {
            pair: metric.difference(arms[ours].metrics[metric.name], arms[self.base].metrics[metric.name])
            for pair, arms in on_time(by_pair(read_rows(self.folder, self.plan)), self.plan).items()
        }
        kept = sorted({sample.pair for sample in samples if isfinite(found.get(sample.pair, nan))})
        if not kept:
            return -1, []
        median = float(np.nanmedian(list(found.values())))
        pair = min(kept, key=lambda each: abs(found[each] - median))
        return pair, [sample for sample in samples if sample.pair == pair]


def analyse(folder: Path, plan: Plan) -> Analysis:
    """Analyse one experiment.

    Raises
    ------
    ConfigError
        There is no whole pair in the folder.
    """
    settings = json.loads((folder / SETTINGS).read_text())
    resource, mode = settings["resource"], settings["mode"]
    of = plan.of(resource)
    rows = read_rows(folder, of)
    if not rows:
        raise ConfigError(f"{folder} has no whole pair")
    pairs = by_pair(rows)
    kept = on_time(pairs, of)
    minutes = sum(row.seconds for row in rows) / 60.0
    rows = [row for arms in kept.values() for row in arms.values()]
    ours = _ours(mode, of)
    against = [arm for arm in by_arm.arms(rows, of) if arm != ours]
    whole = whole_stretches(kept, len(pairs), of)
    comparisons = [
        compare(whole, ours, other, metric, plan, of) for other in against for metric in of.metrics
    ]
    # Each of the others beside the base as well, in the pairs in which it ran.
    if mode == "run":
        comparisons += [
            compare(whole, arm, of.base, of.primary, plan, of) for arm in against if arm != of.base
        ]
    pilot = read_pilot(folder, of)
    wrong = None
    if mode == "aa":
        windows = [false_positives(c.differences, plan.window, plan.alpha) for c in comparisons]
        wrong = _pooled(windows, plan.alpha)
    return Analysis(
        folder=folder,
        resource=resource,
        mode=mode,
        plan=of,
        fingerprint=settings["plan"],
        pairs=len(pairs),
        planned=plan.pairs,
        excluded=len(pairs) - len(kept),
        comparisons=comparisons,
        means=by_arm.means(rows, of),
        blocks={arm: sum(row.arm == arm for row in rows) for arm in by_arm.arms(rows, of)},
        control=by_arm.control(rows, of),
        memory=by_arm.memory(rows, of),
        ends=read_ends(folder),
        failed=Counter(failure.arm for failure in read_failures(folder)),
        power=pilot_power(pilot, plan, of) if mode == "run" else None,
        pilot=len(pilot),
        false_positives=wrong,
        minutes=minutes,
        machine=_json(folder / MACHINE),
        calibration=_json(folder / CALIBRATION),
    )


def correct(analyses: Sequence[Analysis], plan: Plan) -> list[Analysis]:
    """Correct the p-values of all resources for each other (Holm), as one family of the plan's size."""
    runs = [each for each in analyses if each.mode == "run"]
    family = [c for each in runs for c in each.comparisons if c.tested]
    corrected = iter(holm([c.effect.p_value for c in family], plan.family))
    done = []
    for each in analyses:
        if each.mode == "run":
            fixed = [replace(c, corrected=next(corrected)) if c.tested else c for c in each.comparisons]
            done.append(replace(each, comparisons=fixed))
        else:
            done.append(each)
    return done


def as_json(analysis: Analysis) -> dict[str, Any]:
    """For programs."""
    return {
        "resource": analysis.resource,
        "mode": analysis.mode,
        "plan": analysis.fingerprint,
        "pairs": analysis.pairs,
        "planned": analysis.planned,
        "whole": analysis.whole,
        "excluded": analysis.excluded,
        "minutes": analysis.minutes,
        "failed_blocks": dict(analysis.failed),
        "ended_early": [asdict(end) for end in analysis.ends],
        "power": None if analysis.power is None else asdict(analysis.power),
        "false_positives": analysis.false_positives,
        "means": analysis.means,
        "control": {
            arm: {
                "cpu_share": share,
                "step_seconds": step,
                "cpu_seconds_per_hour": 3600.0 * share,
                "memory_bytes": analysis.memory.get(arm, nan),
            }
            for arm, (share, step) in analysis.control.items()
        },
        "comparisons": [
            {
                "ours": c.ours,
                "other": c.other,
                "metric": c.metric.name,
                "scale": c.metric.scale,
                "better": c.metric.better,
                "corrected_p_value": c.corrected,
                "dropped_pairs": c.dropped,
                **asdict(c.effect),
                **asdict(c.checks),
            }
            for c in analysis.comparisons
        ],
    }


def planned_by(folder: Path, plan: Plan) -> bool:
    """Whether the data of a folder were made by this plan."""
    settings = json.loads((folder / SETTINGS).read_text())
    return bool(settings["plan"] == plan.fingerprint(settings["resource"]))


def _pooled(windows: Sequence[tuple[int, int, float]], alpha: float) -> tuple[int, int, float]:
    """All windows of all metrics together. Metrics of one block depend on each other: a rough probability."""
    from scipy.stats import binomtest

    found, made = sum(each[0] for each in windows), sum(each[1] for each in windows)
    chance = float(binomtest(found, made, alpha, alternative="greater").pvalue) if made else nan
    return found, made, chance


def _ours(mode: str, of: ResourcePlan) -> str:
    return {"run": of.ours, "aa": of.again, "overhead": WATCHED}[mode]


def _json(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found
