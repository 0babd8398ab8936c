"""What all resources of a daemon share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

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
