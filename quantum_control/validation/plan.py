"""The plan of an experiment: what is measured, compared and left out, fixed before the run."""

from __future__ import annotations

import hashlib
import json
import tomllib
from importlib.resources import files
from math import log, nan
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from quantum_control.core.errors import ConfigError, unknown_name

DEFAULT, OURS, AGAIN = "default", "auto", "default again"
"""Arms of every pair; and the second one of an A/A run, which is the first under another name."""

BEST = "best fixed"
"""The fixed size of least cost, found for the run."""

HELD, STEERED = "held", "steered"
"""Arms on a resource of one's own: its original size, and the law of its configuration."""

WATCHED, UNSTEERED = "watched", "unsteered"
"""The default, made as what is steered is: with a controller that measures and decides, and changes nothing,
and without one. What the control costs is the difference."""

OBSERVED = 6
"""Observations that a pilot has at the least: a test needs as many (`statistics.FEWEST`)."""

Share = Annotated[float, Field(gt=0.0, lt=1.0)]
Count = Annotated[int, Field(ge=1)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Metric(_Section):
    """One figure of a block."""

    name: str
    title: str
    unit: str
    better: Literal["lower", "higher"] = "lower"
    scale: Literal["ratio", "difference"] = "ratio"
    """How two arms are compared; a metric that may be 0 by its difference."""
    role: Literal["primary", "safety", "other"] = "other"
    """Only primary and safety metrics are tested for the record."""
    floor: Annotated[float, Field(ge=0.0)] = 0.0
    """What is less is taken for this."""

    def difference(self, ours: float, other: float) -> float:
        """What is averaged over pairs: logarithm of the ratio, or the difference; nan if there is none."""
        if self.floor > 0.0:  # without one a difference may be of figures below 0
            ours, other = max(ours, self.floor), max(other, self.floor)
        if self.scale == "difference":
            return ours - other
        return log(ours / other) if ours > 0.0 and other > 0.0 else nan


class ResourcePlan(_Section):
    """The experiment on one resource."""

    title: str
    seed: Annotated[int, Field(ge=0)] | None = None
    """Its own, instead of the plan's: where the plan's has been looked at while it was made."""
    stretch: Count
    """Pairs in a row that share their conditions: one observation."""
    phases: Count | None = None
    """Conditions that take turns from stretch to stretch (`Block.phase`), each of which counts as much as the
    others."""
    late: float = float("inf")
    """Seconds by which the load of a block may be late, by its 99th percentile."""
    others: list[str]
    """Arms of which each pair has one, in turns."""
    arms: dict[str, str]
    """What each arm is."""
    bed: dict[str, Any]
    """Settings of the real part."""
    metrics: list[Metric]

    @model_validator(mode="after")
    def _whole(self) -> ResourcePlan:
        if sum(metric.role == "primary" for metric in self.metrics) != 1:
            raise ValueError("needs one primary metric")
        for arm in (self.base, self.ours, *self.others):
            if arm not in self.arms:
                raise ValueError(f"arm {arm!r} is not described in its arms")
        return self

    @property
    def base(self) -> str:
        """Arm that all others are compared with."""
        return HELD if HELD in self.arms else DEFAULT

    @property
    def ours(self) -> str:
        """Arm that the experiment is about."""
        return STEERED if HELD in self.arms else OURS

    @property
    def again(self) -> str:
        """The base under another name, for an A/A run."""
        return f"{self.base} again"

    @property
    def primary(self) -> Metric:
        """What the experiment is about."""
        return next(metric for metric in self.metrics if metric.role == "primary")

    @property
    def tested(self) -> list[Metric]:
        """Metrics whose tests are corrected for each other."""
        return [metric for metric in self.metrics if metric.role != "other"]


class Plan(_Section):
    """All that is fixed before a run."""

    pairs: Count
    alpha: Share
    seed: Annotated[int, Field(ge=0)]
    resamples: Count
    power: Share
    pilot: Annotated[int, Field(ge=0)]
    """Pairs before the run, at the least, by whose spread its power is computed; 0 for none."""
    warm_up: Annotated[int, Field(ge=0)]
    """Turns that are played to every arm and forgotten at each start, each of another stretch."""
    window: Annotated[int, Field(ge=6)]
    """Observations in a test of an A/A run."""
    trajectories: Count
    """One pair in so many keeps its course."""
    wanted: Share
    """Relative change that the power analysis asks for."""
    compared: list[str]
    """Arms that `auto` is tested against."""
    resources: dict[str, ResourcePlan]

    def of(self, resource: str) -> ResourcePlan:
        """Plan of one resource.

        Raises
        ------
        ConfigError
            It has none.
        """
        if resource not in self.resources:
            raise ConfigError(unknown_name("resource of the plan", resource, self.resources))
        return self.resources[resource]

    def seed_of(self, resource: str) -> int:
        """Seed of the random numbers of one resource's experiment."""
        own = self.of(resource).seed
        return self.seed if own is None else own

    def pilot_pairs(self, resource: str) -> int:
        """Pairs of a resource's pilot: enough of them for `OBSERVED` observations."""
        return max(self.pilot, OBSERVED * self.of(resource).stretch) if self.pilot else 0

    def fingerprint(self, resource: str) -> str:
        """SHA-256 of all that the plan says of one resource; what it says of others may change."""
        of = self.of(resource).model_dump(mode="json", exclude_none=True)
        said = self.model_dump(mode="json", exclude={"resources"}) | of
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()

    @property
    def family(self) -> int:
        """Number of tests that are corrected for each other."""
        return len(self.compared) * sum(len(each.tested) for each in self.resources.values())


def committed() -> str:
    """Text of the plan that comes with the package."""
    return (files("quantum_control.validation") / "plan.toml").read_text(encoding="utf-8")


def read_plan(text: str, where: str = "the plan") -> Plan:
    """Read and check a plan.

    Raises
    ------
    ConfigError
        It is no plan; the message says what is wrong.
    """
    try:
        return Plan.model_validate(tomllib.loads(text))
    except ValidationError as error:
        told = [
            f"{where}: {'.'.join(map(str, each['loc']))}: {each['msg']}"
            for each in error.errors(include_url=False)
        ]
        raise ConfigError("\n".join(told)) from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where}: {error}") from error


def plan_file(path: Path) -> str:
    """Text of a plan of one's own.

    Raises
    ------
    ConfigError
        It cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--plan {path}: {error}") from error
