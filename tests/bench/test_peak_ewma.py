"""What steers weights beside ours."""

from math import exp

import pytest

from quantum_control.bench import steering
from quantum_control.bench.steering import PeakEwma
from quantum_control.resources.balancer import FULL_WEIGHT, BackEnd, Reading


class Told:
    """A balancer that returns one reading after the other, and keeps what is written."""

    def __init__(self, *readings):
        self._readings = iter(readings)
        self.written = []

    def read(self):
        return next(self._readings)

    def write(self, weights):
        self.written.append(weights)


def reading(**ended_and_under_way):
    return Reading(
        {
            name: BackEnd(1, ended + under_way, ended, 0, under_way)
            for name, (ended, under_way) in ended_and_under_way.items()
        }
    )


@pytest.fixture
def steered(monkeypatch):
    def make(*readings, memory=10.0):
        balancer = Told(*readings)
        monkeypatch.setattr(steering, "open_balancer", lambda url: balancer)
        peer = PeakEwma("made up", 1.0, memory)
        for _ in readings[1:]:
            peer.step()
        return balancer.written

    return make


def test_a_latency_is_what_is_under_way_at_both_ends_over_what_has_ended(steered):
    (weights,) = steered(reading(a=(0, 2), b=(0, 2)), reading(a=(10, 0), b=(5, 4)))
    costs = {"a": 0.1 * 1.0, "b": 0.6 * 5.0}
    assert weights == {"a": FULL_WEIGHT, "b": round(FULL_WEIGHT * costs["a"] / costs["b"])}


def test_a_peak_is_taken_at_once_and_forgotten_with_the_memory(steered):
    calm, memory = [reading(a=(10 * n, 1), b=(10 * n, 1)) for n in range(4)], 2.0
    peak = [reading(a=(10 * n - 5, 1), b=(10 * n, 1)) for n in (2, 3)]
    *_, high, low = steered(calm[0], calm[1], *peak, memory=memory)
    assert high == {"a": round(FULL_WEIGHT / 2), "b": FULL_WEIGHT}
    latency = 0.2 + (1.0 - exp(-1.0 / memory)) * (0.1 - 0.2)
    assert low == {"a": round(FULL_WEIGHT * 0.1 / latency), "b": FULL_WEIGHT}


def test_nothing_ended_means_that_it_took_the_interval_at_least(steered):
    (weights,) = steered(reading(a=(0, 1), b=(0, 1)), reading(a=(1, 1), b=(0, 1)))
    assert weights == {"a": FULL_WEIGHT, "b": FULL_WEIGHT}
