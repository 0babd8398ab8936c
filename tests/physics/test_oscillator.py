"""The plants of the physics tests are themselves right: without a law they do what textbooks say."""

import numpy as np
import pytest

from quantum_control.core.errors import ConfigError
from quantum_control.physics.optomechanical import Optomechanical
from quantum_control.physics.staffing import Staffing
from quantum_control.simulation.oscillator import Oscillator, Particle, seen


def nothing(x, v):
    return 0.0


def test_a_free_oscillator_returns_after_its_period():
    oscillator = Oscillator(step=2.0 * np.pi / 3.0 / 50, frequency=3.0, x=0.7, v=-0.2)
    for _ in range(50):
        oscillator.advance(nothing)
    assert (oscillator.x, oscillator.v) == pytest.approx((0.7, -0.2), abs=1e-12)


def test_a_bath_brings_both_quadratures_to_its_temperature():
    rows = np.zeros(4000)
    oscillator = Oscillator(
        step=0.1, frequency=1.3, damping=0.5, temperature=2.0, x=rows, v=rows, rng=np.random.default_rng(1)
    )
    speed, place = [], []
    for step in range(600):
        oscillator.advance(nothing)
        if step > 200:
            speed.append(np.mean(oscillator.v**2))
            place.append(np.mean((1.3 * oscillator.x) ** 2))
    assert np.mean(speed) == pytest.approx(2.0, rel=0.02)
    assert np.mean(place) == pytest.approx(2.0, rel=0.02)


def test_the_error_is_of_second_order():
    """A linear force -0.4 v on a damped oscillator, whose solution is known."""

    def error(steps):
        oscillator = Oscillator(step=4.0 / steps, frequency=1.0, x=1.0)
        for _ in range(steps):
            oscillator.advance(lambda x, v: 0.4 * v)
        swing = np.sqrt(1.0 - 0.04)
        exact = np.exp(-0.2 * 4.0) * (np.cos(swing * 4.0) + 0.2 / swing * np.sin(swing * 4.0))
        return abs(oscillator.x - exact)

    assert error(40) / error(80) == pytest.approx(4.0, rel=0.1)


def test_a_particle_wanders_as_far_as_its_noise_drives_it():
    particle = Particle(np.zeros(20000), diffusion=0.3, rng=np.random.default_rng(2))
    for _ in range(10):
        particle.advance(0.0)
    assert np.var(particle.x) == pytest.approx(3.0, rel=0.03)


def test_an_order_acts_after_the_delay_and_is_known_before():
    particle = Particle(1.0, delay=2)
    places = []
    for pull in (0.5, 0.0, 0.0):
        particle.advance(pull)
        places.append((particle.x, particle.ordered))
    assert places == [(1.0, 0.5), (1.0, 0.5), (0.5, 0.5)]


@pytest.mark.parametrize("deviation", [-30.0, -1e-9, 0.0, 0.4, 600.0])
def test_a_law_sees_exactly_the_deviation_that_it_is_shown(deviation):
    law = Optomechanical(Staffing(0.0, 0.0), damping=1.0, burst=0.0)
    for shown in (deviation, np.array([deviation, 0.0])):
        force = np.atleast_1d(law.calculate_force(seen(shown, interval=0.5)))
        assert force[0] * 0.5 == pytest.approx(max(deviation, np.log(1e-6)), rel=1e-7)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Oscillator(step=0.0),
        lambda: Oscillator(step=0.1, frequency=-1.0),
        lambda: Oscillator(step=0.1, damping=1.0, temperature=1.0),
        lambda: Oscillator(step=0.1, imprecision=1.0),
        lambda: Particle(0.0, delay=-1),
        lambda: Particle(0.0, imprecision=1.0),
    ],
)
def test_what_cannot_be_simulated_is_refused(make):
    with pytest.raises(ConfigError):
        make()
