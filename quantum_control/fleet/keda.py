"""`quantum-control keda`: an external scaler for KEDA, sizing Deployments from PromQL with our laws."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from quantum_control.core.errors import ConfigError
from quantum_control.fleet.scaler_fleet import MOST_TARGETS, Fleet
from quantum_control.fleet.scaler_process import SteppingProcess
from quantum_control.fleet.scaler_steps import SETTLE
from quantum_control.monitoring.serving import LOOPBACK, PageServer
from quantum_control.sources.prometheus import PrometheusSource
from quantum_control.terminal import examples

try:
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc
    from grpc_health.v1.health import aio as health
    from grpc_reflection.v1alpha import reflection

    from quantum_control.fleet import keda_externalscaler_pb2 as contract
    from quantum_control.fleet import keda_externalscaler_pb2_grpc as stubs
    from quantum_control.fleet import keda_metrics
    from quantum_control.fleet.keda_service import ExternalScaler
except ImportError as error:
    raise ConfigError(
        f"{error.name or 'grpc'} is missing; install it with: pip install 'quantum-control[kubernetes]'"
    ) from error

_log = logging.getLogger("quantum_control")

PORT = 9465

METRICS_PORT = 9466

GRACE = 5.0
"""Seconds for calls under way when the server stops."""

SWITCH_SECONDS = 0.0005
"""For which a thread may keep the interpreter from another: gRPC hands each call over between two of them.
Ten times that by default."""

SETTLED = 5.0
"""Seconds between looks whether the targets are others than when the collector of garbage last put aside
what stays."""

SERVICE = contract.DESCRIPTOR.services_by_name["ExternalScaler"].full_name


@click.command(
    "keda",
    epilog=examples(
        "keda --prometheus prometheus://prometheus.monitoring:9090",
        "keda --prometheus 'prometheus+https://thanos:443?token=file:/etc/qc/token&ca_file=/etc/qc/ca.pem'",
    ),
)
@click.option(
    "--prometheus",
    "servers",
    multiple=True,
    required=True,
    metavar="URL",
    help="A server that triggers may ask, the first one by default; several may be given.",
)
@click.option("--listen", default=LOOPBACK, show_default=True, help="Address for KEDA's calls.")
@click.option("--port", type=click.IntRange(0, 65535), default=PORT, show_default=True)
@click.option("--metrics-listen", default=LOOPBACK, show_default=True, help="Address for /metrics.")
@click.option("--metrics-port", type=click.IntRange(0, 65535), default=METRICS_PORT, show_default=True)
@click.option("--certificate", type=click.Path(path_type=Path), help="File in PEM: calls use TLS.")
@click.option("--key", type=click.Path(path_type=Path), help="Its key.")
@click.option("--client-ca", type=click.Path(path_type=Path), help="Callers need a certificate of this one.")
@click.option("--settle", type=click.FloatRange(0.0, 60.0), default=SETTLE, show_default=True,
              help="Seconds until what was scraped is stored.")  # fmt: skip
@click.option("--most-targets", type=click.IntRange(1), default=MOST_TARGETS, show_default=True)
def command(
    servers: Sequence[str],
    listen: str,
    port: int,
    metrics_listen: str,
    metrics_port: int,
    certificate: Path | None,
    key: Path | None,
    client_ca: Path | None,
    settle: float,
    most_targets: int,
) -> None:
    """Size Deployments as KEDA's external scaler, until SIGTERM."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    addresses = [PrometheusSource(url).address for url in servers]
    stepping = SteppingProcess(servers, settle)
    fleet = Fleet(addresses, stepping, settle=settle, most=most_targets)
    credentials = _credentials(certificate, key, client_ca)
    pages = PageServer(metrics_listen, metrics_port)
    try:
        asyncio.run(serve(fleet, stepping, listen, port, credentials, pages))
    finally:
        pages.close()


async def serve(
    fleet: Fleet,
    stepping: SteppingProcess,
    listen: str,
    port: int,
    credentials: grpc.ServerCredentials | None,
    pages: PageServer,
) -> None:
    """Answer until SIGTERM or SIGINT; then let calls under way end, and streams, which KEDA opens again.

    Raises
    ------
    ConfigError
        The address cannot be listened at.
    """
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    scaler = ExternalScaler(fleet)
    stubs.add_ExternalScalerServicer_to_server(scaler, server)  # type: ignore[no-untyped-call]
    status = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(status, server)
    reflection.enable_server_reflection(
        (SERVICE, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, reflection.SERVICE_NAME), server
    )
    shown = f"[{listen}]:{port}" if ":" in listen else f"{listen}:{port}"
    try:
        if credentials is None:
            bound = server.add_insecure_port(shown)
        else:
            bound = server.add_secure_port(shown, credentials)
    except RuntimeError as error:
        raise ConfigError(
            f"nothing can be served at {shown}, or the certificate does not fit: {error}"
        ) from error

    sys.setswitchinterval(SWITCH_SECONDS)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    pages.add("/metrics", keda_metrics.page(fleet, scaler.calls))
    stepping.start(fleet)
    await server.start()
    pages.start()
    for name in ("", SERVICE):
        await status.set(name, health_pb2.HealthCheckResponse.SERVING)
    _log.info("KEDA external scaler at port %d, metrics at %smetrics", bound, pages.url)
    tidying = asyncio.create_task(_put_aside(fleet))
    await stop.wait()

    _log.info("stopping")
    tidying.cancel()
    await status.enter_graceful_shutdown()
    scaler.stop()
    await server.stop(GRACE)
    await asyncio.to_thread(stepping.stop)


async def _put_aside(fleet: Fleet) -> None:
    """Keep the collector of garbage from looking through all targets, for which calls would have to wait.

    What stays is put aside once the number of targets has come to rest, after a collection: of ten
    thousand targets one takes some 60 ms. References are counted all the same, so that targets which are
    dropped are freed.
    """
    aside, before = 0, 0
    while True:
        await asyncio.sleep(SETTLED)
        if (now := len(fleet)) == before != aside:
            gc.collect()
            gc.freeze()
            aside = now
        before = now


def _credentials(
    certificate: Path | None, key: Path | None, client_ca: Path | None
) -> grpc.ServerCredentials | None:
    if (certificate is None) != (key is None):
        raise ConfigError("TLS needs both --certificate and --key")
    if certificate is None or key is None:
        if client_ca is not None:
            raise ConfigError("--client-ca needs --certificate and --key")
        return None
    try:
        pair = (key.read_bytes(), certificate.read_bytes())
        roots = None if client_ca is None else client_ca.read_bytes()
    except OSError as error:
        raise ConfigError(f"TLS: {error}") from error
    return grpc.ssl_server_credentials([pair], roots, require_client_auth=roots is not None)
