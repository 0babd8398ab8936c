"""A queue whose counts come from a Prometheus that scrapes a node_exporter; faults from a fake one."""

from __future__ import annotations

import json
import re
import socket
import sys
import threading

import pytest
from integration.flood import Flood
from integration.host_network import require_namespaces
from integration.prometheus_server import LocalPrometheus, require_prometheus
from sources.fake_prometheus import FakePrometheus, vector

from quantum_control.bench.network_bed import BOTTLENECK, NetworkBed
from quantum_control.bench.server_process import find_program, wait_until
from quantum_control.core.controller import QuantumController
from quantum_control.core.errors import ConfigError, SensorError
from quantum_control.core.safety import GuardSettings
from quantum_control.resources.buffer import BufferResource
from quantum_control.resources.queue_prometheus import NodeExporterCounts
from quantum_control.resources.queue_site import QueueSite

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("kernel")]

PART = re.compile(r'label_replace\((.*?)\n, "(\w+)", "(\w+@?)"')


TARGET = 0.1

ACTIVATED = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ |= {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Becomes a program that is handed a listening socket, as by systemd."""


@pytest.fixture
def scraped(bed):
    """URL of a Prometheus that scrapes the node_exporter of the router.

    The program and what it counts are inside of the router's namespace, its port is
    outside: a socket stays in the namespace in which it was made.
    """
    program = "prometheus-node-exporter"
    require_prometheus(program)
    require_prometheus()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        command = [sys.executable, "-c", ACTIVATED, str(listening.fileno()), find_program(program)]
        options = ["disable-defaults", "qdisc", "netdev"]
        command += [f"--collector.{option}" for option in options]
        running = bed.router.start([*command, "--web.systemd-socket"], keep=[listening.fileno()])
        port = listening.getsockname()[1]
    with LocalPrometheus([port]) as server:
        resource = BufferResource(BOTTLENECK, server.url, netns=bed.netns)
        try:
            assert wait_until(lambda: running.poll() is not None or measured(resource))
            assert running.poll() is None, "node_exporter has ended"
        finally:
            resource.release()
        yield server.url


def measured(resource):
    """Whether a measurement succeeds."""
    try:
        resource.measure_state()
    except SensorError:
        return False
    return True


def test_figures_of_a_real_node_exporter_are_those_of_the_kernel(bed, scraped):
    with Flood(bed, excess=2.0):
        assert wait_until(lambda: counted(bed)["drops"] > 0)
    assert wait_until(lambda: counted(bed)["backlog"] == 0)
    kernel = counted(bed)
    site = QueueSite(BOTTLENECK, None, False, bed.netns)
    qdisc, _ = site.read()
    site.close()
    counts = NodeExporterCounts(scraped, BOTTLENECK)
    try:
        assert wait_until(lambda: counts(qdisc)[1].sent_bytes == kernel["bytes"])
        _, last = counts(qdisc)
    finally:
        counts.close()
    assert (last.sent_packets, last.drops) == (kernel["packets"], kernel["drops"])
    assert (last.backlog_bytes, last.backlog_packets) == (0, 0)


def test_the_limit_follows_the_rate_by_a_real_node_exporter(bed, scraped):
    found = bed.queue_limit()
    with BufferResource(BOTTLENECK, scraped, netns=bed.netns, target_seconds=TARGET) as resource, Flood(bed):
        controller = QuantumController(
            resource, physics_model="optomechanical", interval=0.25, guard=GuardSettings(slew_down=10.0)
        )
        pause = threading.Event()

        def comes_to(rate, tries=80):
            full = rate / 8.0 * TARGET
            for _ in range(tries):
                if 0.85 * full < controller.optimize().allowed < 1.2 * full:
                    return True
                pause.wait(0.25)
            return False

        for rate in (10e6, 30e6):
            bed.set_rate(rate)
            assert comes_to(rate), controller.decisions
            assert bed.queue_limit() == controller.size
        assert controller.failures == 0
        controller.stop()
    assert bed.queue_limit() == found


def counted(bed):
    """What `tc` says of the bottleneck."""
    told = bed.router.run("tc", "-s", "-j", "qdisc", "show", "dev", BOTTLENECK, "root")
    (one,) = json.loads(told)
    return one


class Exporter:
    """Answers with `values` by the name of the metric; one that is not there has no series."""

    def __init__(self):
        self.time = 1000.0
        self.values = dict.fromkeys(
            ("bytes_total", "packets_total", "drops_total", "backlog", "current_queue_length"), 0.0
        )
        self.labels = set()

    def __call__(self, query):
        series = []
        for expression, label, mark in PART.findall(query):
            self.labels |= set(re.findall(r"\{.*\}", expression))
            name = re.search(r"node_qdisc_(\w+)", expression)[1]
            if name in self.values:
                value = self.time if expression.startswith("timestamp") else self.values[name]
                series.append(({label: mark}, value))
        return 200, vector(*series, now=self.time)


@pytest.fixture
def exporter():
    return Exporter()


@pytest.fixture
def url(exporter):
    server = FakePrometheus(exporter)
    yield server.url
    server.close()


@pytest.fixture
def bed():
    require_namespaces()
    with NetworkBed(10e6) as bed:
        yield bed


def test_rates_are_those_between_scrapes_not_between_questions(bed, exporter, url):
    with BufferResource(BOTTLENECK, url, netns=bed.netns, target_seconds=0.1) as resource:
        resource.measure_state()
        exporter.time += 15.0
        exporter.values |= {"bytes_total": 15e6, "backlog": 60_000.0, "drops_total": 30.0}
        for _ in range(2):
            resource.measure_state()
            assert resource.get_metrics()["sent"] == 1e6
            assert resource.get_metrics()["drops"] == 2.0
        exporter.time += 15.0
        exporter.values["bytes_total"] += 15e6
        assert resource.measure_state().demand == pytest.approx(100_000.0)
        assert exporter.labels == {f'{{device="{BOTTLENECK}",kind="tbf"}}'}


def test_a_metric_that_is_missing_is_named_with_what_to_do(bed, exporter, url):
    del exporter.values["backlog"]
    with BufferResource(BOTTLENECK, url, netns=bed.netns) as resource:
        with pytest.raises(SensorError, match=r"node_qdisc_backlog.*--collector.qdisc"):
            resource.measure_state()
        resource.apply_control(50_000)
    assert bed.queue_limit() == 50_000


def test_of_several_machines_one_is_chosen_by_its_instance(bed, exporter, url):
    with BufferResource(BOTTLENECK, url, netns=bed.netns, instance="a:9100") as resource:
        resource.measure_state()
    assert 'instance="a:9100"' in exporter.labels.pop()


def test_a_leaf_is_not_counted_by_node_exporter(bed, url):
    bed.router.run("tc", "qdisc", "add", "dev", BOTTLENECK, "parent", "1:1", "handle", "10:", "pfifo")
    match = "only counts the queue at the top"
    with (
        BufferResource(BOTTLENECK, url, netns=bed.netns) as resource,
        pytest.raises(ConfigError, match=match),
    ):
        resource.measure_state()


def test_a_url_of_another_kind_is_refused_and_nothing_is_changed(bed):
    with pytest.raises(ConfigError, match="prometheus://HOST:PORT"):
        BufferResource(BOTTLENECK, "ftp://localhost", netns=bed.netns)
