"""The exporter before promtool, and before a real Prometheus that scrapes it."""

from __future__ import annotations

import subprocess

import pytest
from core.doubles import Clock, Pool
from integration.prometheus_server import LocalPrometheus, require_prometheus

from quantum_control import QuantumController
from quantum_control.bench.server_process import find_program, wait_until
from quantum_control.core.chain import Pause
from quantum_control.core.errors import SensorError
from quantum_control.monitoring.families import FAMILIES
from quantum_control.monitoring.prometheus import ControllerCollector, export
from quantum_control.sources.prometheus import PrometheusSource

pytestmark = pytest.mark.integration


def stepped(demand):
    clock, pool = Clock(), Pool(10, demand, most=50)
    pause = Pause()
    controller = QuantumController(pool, clock=clock, links=[pause])
    for _ in range(3):
        clock.tick()
        pool.demand += 1.0  # a demand that never moves leaves no prediction to judge
        controller.optimize()
        pause.why = "paused by hand"  # so that there is an intervention to tell of
    return controller


def lint(page):
    promtool = find_program("promtool")
    return subprocess.run([promtool, "check", "metrics"], input=page, capture_output=True, check=False)  # noqa: S603


def test_promtool_has_nothing_to_say():
    require_prometheus("promtool")
    collector = ControllerCollector()
    controllers = [stepped(demand) for demand in (8.0, 12.0)]
    for controller in controllers:
        collector.add(controller)
    checked = lint(collector.exposition())
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def test_promtool_would_have_said_it():
    require_prometheus("promtool")
    checked = lint(b"# TYPE sizeBytes counter\nsizeBytes 1\n")
    assert checked.returncode != 0


def test_a_real_prometheus_reads_every_family_and_forgets_the_resource():
    require_prometheus()
    controller = stepped(8.0)
    with export(controller, port=0) as exporter:
        port = int(exporter.url.split(":")[2].split("/")[0])
        with LocalPrometheus([port]) as server:
            source = PrometheusSource(server.url)

            def size():
                try:
                    return source.query("quantum_control_size")
                except SensorError:
                    return None

            assert wait_until(lambda: size() == controller.size)
            told = {
                family.sample_name
                for family in FAMILIES
                if source.query(f"count({family.sample_name}) or vector(0)") > 0.0
            }
            # Not measured by this resource.
            unknown = {"throughput_per_second", "wait_seconds", "service_seconds", "errors_per_second"}
            unknown |= {"drops_per_second", "figure"}
            assert {family.sample_name for family in FAMILIES} - told == {
                f"quantum_control_{name}" for name in unknown
            }
            exporter.remove("Pool")
            assert wait_until(lambda: size() is None)
            source.close()
