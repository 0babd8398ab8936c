"""The daemon's configuration: one TOML or YAML file, checked as a whole before anything is touched."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from quantum_control.core.budget import Budget
from quantum_control.core.errors import ConfigError
from quantum_control.core.physics import Objective
from quantum_control.core.plugins import load
from quantum_control.core.resource import Resource
from quantum_control.core.safety import GuardSettings
from quantum_control.core.secret import Secret

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
"""Names of resources: they become names of files and metrics."""

Seconds = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0.0, lt=1.0)]
Factor = Annotated[float, Field(gt=1.0, allow_inf_nan=False)]
Size = Annotated[int, Field(ge=1)]
Price = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]


class Mode(StrEnum):
    """How far a resource is steered."""

    OBSERVE = "observe"
    """It is measured, and what a law would do at once is recorded; nothing is touched."""
    SHADOW = "shadow"
    """A twin of it is steered and its cost recorded; nothing is touched."""
    ACTIVE = "active"
    """It is steered."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class GuardSection(_Section):
    """How fast and how finely a size may move."""

    slew_up: Factor = 10.0
    """Largest factor of growth per interval."""
    slew_down: Factor = 2.0
    """Largest factor of shrinking per interval."""
    dead_band: Share = 0.0
    """Relative changes smaller than this are not made."""
    hysteresis: Share = 0.0
    """Added to the dead band for a change against the one before."""

    def settings(self) -> GuardSettings:
        """Return what the controller takes."""
        return GuardSettings(**self.model_dump())


class ObjectiveSection(_Section):
    """Prices by which the laws, the report and the roll-back judge; per interval."""

    waiting: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] = 3.0
    """Of one unit of backlog."""
    size: Price = 1.0
    """Of one unit of size."""
    change: Price = 0.3
    """Of one unit of change of size."""

    def prices(self) -> Objective:
        """Return what the controller takes."""
        return Objective(**self.model_dump())


class ResourceSection(_Section):
    """One resource, and how it is steered."""

    kind: str
    """Its type, as plug-ins register it."""
    mode: Mode = Mode.SHADOW
    """How far it is steered."""
    options: Annotated[dict[str, JsonValue], Field(repr=False)] = {}
    """Arguments of its type. Passwords are given as "env:NAME" or "file:PATH"."""
    interval: Annotated[float, Field(ge=0.01, le=86_400.0)] = 1.0
    """Seconds between two steps."""
    physics_model: str = "optomechanical"
    """The law."""
    auto_tune: bool = False
    """Whether the law learns its parameters as it goes."""
    min_size: Size | None = None
    """Smallest size; narrows the bounds that its type has."""
    max_size: Size | None = None
    """Largest size; narrows the bounds that its type has."""
    budget: str | None = None
    """Name of the budget that it shares with others."""
    weight: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] = 1.0
    """Its part of the budget in a shortage, relative to the others'."""
    max_failures: Annotated[int, Field(ge=1)] = 5
    """Failures in a row after which the original size is put back."""
    deadline: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] | None = None
    """Seconds after which an answer of the resource is too old to act on; two intervals if not given."""
    frozen_after: Annotated[int, Field(ge=2)] = 60
    """Measurements in a row, with work waiting and equal to the last digit, after which the size is not
    made smaller: the sensor is frozen, or the resource saturated."""
    hold_off: Seconds = 0.0
    """Seconds from one change to the next."""
    quiet: list[str] = []
    """Times without changes: "22:00-06:00", "sat,sun", "mon-fri 09:00-17:00"; local time."""
    manual_hold: Seconds = 3600.0
    """Seconds for which a size that somebody has set by hand is left alone; 0 does not look for it."""
    roll_back: bool = True
    """Whether the original is put back when steering is significantly worse than it would have been."""
    guard: GuardSection = GuardSection()
    objective: ObjectiveSection = ObjectiveSection()


