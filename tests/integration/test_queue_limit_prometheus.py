"""A queue whose counts come from a Prometheus with node_exporter's names."""

from __future__ import annotations

import re

import pytest
from integration.host_network import require_namespaces
from sources.fake_prometheus import FakePrometheus, vector

from quantum_control.bench.network_bed import BOTTLENECK, NetworkBed
from quantum_control.core.errors import ConfigError, SensorError
from quantum_control.resources.buffer import BufferResource

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("kernel")]

PART = re.compile(r'label_replace\((.*?)\n, "(\w+)", "(\w+@?)"')


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
