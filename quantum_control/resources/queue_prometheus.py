"""What a queue has counted, as Prometheus has it from a node_exporter."""

from __future__ import annotations

from dataclasses import replace

from quantum_control.core.errors import ConfigError, SensorError
from quantum_control.resources.netlink import ROOT, Qdisc
from quantum_control.sources.prometheus import PrometheusSource

METRICS = {
    "sent_bytes": "node_qdisc_bytes_total",
    "sent_packets": "node_qdisc_packets_total",
    "drops": "node_qdisc_drops_total",
    "backlog_bytes": "node_qdisc_backlog",
    "backlog_packets": "node_qdisc_current_queue_length",
}
"""Fields of a `Qdisc`, and what node_exporter's collector `qdisc` calls them."""


class NodeExporterCounts:
    """Reads the counts of the queue at the top of an interface; as fresh as the last scrape.

    Parameters
    ----------
    url
        `prometheus://HOST:PORT`, see `PrometheusSource`.
    device
        The interface.
    instance
        Label `instance` of the machine, where Prometheus knows more than one.

    Raises
    ------
    ConfigError
        The URL is wrong, or a client library is missing.
    """

    def __init__(self, url: str, device: str, instance: str | None = None) -> None:
        self._source = PrometheusSource(url)
        self._device = device
        self._instance = instance

    def __call__(self, qdisc: Qdisc) -> tuple[float, Qdisc]:
        """When it was sampled (s), and `qdisc` with the counts of then.

        Raises
        ------
        ConfigError
            `qdisc` is not at the top of its interface: node_exporter has no others.
        SensorError
            A metric is missing or too old, or Prometheus cannot be asked.
        """
        if qdisc.parent != ROOT:
            raise ConfigError(
                f"node_exporter only counts the queue at the top of an interface, not {qdisc} of"
                f" {self._device};"
                " leave metric_source out to count by netlink"
            )
        labels = f'device="{self._device}",kind="{qdisc.kind}"'
        if self._instance is not None:
            labels += f',instance="{self._instance}"'
        wanted = {field: f"{name}{{{labels}}}" for field, name in METRICS.items()}
        wanted["time"] = f"timestamp({METRICS['sent_bytes']}{{{labels}}})"
        try:
            told = self._source.read(wanted)
        except SensorError as error:
            raise SensorError(
                f"{error} (node_exporter counts queues if started with --collector.qdisc)"
            ) from error
        return told["time"], replace(
            qdisc,
            sent_bytes=int(told["sent_bytes"]),
            sent_packets=int(told["sent_packets"]),
            drops=int(told["drops"]),
            backlog_bytes=int(told["backlog_bytes"]),
            backlog_packets=int(told["backlog_packets"]),
        )

    def close(self) -> None:
        """Close the connections to Prometheus."""
        self._source.close()
