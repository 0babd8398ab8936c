"""What exporters are told of a resource of the daemon, whatever its mode."""

from dataclasses import replace

import pytest
from steered import placed, steps

from quantum_control.config import Mode

pytest.importorskip("prometheus_client", reason="pip install 'quantum-control[prometheus]'")

from quantum_control.monitoring.prometheus import ControllerCollector


@pytest.fixture
def place(tmp_path, monkeypatch):
    with placed(tmp_path, monkeypatch) as place:
        yield place


def test_a_twins_figures_are_marked_through_every_change_of_mode(place):
    collector = ControllerCollector()
    place.around = replace(place.around, exporters=(collector,))
    steering = place.steer("shadow")

    def told():
        """Whether the size is set, and whether the size that is told is the one of the resource."""
        steps(steering, count=5)
        lines = collector.exposition().decode().splitlines()
        figures = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        active, size = (
            float(figures[f'quantum_control_{name}{{resource="web"}}']) for name in ("active", "size")
        )
        return active, size == place.size

    assert told() == (0.0, False)
    steering.ask_mode(Mode.ACTIVE)
    assert told() == (1.0, True)
    steering.ask_mode(Mode.OBSERVE)
    assert told() == (0.0, True)
    steering.ask_mode(Mode.SHADOW)
    assert told() == (0.0, False)
    steering.end()
