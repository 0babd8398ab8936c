"""Memory as a resource: the front of the heaps and groups that can be steered."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from quantum_control.core.errors import ConfigError, GoneError, SensorError
from quantum_control.core.resource import Resource
from quantum_control.resources.front import Front
from quantum_control.sources import hsperfdata
from quantum_control.sources.cgroups import MemoryGroup
from quantum_control.sources.jvm_attach import is_jvm

_WAYS = {
    "jvm": ("jvm_heap", "JvmHeap"),
    "cgroup": ("cgroup_memory", "CgroupMemory"),
    "cpython": ("cpython_gc", "CpythonGc"),
}
"""By the name of the control: module and class."""


class MemoryResource(Front, Resource):
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
        A JVM without readable counters, and a process that may not be looked at, are steered by
        their group only where "cgroup" is asked for.
    options
        As the class that `control` names takes them.

    Raises
    ------
    ConfigError
        The control is unknown, or its own parameters are wrong, or a JVM keeps no counters.
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
        if process_id is not None:
            options["process_id"] = process_id
        if metric_source is not None:
            options["metric_source"] = metric_source
        self._choose("memory", self.control, _WAYS, options)

    @classmethod
    def again(cls, options: Mapping[str, Any], snapshot: Mapping[str, Any]) -> Self:
        """Make it anew from its options to put a snapshot back, whatever has become of the process since.

        A control group may outlast the process that led to it, with the limit
        that was set: it is found by the snapshot.

        Raises
        ------
        GoneError
            The JVM, or the group, has ended, or the JVM was started anew: nothing is left to be put back.
        ConfigError, SensorError
            As for a new one.
        """
        asked = dict(options)
        if "flag" in snapshot:
            asked["control"] = "jvm"
        elif {"file", "version", "pressure"} <= snapshot.keys():
            asked.pop("process_id", None)
            asked["control"] = "cgroup"
            asked["group"] = MemoryGroup(
                int(snapshot["version"]), Path(snapshot["file"]).parent, Path(snapshot["pressure"])
            )
        made = cls(**asked)
        if "flag" in snapshot and made.snapshot()["started"] != snapshot.get("started"):
            made.release()
            raise GoneError(f"{made!r} was started anew since, with a setting of its own")
        return made


def _fitting(process_id: int | None, metric_source: str | None) -> str:
    """The control that suits what is given."""
    if metric_source is not None:
        return "jvm"
    if process_id is None:
        raise ConfigError(
            'MemoryResource() needs process_id=, metric_source="jmx://host:port" or control="cpython"'
        )
    try:
        jvm = is_jvm(process_id)
    except GoneError:
        raise
    except SensorError as error:
        raise SensorError(f'{error}; or give control="cgroup", if its control group is meant') from error
    if not jvm:
        return "cgroup"
    try:
        hsperfdata.read(process_id)
    except GoneError:
        raise
    except SensorError as error:
        raise ConfigError(
            f"process {process_id} is a JVM, but its heap cannot be steered by the attach socket: {error}."
            ' Start it without that option, give metric_source="jmx://host:port", or control="cgroup" if its'
            " control group is meant"
        ) from error
    return "jvm"
