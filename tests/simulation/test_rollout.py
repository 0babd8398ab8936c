"""Rollouts: what is measured, decided and charged, and in which order."""

import numpy as np
import pytest

from quantum_control.core.resource import ResourceState
from quantum_control.simulation.accounting import cost_of_sizes
from quantum_control.simulation.loads import load
from quantum_control.simulation.peers import Ewma, Fixed
from quantum_control.simulation.peers.base import Peer
from quantum_control.simulation.plants import DropTailBuffer, FluidQueue
from quantum_control.simulation.rollout import rollout


class Follow(Peer):
    """Wants what was just there, and remembers what it was shown."""

    def __init__(self):
        self.seen: list[ResourceState] = []

    def wanted_size(self, state):
        self.seen.append(state)
        return state.demand


def test_a_size_is_decided_from_what_came_before_it():
    arrivals = np.array([[10.0], [20.0], [5.0], [5.0]])
    episode = rollout(Follow(), FluidQueue(), arrivals, size=10.0)
    np.testing.assert_allclose(episode.sizes[:, 0], [10.0, 10.0, 20.0, 15.0])
    np.testing.assert_allclose(episode.demands[:, 0], [10.0, 20.0, 15.0, 5.0])


def test_the_delay_of_the_plant_comes_on_top():
    arrivals = np.array([[10.0], [20.0], [5.0], [5.0]])
    episode = rollout(Follow(), FluidQueue(delay=1), arrivals, size=10.0)
    np.testing.assert_allclose(episode.sizes[:, 0], [10.0, 10.0, 10.0, 20.0])


def test_a_law_is_shown_flow_and_backlog_apart_and_the_size_ordered():
    law = Follow()
    rollout(law, FluidQueue(delay=1), np.array([[10.0], [20.0], [5.0]]), size=10.0)
    assert [float(state.flow[0]) for state in law.seen] == [10.0, 20.0, 5.0]
    assert [float(state.backlog[0]) for state in law.seen] == [0.0, 10.0, 5.0]
    assert [float(state.commanded[0]) for state in law.seen] == pytest.approx([10.0, 10.0, 20.0])


def test_the_cost_of_a_queue_is_that_of_its_sizes():
    arrivals = load("bursts").arrivals(20, seed=1, steps=200)
    episode = rollout(Ewma(), FluidQueue(), arrivals)
    np.testing.assert_allclose(episode.cost(), cost_of_sizes(arrivals, episode.sizes))


def test_bounds_hold():
    arrivals = load("heavy_tail").arrivals(5, seed=1, steps=200)
    episode = rollout(Ewma(), FluidQueue(), arrivals, smallest=40.0, largest=60.0)
    assert episode.sizes.min() == 40.0
    assert episode.sizes.max() == 60.0


def test_losses_are_kept():
    episode = rollout(Fixed(5.0), DropTailBuffer(rate=10.0), np.full((3, 2), 20.0), size=5.0)
    np.testing.assert_allclose(episode.lost, [[5.0, 5.0], [10.0, 10.0], [10.0, 10.0]])


def test_an_estimator_may_stand_between_measurement_and_law():
    shown = []

    def observe(state):
        shown.append(state)
        return state

    rollout(Fixed(5.0), FluidQueue(), np.full((4, 1), 3.0), observe=observe)
    assert [state.time for state in shown] == [1.0, 2.0, 3.0, 4.0]
