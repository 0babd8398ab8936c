"""A real daemon that pushes to a receiver of OTLP."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("opentelemetry.sdk.metrics", reason="pip install 'quantum-control[opentelemetry]'")

sys.path.insert(0, str(Path(__file__).parents[1] / "daemon"))

from daemons import Place, wait_for
from monitoring.otlp_receiver import Receiver

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def changed(receiver):
    told = receiver.values("quantum_control.decisions")
    return told.get((("outcome", "changed"), ("resource", "web")), 0.0)


def test_the_daemon_pushes_what_it_steers(place):
    path = place.lively("web")
    with Receiver() as receiver:
        place.write(f'[opentelemetry]\nendpoint = "{receiver.endpoint}"\nevery = 0.1\n')
        with place.daemon() as process:
            wait_for(lambda: changed(receiver) > 0.0)
            (info,) = receiver.values("quantum_control.resource_info")
            assert dict(info)["resource"] == "web"
            assert dict(info)["model"] == "optomechanical"
            process.terminate()
            assert process.wait(60) == 0
        assert receiver.service() == "quantum_control"
    assert path.read_text(encoding="ascii") == "10"


def test_a_collector_that_is_away_keeps_the_daemon_from_nothing(place):
    path = place.lively("web")
    place.write('[opentelemetry]\nendpoint = "http://127.0.0.1:9"\nevery = 0.1\n')
    with place.daemon() as process:
        wait_for(lambda: path.read_text(encoding="ascii") != "10")
        process.terminate()
        assert process.wait(60) == 0
    assert path.read_text(encoding="ascii") == "10"
