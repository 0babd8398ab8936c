"""Memory as a resource: the front of the heaps and groups that can be steered."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import TracebackType
from typing import Any, Protocol, Self, cast

from quantum_control.core.errors import ConfigError, SensorError, unknown_name
from quantum_control.core.resource import Resource, ResourceState
from quantum_control.sources import hsperfdata

_WAYS = {
    "jvm": ("jvm_heap", "JvmHeap"),
    "cgroup": ("cgroup_memory", "CgroupMemory"),
    "cpython": ("cpython_gc", "CpythonGc"),
}
"""By the name of the control: module and class."""


class _Steered(Protocol):
    """What the front asks of the classes behind it, besides what a resource must have."""

    def snapshot(self) -> dict[str, object]: ...

    def restore(self, snapshot: Mapping[str, object], /) -> None: ...

    def release(self) -> None: ...


class MemoryResource(Resource):
    """Steers memory: a JVM's heap, a control group's limit, or CPython's own collector.

    Parameters
    ----------
    process_id
        Whose memory; not needed for "cpython", nor for a JVM that is reached over JMX.
    metric_source
        "jmx://host:port" for a JVM.
    control
        "jvm" (`JvmHeap`), "cgroup" (`CgroupMemory`) or "cpython" (`CpythonGc`).
        By default "jvm" where there is a `metric_source`, or `process_id` is a JVM; else "cgroup".
    options
        As the class that `control` names takes them.

    Raises
    ------
    ConfigError
        The control is unknown, or its own parameters are wrong.
    SensorError
        The process or the JVM cannot be reached.

    What it measures and sets is the chosen class's; an instance of it is `steered`.
    As a context manager it calls `release()` at the end.
    """

    def __init__(
        self,
        process_id: int | None = None,
        metric_source: str | None = None,
        control: str | None = None,
        **options: Any,
    ) -> None:
        self.control = control if control is not None else _fitting(process_id, metric_source)
        if self.control not in _WAYS:
            raise ConfigError(unknown_name("control", self.control, _WAYS))
        if process_id is not None:
            options["process_id"] = process_id
        if metric_source is not None:
            options["metric_source"] = metric_source
        module, kind = _WAYS[self.control]
        chosen = getattr(import_module(f"quantum_control.resources.{module}"), kind)
        try:
            self.steered: Resource = chosen(**options)
        except TypeError as error:
            raise ConfigError(f"MemoryResource(control={self.control!r}): {error}") from error
        self.min_size = self.steered.min_size
        self.max_size = self.steered.max_size
        self.unit = self.steered.unit

    def measure_state(self) -> ResourceState:
        """As the chosen class does."""
        return self.steered.measure_state()

    def apply_control(self, new_size: int) -> None:
        """As the chosen class does."""
        self.steered.apply_control(new_size)

    def get_metrics(self) -> dict[str, float]:
        """As the chosen class does."""
        return self.steered.get_metrics()

    def snapshot(self) -> dict[str, object]:
        """The whole original setting, as the chosen class has it."""
        return cast(_Steered, self.steered).snapshot()

    def restore(self, snapshot: Mapping[str, object]) -> None:
        """Put a snapshot back, as the chosen class does."""
        cast(_Steered, self.steered).restore(snapshot)

    def release(self) -> None:
        """Let go of what is steered; for after `stop()`."""
        cast(_Steered, self.steered).release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def __repr__(self) -> str:
        return f"<MemoryResource: {self.steered!r}>"


def _fitting(process_id: int | None, metric_source: str | None) -> str:
    """The control that suits what is given."""
    if metric_source is not None:
        return "jvm"
    if process_id is None:
        raise ConfigError(
            'MemoryResource() needs process_id=, metric_source="jmx://host:port" or control="cpython"'
        )
    try:
        hsperfdata.read(process_id)
    except SensorError:
        return "cgroup"
    return "jvm"
