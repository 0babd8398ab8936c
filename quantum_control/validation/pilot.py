"""The pilot: what the plan can see, by pairs that are played before the run and are no part of it."""

from __future__ import annotations

from collections.abc import Mapping
from math import log
from pathlib import Path

from quantum_control.validation.comparison import compare, on_time, whole_stretches
from quantum_control.validation.plan import Plan, ResourcePlan
from quantum_control.validation.records import BLOCKS, Row, by_pair, read_rows
from quantum_control.validation.statistics import FEWEST, Power, power

PILOT_FOLDER = "pilot"


def read_pilot(folder: Path, of: ResourcePlan) -> dict[int, dict[str, Row]]:
    """Pairs of the pilot of an experiment's folder; none if it had none."""
    pilot = folder / PILOT_FOLDER
    return by_pair(read_rows(pilot, of)) if (pilot / BLOCKS).exists() else {}


def pilot_power(pilot: Mapping[int, Mapping[str, Row]], plan: Plan, of: ResourcePlan) -> Power | None:
    """Power of the primary test, at the level of Holm's first step: what is found whatever the others say.

    None if the pilot is too short to tell.
    """
    found = compare(
        whole_stretches(on_time(pilot, of), len(pilot), of), of.ours, of.base, of.primary, plan, of
    )
    if found.differences.size < FEWEST:
        return None
    ratio = of.primary.scale == "ratio"
    return power(
        found.spread,
        planned=max(1, plan.pairs // of.stretch),
        wanted=log(1.0 + plan.wanted) if ratio else plan.wanted,
        alpha=plan.alpha / plan.family,
        power=plan.power,
        ratio=ratio,
    )


def power_told(found: Power | None, pairs: int, plan: Plan, of: ResourcePlan) -> str:
    """A sentence of it."""
    if found is None:
        return f"Power: none, since a pilot of {pairs} pairs has too few observations."
    primary = of.primary
    least = (
        f"of {found.detectable:.3f} times" if primary.scale == "ratio" else f"{found.detectable:.3g} above"
    )
    return (
        f"Power, by a pilot of {pairs} pairs: the plan finds a {primary.name} {least} that of"
        f" {of.base}, with a probability of {plan.power:g} at {plan.alpha:g}/{plan.family}, the level"
        f" of Holm's first step; a change of {plan.wanted:g} would take {found.needed:.0f} observations. Arms"
        " that take turns have fewer pairs and find less."
    )