class BudgetSection(_Section):
    """What several resources may have together."""

    total: Size
    """The sum of their sizes, and the reserve."""
    reserve: Annotated[int, Field(ge=0)] = 0
    """What is left to others."""
    store: Annotated[str | None, Field(repr=False)] = None
    """Where the processes that share it agree, on this host or others: redis://HOST:PORT/0, a connection
    string of PostgreSQL, or where one is kept ("env:NAME", "file:PATH"). Not shared if not given."""
    weight: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] = 1.0
    """Part of this process in a shortage, relative to the others that share it."""
    lease: Annotated[float, Field(gt=0.0, le=15.0, allow_inf_nan=False)] = 15.0
    """Seconds without a word after which what this process held goes to the others."""

    def budget(self, name: str) -> Budget:
        """Make it; `name` is that of the budget in the store.

        Raises
        ------
        ConfigError
            Nothing is left to share, or the store's address is wrong.
        """
        if self.store is None:
            return Budget(self.total, self.reserve)
        from quantum_control.fleet.shares import SharedBudget  # needed by few
        from quantum_control.fleet.stores import store_of

        kept = self.store.startswith(("env:", "file:"))
        store = store_of(Secret("store", self.store).read() if kept else self.store, name)
        left = self.total - self.reserve
        return Budget(SharedBudget(store, left, weight=self.weight, lease=self.lease))


class AuditSection(_Section):
    """The record of every decision."""

    file_bytes: Annotated[int, Field(ge=65_536)] = 16 * 1024 * 1024
    """Size at which a file is closed and the next one begun."""
    files: Annotated[int, Field(ge=2, le=1000)] = 8
    """Files that are kept; the oldest is deleted."""


class LogSection(_Section):
    """What is told as it happens."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """info: one line per change; warning: silence but for trouble."""
    format: Literal["human", "json"] = "human"


class MetricsSection(_Section):
    """Where Prometheus reads the metrics."""

    address: str = "127.0.0.1"
    """At which to listen; this machine's own only, unless told otherwise."""
    port: Annotated[int, Field(ge=0, le=65_535)] = 9464
    """0 is any that is free."""
    certificate: Path | None = None
    """File in PEM, for TLS."""
    key: Path | None = None
    """Its key, likewise."""
    user: str | None = None
    """For basic authentication."""
    password: Annotated[str | None, Field(repr=False)] = None
    """Where it is kept: "env:NAME" or "file:PATH"."""


class OpenTelemetrySection(_Section):
    """Where the same metrics are pushed to by OTLP over HTTP."""

    endpoint: str = "http://127.0.0.1:4318"
    """URL of the collector, without its path /v1/metrics. Headers with a token, certificates and the name
    of the service come from the SDK's own variables, OTEL_EXPORTER_OTLP_HEADERS and the like."""
    every: Annotated[float, Field(ge=0.1, lt=86_400.0)] = 15.0
    """Seconds between two pushes."""


class Config(_Section):
    """All that `quantum-control run` is told."""

    state_directory: Path = Path("/var/lib/quantum_control")
    """Journal of originals, audit log, what was learnt; made if it is missing."""
    runtime_directory: Path = Path("/run/quantum_control")
    """The control socket and the locks: the same for all daemons of a machine."""
    socket_mode: Annotated[str, Field(pattern="^0?[0-7]{3}$")] = "0660"
    """Permissions of the control socket: who may write to it may steer."""
    watchdog: Annotated[float, Field(ge=1.0, le=3600.0)] = 10.0
    """Seconds without a sign of life after which the controller is ended and everything restored."""
    stop_timeout: Annotated[float, Field(ge=0.1, le=300.0)] = 10.0
    """Seconds that restoring may take when it is told to stop."""
    log: LogSection = LogSection()
    audit: AuditSection = AuditSection()
    metrics: MetricsSection | None = None
    """Nowhere if not given."""
    opentelemetry: OpenTelemetrySection | None = None
    """Nowhere if not given."""
    defaults: Annotated[dict[str, JsonValue], Field(repr=False)] = {}
    """What every resource has unless it says otherwise."""
    budgets: dict[str, BudgetSection] = {}
    resources: dict[Annotated[str, Field(pattern=f"^{NAME}$")], ResourceSection] = {}


def resource_type(kind: str) -> type[Resource]:
    """Return the type of resource that is registered as `kind`.

    Raises
    ------
    ConfigError
        There is none, or what is registered is no Resource.
    """
    made = load("resources", kind)
    if not (isinstance(made, type) and issubclass(made, Resource)):
        raise ConfigError(f"resource {kind!r} is registered as {made!r}, which is no Resource")
    return made
