"""What all resources of a daemon share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from quantum_control.config import MetricsSection, OpenTelemetrySection
from quantum_control.core.budget import Budget
from quantum_control.core.journal import Journal
from quantum_control.daemon.audit import AuditLog
from quantum_control.daemon.page.live import LivePage

if TYPE_CHECKING:  # the clients are not needed by who exports nothing
    from quantum_control.monitoring.opentelemetry import OpenTelemetryExporter
    from quantum_control.monitoring.prometheus import Exporter


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all resources of a daemon share."""

    journal: Journal
    audit: AuditLog
    budgets: dict[str, Budget]
    locks: Path
    """Folder of the locks."""
    learned: Path
    """Folder of what laws have learnt."""
    exporters: tuple[Exporter | OpenTelemetryExporter, ...] = ()
    """They tell Prometheus and OpenTelemetry of all that is steered."""
    page: LivePage | None = None
    """Shows it to people."""


def exporter(section: MetricsSection) -> Exporter:
    """Listen for Prometheus.

    Raises
    ------
    ConfigError
        The address cannot be listened at, or prometheus_client is missing.
    """
    from quantum_control.monitoring.prometheus import export

    return export(**section.model_dump())


def pusher(section: OpenTelemetrySection) -> OpenTelemetryExporter:
    """Push to a collector of OpenTelemetry.

    Raises
    ------
    ConfigError
        The endpoint is no URL, or the SDK is missing.
    """
    from quantum_control.monitoring.opentelemetry import export

    return export(**section.model_dump())
