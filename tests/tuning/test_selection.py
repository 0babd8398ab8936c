import itertools

import numpy as np
import pytest

from quantum_control.core.estimation import Estimator
from quantum_control.core.physics import Objective
from quantum_control.core.resource import ResourceState
from quantum_control.physics.coherent import Coherent
from quantum_control.physics.optomechanical import Optomechanical
from quantum_control.simulation.loads import LOADS
from quantum_control.simulation.plants.queues import FluidQueue
from quantum_control.simulation.rollout import rollout
from quantum_control.tuning import selection
from quantum_control.tuning.selection import DWELL, MARGIN, Auto, Selector


def test_it_switches_to_what_is_clearly_cheaper():
    selector = Selector(3, ())
    rng = np.random.default_rng(0)
    for _ in range(300):
        selector.update(np.array([1.2, 1.0, 1.1]) + 0.1 * rng.normal(size=3))
    assert selector.current == 1
    assert selector.switches == 1


def test_it_does_not_switch_for_less_than_the_margin():
    selector = Selector(2, ())
    for _ in range(5000):
        selector.update(np.array([1.0, 1.0 - MARGIN / 2.0]))
    assert selector.current == 0


def test_what_a_switch_must_save_is_a_share_of_what_was_paid_since_the_last():
    """What the dearer option before it has cost makes the next saving neither smaller nor late."""
    selector = Selector(3, ())
    for cost, times in (([10.0, 10.0, 10.0], 1000), ([10.0, 5.0, 5.0], 10), ([10.0, 5.0, 4.9], 60)):
        for _ in range(times):
            selector.update(np.array(cost))
    assert selector.switches == 2
    assert selector.current == 2
    assert selector.gain == pytest.approx(0.02, rel=0.05)


def test_noise_alone_seldom_switches():
    """A fair difference of noise: below 2 standard errors, looked at for 2000 intervals, by 200 rows."""
    selector = Selector(2, (200,))
    rng = np.random.default_rng(1)
    for _ in range(2000):
        selector.update(1.0 + 0.5 * rng.normal(size=(2, 200)))
    # Looking every interval is more than one look; what is bounded is how often it acts on it.
    assert selector.switches.mean() < 2.5


def test_it_dwells_between_switches():
    selector = Selector(2, ())
    switched = []
    for step in range(1000):
        cheap = step // 10 % 2
        if selector.update(np.where(np.arange(2) == cheap, 1.0, 2.0)):
            switched.append(step)
    assert all(later - earlier >= DWELL for earlier, later in itertools.pairwise(switched))


def test_rows_select_for_themselves():
    selector = Selector(2, (2,))
    for _ in range(200):
        selector.update(np.array([[1.0, 2.0], [2.0, 1.0]]))
    assert selector.current.tolist() == [0, 1]


def sizes(law, arrivals):
    estimator = Estimator(anticipate=law.anticipate, delay=0)
    return rollout(
        law,
        FluidQueue(),
        arrivals,
        observe=lambda state: estimator.update(state, state.time, state.commanded),
    ).sizes


@pytest.mark.parametrize("one", [Optomechanical, Coherent])
def test_a_law_that_is_selected_sizes_as_it_does_alone(one, monkeypatch):
    monkeypatch.setattr(selection, "DWELL", np.inf)
    auto = Auto.create(Objective())
    names = [law.name for law in auto.laws]
    weights = {name: [1.0] for name in names}
    auto.recall({"law": "auto", "in_use": one.name, "weights": weights, "levels": {}})
    arrivals = LOADS["bursts"].arrivals(1, seed=4, steps=200)[:, 0]
    size, backlog, together = max(float(arrivals[0]), 1.0), 0.0, []
    estimator = Estimator(anticipate=auto.anticipate, delay=0)
    for step, new in enumerate(arrivals):
        together.append(size)
        demand = backlog + float(new)
        backlog = max(0.0, demand - size)
        state = estimator.update(ResourceState.from_demand(demand, size=size), float(step + 1), size)
        size *= float(np.exp(auto.calculate_force(state)))
    alone = sizes(one.create(Objective()), arrivals[:, None])[:, 0]
    assert together == pytest.approx(alone)


def test_auto_selects_the_parametric_law_for_a_rhythm_and_explains_it():
    auto = Auto.create(Objective())
    assert auto.scores() == {}
    assert auto.law.name == "optomechanical"
    estimator = Estimator(anticipate=auto.anticipate, delay=0)
    size, backlog = 50.0, 0.0
    for step, new in enumerate(LOADS["periodic"].arrivals(1, seed=4, steps=1500)[:, 0]):
        demand = backlog + float(new)
        backlog = max(0.0, demand - size)
        state = estimator.update(ResourceState.from_demand(demand, size=size), float(step), size)
        size = max(1.0, size * float(np.exp(auto.calculate_force(state))))
    assert auto.law.name == "parametric"
    assert auto.explanation.startswith("parametric: ")
    assert "cheaper" in auto.explanation
    scores = auto.scores()
    assert scores["parametric"] == 0.0  # what is in use saves nothing over itself
    assert scores["optomechanical"] < 0.0
    assert scores["coherent"] < 0.0
