"""What is to be run on a resource of one's own: from its configuration to a plan."""

from __future__ import annotations

import json
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files
from math import inf
from pathlib import Path

from pydantic import ValidationError

from quantum_control.config import Config, Mode, ResourceSection
from quantum_control.config_file import read_config
from quantum_control.core.errors import ConfigError, unknown_name
from quantum_control.core.writer import resource_key
from quantum_control.daemon.capabilities import missing
from quantum_control.validation.bed import check_bed
from quantum_control.validation.plan import Plan, ResourcePlan, plan_file, read_plan
from quantum_control.validation.records import experiments
from quantum_control.validation.switchback import REPORTED, OwnBed
from quantum_control.validation.tables import write

KEPT = "plan.json"
"""The whole plan, beside the data."""

TEMPLATE = "own"
"""Resource of the plan file, for which that of the configuration is put."""

BLOCK_INTERVALS = 30
"""Intervals of a block that count: enough for the law to have settled in most of them."""

HOLD_OFFS = 5
"""Changes for which a block has room, at the least, where the configuration lets time pass between two."""

WASH_IN_SHARE, WASH_IN_INTERVALS = 1.0 / 3.0, 10
"""Wash-in: of the seconds that count, and at the least. The queue of the block before drains in it."""


@dataclass(frozen=True, slots=True)
class Own:
    """What is to be run."""

    config: Config
    name: str
    section: ResourceSection
    folder: Path
    """For the data."""
    plan: Plan
    """With all metrics that there may be."""
    pairs: int
    aa: bool
    """Whether the original is compared with itself."""

    @property
    def of(self) -> ResourcePlan:
        """Plan of the resource."""
        return self.plan.of(self.name)


def prepare(
    path: Path,
    resource: str | None,
    out: Path,
    *,
    pairs: int | None = None,
    block: float | None = None,
    aa: bool = False,
    plan: Path | None = None,
) -> Own:
    """Read configuration and plan, and refuse what cannot be run; nothing is touched.

    Raises
    ------
    ConfigError
        Something is wrong; the message names it.
    """
    config = read_config(path)
    name, section = _chosen(path, config, resource)
    text = (files("quantum_control.validation") / "own.toml").read_text(encoding="utf-8")
    template = read_plan(text, "the plan") if plan is None else read_plan(plan_file(plan), str(plan))
    whole = _planned(template, name, section, block)
    check_bed(OwnBed, whole.of(name), f"resources.{TEMPLATE}")
    return Own(config, name, section, out / (f"{name}-aa" if aa else name), whole, pairs or whole.pairs, aa)


def only(plan: Plan, name: str, reported: Collection[str]) -> Plan:
    """Leave out the metrics that the resource does not report."""
    of = plan.of(name)
    kept = [metric for metric in of.metrics if metric.name not in REPORTED or metric.name in reported]
    return plan.model_copy(update={"resources": {name: of.model_copy(update={"metrics": kept})}})


def keep(plan: Plan, folder: Path) -> None:
    """Write a plan down beside its data."""
    write(folder / KEPT, as_text(plan) + "\n")


def as_text(plan: Plan) -> str:
    """JSON of a plan."""
    return json.dumps(plan.model_dump(), indent=1)


def kept(folder: Path) -> Plan | None:
    """Plan of the data in a folder; None if there is none.

    Raises
    ------
    ConfigError
        It is damaged.
    """
    path = folder / KEPT
    if not path.exists():
        return None
    try:
        return Plan.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, ValidationError) as error:
        raise ConfigError(f"{path} is no plan: {error}") from error


def merged(out: Path, own: Own) -> Plan:
    """Plan of all experiments in a folder that differ from this one in their resource at the most."""
    plans = []
    for folder, _ in experiments(out):
        with suppress(ConfigError):  # somebody else's file of that name
            plans.append(kept(folder))
    same = {"resources"}
    alike = [
        each for each in plans if each and each.model_dump(exclude=same) == own.plan.model_dump(exclude=same)
    ]
    resources = {name: of for each in alike for name, of in each.resources.items()}
    mine = kept(own.folder)
    return own.plan.model_copy(update={"resources": resources | (mine or own.plan).resources})


def _chosen(path: Path, config: Config, resource: str | None) -> tuple[str, ResourceSection]:
    active = [name for name, section in config.resources.items() if section.mode is Mode.ACTIVE]
    if resource is None:
        if len(active) != 1:
            there = f"give one of {', '.join(active)}" if active else 'none is in mode = "active"'
            raise ConfigError(f"--resource says which resource of {path} to run the experiment on: {there}")
        resource = active[0]
    if resource not in config.resources:
        raise ConfigError(f"{path}: {unknown_name('resource', resource, config.resources)}")
    section = config.resources[resource]
    where = f"{path}: resources.{resource}"
    wrong = []
    if section.mode is not Mode.ACTIVE:
        wrong.append(
            f'{where}.mode: is "{section.mode}", in which nothing is touched; the experiment changes the'
            ' size in half of its blocks: set mode = "active" to allow that'
        )
    sharing = sorted(
        name
        for name, other in config.resources.items()
        if name != resource and section.budget is not None and other.budget == section.budget
    )
    if sharing:
        wrong.append(
            f"{where}.budget: {section.budget!r} is shared with {', '.join(sharing)}, which the experiment"
            " does not steer; give it a max_size instead"
        )
    if section.budget is not None and config.budgets[section.budget].store is not None:
        wrong.append(
            f"{where}.budget: {section.budget!r} is shared with other processes by its store, which the"
            " experiment does not ask; give it a max_size instead"
        )
    if lacking := missing(section.kind, section.options):
        wrong.append(f"{where}: steering it takes {', '.join(lacking)}, which this process lacks")
    if wrong:
        raise ConfigError("\n".join(wrong))
    return resource, section


def _planned(template: Plan, name: str, section: ResourceSection, block: float | None) -> Plan:
    of = template.of(TEMPLATE)
    interval = section.interval
    seconds = block or max(BLOCK_INTERVALS * interval, HOLD_OFFS * section.hold_off)
    if not WASH_IN_INTERVALS * interval <= seconds < inf:
        raise ConfigError(
            f"--block {seconds:g}: give at least {WASH_IN_INTERVALS} intervals of the resource,"
            f" {WASH_IN_INTERVALS * interval:g} s"
        )
    # The options may hold what is nobody's business: the data tell one resource from another by their hash.
    steered = section.model_dump(mode="json", exclude={"options"})
    bed = of.bed | {
        "interval": interval,
        "seconds": seconds,
        "wash_in": max(WASH_IN_SHARE * seconds, WASH_IN_INTERVALS * interval),
        "resource": resource_key(section.kind, section.options),
        "configuration": steered,
    }
    arms = dict(of.arms) | {"steered": f"{section.physics_model}{', tuned online' * section.auto_tune}"}
    changed: dict[str, dict[str, str]] = {}
    if section.objective.size == 0.0:  # then cost may be 0, and has no ratio
        changed[of.primary.name] = {"scale": "difference"}
    if section.kind == "buffer":  # a queue that is kept short drops more: that is how its senders learn of it
        changed["drops"] = {"role": "other"}
    metrics = [metric.model_copy(update=changed.get(metric.name, {})) for metric in of.metrics]
    title = f"{name} ({section.kind}), held and steered"
    fixed = of.model_copy(update={"title": title, "bed": bed, "arms": arms, "metrics": metrics})
    return template.model_copy(update={"resources": {name: fixed}})
