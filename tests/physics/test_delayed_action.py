"""How much gain a delay allows, and why the laws measure from the size that is ordered."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantum_control.physics.coherent import Coherent
from quantum_control.physics.optomechanical import Optomechanical
from quantum_control.physics.parametric import Parametric
from quantum_control.physics.staffing import Staffing
from quantum_control.simulation.oscillator import Particle, seen


def trap(gains):
    return Optomechanical(Staffing(0.0, 0.0), damping=gains, burst=0.0, ceiling=1e9)


def swings(law, gains, delay, coordinate, steps):
    """|x| of every step, of a trap that measures from the size that `coordinate` names."""
    particle = Particle(np.full(len(gains), 1e-3), delay=delay)
    places = []
    for _ in range(steps):
        particle.advance(law.calculate_force(seen(getattr(particle, coordinate))))
        places.append(np.abs(particle.x))
    return np.array(places)


@pytest.mark.parametrize("delay", [0, 1, 2, 3])
def test_a_trap_on_the_size_in_force_is_stable_below_2_sin(figure, delay):
    """k < 2 sin(pi/(4d + 2)) for x' = x - k x(d ago); Levin & May, Theor. Popul. Biol. 9, 178 (1976)."""
    limit = 2.0 * np.sin(np.pi / (4 * delay + 2))
    gains = limit * np.linspace(0.95, 1.05, 41)
    swing = swings(trap(gains), gains, delay, "x", steps=90)
    settles = swing[60:].max(axis=0) < swing[30:60].max(axis=0)
    figure(f"largest stable gain, delay {delay}", formula=limit, computed=gains[settles].max(), rel=0.006)
    # One limit: below it all settle, above it none.
    assert settles[: settles.sum()].all()


@pytest.mark.parametrize("delay", [0, 1, 2, 3, 10])
def test_from_the_size_ordered_no_delay_matters(delay):
    """A Smith predictor (1957): for demand that does not answer, stable below 2 at any delay."""
    gains = np.array([0.05, 0.5, 1.0, 1.9])
    assert swings(trap(gains), gains, delay, "ordered", steps=400)[-1].max() < 1e-9


@pytest.mark.parametrize("law", [Optomechanical, Parametric, Coherent])
@pytest.mark.parametrize("delay", [0, 1, 2, 3])
def test_every_law_as_it_comes_settles_at_any_delay(law, delay):
    model = law(Staffing(0.0, 0.0))
    particle = Particle(2.0, delay=delay)
    for _ in range(60):
        particle.advance(model.calculate_force(seen(particle.ordered)))
    assert abs(particle.x) < 1e-9


anything = st.floats(-100.0, 100.0)


@settings(max_examples=300, deadline=None)
@given(
    x=anything,
    v=anything,
    a=anything,
    eta=st.floats(-50.0, 50.0),
    damping=st.floats(0.0, 1.0),
    ceiling=st.floats(0.0, 1.0),
)
def test_the_optomechanical_force_only_takes_energy_out(x, v, a, eta, damping, ceiling):
    """Passive: F x >= 0 and |x - F dt| <= |x|, whatever the motion and the weight of the burst."""
    law = Optomechanical(Staffing(0.0, 0.0), damping=damping, burst=eta, ceiling=ceiling)
    state = seen(x, v, a)
    deviation = law.staffing.deviation(state)
    pull = law.calculate_force(state)
    assert pull * deviation >= 0.0
    assert abs(deviation - pull) <= abs(deviation)


@settings(max_examples=300, deadline=None)
@given(x=anything, v=anything, eta=st.floats(-50.0, 50.0), stiffness=st.floats(0.0, 1.0))
def test_the_parametric_force_only_takes_energy_out(x, v, eta, stiffness):
    law = Parametric(Staffing(0.0, 0.0), stiffness=stiffness, modulation=eta)
    state = seen(x, v)
    deviation = law.staffing.deviation(state)
    pull = law.calculate_force(state)
    assert pull * deviation >= 0.0
    assert abs(deviation - pull) <= abs(deviation)


def largest_late(ceiling, delay, coordinate):
    """Largest |x| late in a run from 42 starts, in a burst as fast as the size is far off (v = x)."""
    law = Optomechanical(Staffing(0.0, 0.0), damping=0.8, burst=4.0, ceiling=ceiling)
    particle = Particle(np.linspace(-2.0, 2.0, 42), delay=delay)
    for _ in range(200):
        x = np.clip(getattr(particle, coordinate), -10.0, 10.0)
        particle.advance(law.calculate_force(seen(x, x)))
    return np.abs(particle.x).max()


@pytest.mark.parametrize("delay", [0, 1, 2, 3])
def test_what_makes_the_quadratic_force_safe_is_the_bound_and_the_predictor(delay):
    """Without the bound it diverges; with it, but blind to what is in flight, it swings for ever."""
    assert largest_late(1.0, delay, "ordered") < 1e-9
    assert largest_late(1e9, delay, "ordered") > 100.0
    if delay > 1:
        assert largest_late(1.0, delay, "x") > 0.1
