"""The four main loads stand where earlier experiments with such loads stood."""

import pytest

from quantum_control.simulation.loads import load
from quantum_control.simulation.peers import Ewma, best_fixed, foresight, known_intensity
from quantum_control.simulation.plants import FluidQueue
from quantum_control.simulation.rollout import rollout

FIGURES = {
    # foresight/fixed, EWMA/foresight, known intensity/foresight
    "bursts": (0.456, 1.44, 1.24),
    "periodic": (0.594, 1.20, 1.13),
    "steps": (0.489, 1.18, 1.11),
    "heavy_tail": (0.457, 1.72, 1.50),
}
RUNS = 300


@pytest.mark.parametrize(("name", "figures"), FIGURES.items())
def test_a_load_is_as_hard_as_it_was(name, figures):
    traffic = load(name).draw(RUNS, seed=2)
    bound = foresight(traffic.arrivals).mean()
    fixed = best_fixed(traffic.arrivals)[1].mean()
    ewma = rollout(Ewma(), FluidQueue(), traffic.arrivals, smallest=1e-6).cost().mean()
    known = known_intensity(traffic.arrivals, traffic.intensity).mean()
    # Job sizes with an exponent of 1.67 let the mean over runs converge slowly.
    loose = 0.06 if name == "heavy_tail" else 0.03
    assert bound / fixed == pytest.approx(figures[0], rel=loose)
    assert ewma / bound == pytest.approx(figures[1], rel=0.03)
    assert known / bound == pytest.approx(figures[2], rel=0.03)
