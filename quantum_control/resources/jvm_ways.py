"""Which way leads to a JVM: what every JVM on this machine offers, or JMX."""

from __future__ import annotations

from importlib import import_module

from quantum_control.core.errors import ConfigError
from quantum_control.core.loopback import is_loopback
from quantum_control.resources.jvm_local import LocalJvm
from quantum_control.resources.jvm_reading import Jvm
from quantum_control.resources.reading import positive_int
from quantum_control.sources.jmx import JmxAddress


def open_jvm(process_id: int | None, metric_source: str | None) -> Jvm:
    """Open the way to a JVM: JMX where a source is given, else what every JVM on this machine offers.

    Raises
    ------
    ConfigError
        Neither is given, the source is no "jmx://host:port", or JPype is not installed.
    SensorError
        The JVM cannot be reached.
    """
    pid = None if process_id is None else positive_int("process_id", process_id)
    if metric_source is not None:
        module = import_module("quantum_control.resources.jvm_remote")
        jvm: Jvm = module.RemoteJvm(metric_source, pid)
        return jvm
    if pid is None:
        raise ConfigError('give process_id=, or metric_source="jmx://host:port"')
    return LocalJvm(pid)


def may_be_elsewhere(process_id: int | None, metric_source: str | None) -> bool:
    """Whether what these lead to may be on another machine, which runs on when this one starts anew."""
    if process_id is not None or metric_source is None:
        return False
    return not is_loopback(JmxAddress(metric_source).host)
