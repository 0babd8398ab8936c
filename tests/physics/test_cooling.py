"""Published results on damping and cooling, out of the very laws that steer sizes.

The law is the force field of a mechanical plant. Where the law acts on
velocity (drag, cold damping), the velocity is the coordinate that it is shown
as its deviation, with no bound on the force; where it acts on position, the
position is.
"""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import erfc

from quantum_control.physics.optomechanical import DAMPING, GATE, Optomechanical
from quantum_control.physics.parametric import Parametric
from quantum_control.physics.staffing import Staffing
from quantum_control.simulation.oscillator import Oscillator, seen

UNBOUND = 1e9
"""A ceiling that nothing reaches."""


def drag(burst):
    """The burst force alone: F = burst * v^2 (1 + a), against v."""
    law = Optomechanical(Staffing(0.0, 0.0), damping=0.0, burst=burst, ceiling=UNBOUND)
    return lambda v, a=0.0: law.calculate_force(seen(v, v, a))


def trap(gain):
    """The trap alone, shown a velocity: F = gain * v."""
    law = Optomechanical(Staffing(0.0, 0.0), damping=gain, burst=0.0, ceiling=UNBOUND)
    return lambda x, v: law.calculate_force(seen(v))


def modulated(eta):
    """Parametric without a lock: F = (1 + eta x v) x, a spring of w = 1 and the feedback on its stiffness."""
    law = Parametric(Staffing(0.0, 0.0), modulation=eta, ceiling=UNBOUND)
    return lambda x, v: law.calculate_force(seen(x, v))


# ---- quadratic drag: v' = -c v |v| -------------------------------------------------------------


def test_the_burst_force_is_quadratic_drag(figure):
    """v = v0/(1 + c v0 t), x = ln(1 + c v0 t)/c; Landau & Lifshitz, Mechanics, par. 25; c .7, v0 2, t 10."""
    force = drag(0.7)
    particle = Oscillator(step=0.005, v=2.0)
    for _ in range(2000):
        particle.advance(lambda x, v: force(v))
    figure("quadratic drag, velocity", formula=2.0 / 15.0, computed=particle.v, rel=1e-4)
    figure("quadratic drag, way", formula=np.log(15.0) / 0.7, computed=particle.x, rel=1e-4)


def test_the_full_formula_with_the_acceleration_that_it_causes(figure):
    """F = c v^2 (1 + a) with a = v' = -F: v' = -c v^2/(1 + c v^2), so 1/(c v) - v = t + 1/(c v0) - v0.

    Feeding the last acceleration back converges where c v^2 < 1: v0 is 1.
    """
    force = drag(0.7)
    particle = Oscillator(step=0.002, v=1.0)
    acceleration = 0.0
    for _ in range(5000):
        before = particle.v
        particle.advance(partial(lambda a, x, v: force(v, a), acceleration))
        acceleration = (particle.v - before) / 0.002
    since = 10.0 + 1.0 / 0.7 - 1.0
    exact = (np.sqrt(since**2 + 4.0 / 0.7) - since) / 2.0
    figure("v²(1 + a) with its own a", formula=exact, computed=particle.v, rel=1e-3)


def test_an_oscillator_under_quadratic_drag(figure):
    """1/A_n - 1/A_0 = 8 b n/3 (averaging); (1 + 2bA)e^(-2bA) = (1 - 2bA')e^(2bA') for every half-cycle."""
    b, cycles = 0.05, 100
    force = drag(b)
    oscillator = Oscillator(step=2.0 * np.pi / 200, frequency=1.0, x=1.0)
    turns = [1.0]
    while len(turns) < 2 * cycles + 1:
        v = oscillator.v
        oscillator.advance(lambda x, v: force(v))
        if v * oscillator.v < 0.0:  # at a turn the energy is all in the spring
            turns.append(float(np.hypot(oscillator.x, oscillator.v)))
    drop = 1.0 / turns[-1] - 1.0
    figure(
        "oscillator with quadratic drag, 100 cycles", formula=8.0 * b * cycles / 3.0, computed=drop, rel=2e-3
    )
    left = (1.0 + 2.0 * b) * np.exp(-2.0 * b)
    right = (1.0 - 2.0 * b * turns[1]) * np.exp(2.0 * b * turns[1])
    figure("its half-cycle invariant", formula=left, computed=right, rel=1e-4)


def test_drag_is_strong_where_motion_is_fast_and_vanishes_where_it_is_slow():
    """Why there must be a trap as well: a steady deviation is never left by it."""
    force = drag(1.0)
    speeds = np.array([1e-3, 1e-2, 1e-1, 1.0])
    assert force(speeds) == pytest.approx(speeds**2)
    steady = Optomechanical(Staffing(0.0, 0.0), damping=0.0).calculate_force(seen(0.5, 0.0))
    assert steady == 0.0


@pytest.mark.parametrize(("snr", "acts"), [(0.0, False), (0.9 * GATE, False), (-1.1 * GATE, True)])
def test_a_motion_within_its_own_noise_is_not_squared(snr, acts):
    """Noise has no direction, but its square would have one."""
    law = Optomechanical(Staffing(0.0, 0.0), damping=0.0, ceiling=UNBOUND)
    force = law.calculate_force(replace(seen(0.3, 0.5), snr=snr))
    assert force == pytest.approx(0.25 if acts else 0.0)


@pytest.mark.parametrize(("ratio", "overshoot"), [(DAMPING, 0.01516), (0.5, 0.16303)])
def test_a_damping_ratio_of_0_8_overshoots_a_little(figure, ratio, overshoot):
    """Overshoot exp(-pi z/sqrt(1 - z^2)) of x'' + 2 z x' + x = 0 after a step; Franklin et al., ch. 3."""
    damped = trap(2.0 * ratio)
    oscillator = Oscillator(step=0.005, frequency=1.0, x=-1.0)
    peak = 0.0
    for _ in range(2000):
        oscillator.advance(damped)
        peak = max(peak, oscillator.x)
    assert np.exp(-np.pi * ratio / np.sqrt(1.0 - ratio**2)) == pytest.approx(overshoot, abs=5e-6)
    figure(f"overshoot at damping ratio {ratio:g}", formula=overshoot, computed=peak, rel=5e-3)


# ---- cold damping with a noisy measurement -----------------------------------------------------

IMPRECISION = 1e-4
"""A = k w0 S_xn/(4 T0 Q), as the velocity noise S: A = g S/(2 T0)."""

GAINS = (5.0, 50.0, 99.005, 300.0)
RUNS = 300


@pytest.fixture(scope="module")
def cold_damping():
    """Mean temperature, and the spectra at resonance of the mode and of the sensor in the loop, at each gain.

    The bath's damping is scaled so that g(1 + gain) is .6, and every gain settles as fast.
    """
    gain = np.repeat(GAINS, RUNS)
    bath = 0.6 / (1.0 + gain)
    feedback = trap(gain * bath)
    rows = np.zeros(len(gain))
    oscillator = Oscillator(
        step=2.0 * np.pi / 64.0,
        frequency=1.0,
        damping=bath,
        temperature=1.0,
        imprecision=2.0 * IMPRECISION / bath,
        x=rows,
        v=rows,
        rng=np.random.default_rng(3),
    )
    settle, periods = 4 * 64, 60
    heat = np.zeros_like(rows)
    mode = np.zeros(len(rows), dtype=complex)
    sensor = np.zeros_like(mode)
    for step in range(settle + periods * 64):
        before = oscillator.v
        oscillator.advance(feedback)
        if step >= settle:
            heat += 0.5 * (oscillator.x**2 + oscillator.v**2)
            # A Hann window: the notch in the sensor's spectrum is narrow, and must not be filled by leakage.
            window = 1.0 - np.cos(2.0 * np.pi * (step - settle) / (periods * 64.0))
            turn = window * np.exp(-2j * np.pi * (step % 64) / 64.0)
            # In the middle of the step, as the sensor is read.
            mode += turn * 0.5 * (before + oscillator.v)
            sensor += turn * oscillator.measured
    duration = 1.5 * periods * 2.0 * np.pi  # 1.5: the window's mean square
    mean = {"temperature": heat / (periods * 64)}
    for name, sum_ in (("mode", mode), ("sensor", sensor)):
        mean[name] = np.abs(sum_ * oscillator.step) ** 2 / duration
    return {name: values.reshape(len(GAINS), RUNS).mean(axis=1) for name, values in mean.items()}


@pytest.mark.parametrize("index", range(len(GAINS)))
def test_cold_damping_with_measurement_noise(figure, cold_damping, index):
    """T = T0 (1 + A g^2)/(1 + g); Poggio, Degen, Mamin & Rugar, PRL 99, 017201 (2007)."""
    gain = GAINS[index]
    formula = (1.0 + IMPRECISION * gain**2) / (1.0 + gain)
    computed = cold_damping["temperature"][index]
    figure(f"cold damping, g = {gain:g}, T/T0", formula=formula, computed=computed, rel=0.05)


def test_the_best_gain_is_finite(cold_damping):
    """g* = -1 + sqrt(1 + 1/A) = 99.005, T_min = 2A(sqrt(1 + 1/A) - 1) T0: past it, feedback heats."""
    best = -1.0 + np.sqrt(1.0 + 1.0 / IMPRECISION)
    assert best == pytest.approx(GAINS[2], abs=1e-3)
    temperature = cold_damping["temperature"]
    assert temperature[2] < 0.9 * min(temperature[1], temperature[3])


@pytest.mark.parametrize("index", [1, 2, 3])
def test_the_sensor_in_the_loop_looks_colder_than_the_mode_is(figure, cold_damping, index):
    """Squashing: in the loop S_y = (S_n + S_th)/(1 + g)^2, out of it S_v = (S_th + g^2 S_n)/(1 + g)^2, at w0.

    Poggio et al. (2007), as above: judge by a sensor on which the loop does not act.
    """
    gain = GAINS[index]
    bath = 0.6 / (1.0 + gain)
    noise, thermal = 2.0 * IMPRECISION / bath, 2.0 / bath
    inside, outside = (cold_damping[name][index] for name in ("sensor", "mode"))
    # Periodograms of RUNS runs scatter by 1/sqrt(RUNS).
    formula = (noise + thermal) / (1.0 + gain) ** 2
    figure(f"in-loop spectrum at resonance, g = {gain:g}", formula=formula, computed=inside, rel=0.12)
    formula = (thermal + gain**2 * noise) / (1.0 + gain) ** 2
    figure(f"out-of-loop spectrum, g = {gain:g}", formula=formula, computed=outside, rel=0.12)
    assert inside - noise < outside


# ---- parametric feedback: F = k (1 + eta x v) x ------------------------------------------------


def test_parametric_feedback_cools_as_published(figure):
    """E = E0/(1 + eta E0 t/(2w)); Gieseler, Deutsch, Quidant & Novotny, PRL 109, 103603 (2012).

    eta .02, E0 1.125, 1000 periods. The law's own k is the spring.
    """
    force = modulated(0.02)
    oscillator = Oscillator(step=2.0 * np.pi / 50, x=1.5)
    for _ in range(50 * 1000):
        oscillator.advance(force)
    energy = 0.5 * (oscillator.x**2 + oscillator.v**2)
    formula = 1.125 / (1.0 + 0.02 * 1.125 * 2000.0 * np.pi / 2.0)
    figure("parametric cooling, 1000 periods, E", formula=formula, computed=energy, rel=0.005)


def test_the_modulation_is_at_twice_the_frequency_and_takes_eps_w_over_2():
    """On x = A cos t the stiffness is 1 - eps sin 2t, eps = eta A^2/2; energy is lost at the rate eps/2."""
    amplitude, eps = 1.5, 0.02
    force = modulated(2.0 * eps / amplitude**2)

    def power(t):
        x, v = amplitude * np.cos(t), -amplitude * np.sin(t)
        return float(force(x, v)) * v

    work, _ = quad(power, 0.0, 2.0 * np.pi)
    # Against the energy at rest amplitude, per unit time.
    assert work / (0.5 * amplitude**2) / (2.0 * np.pi) == pytest.approx(eps / 2.0, rel=1e-6)
    stiffness = [
        float(force(np.cos(t) * amplitude, -np.sin(t) * amplitude)) / (amplitude * np.cos(t))
        for t in (0.7, 2.0)
    ]
    assert stiffness == pytest.approx([1.0 - eps * np.sin(1.4), 1.0 - eps * np.sin(4.0)])


def test_parametric_feedback_in_a_bath(figure):
    """p(E) ~ exp(-b E - a E^2), b = 1/T, a = eta/(4 w g T): Gieseler et al., Nature Nanotech. 9, 358 (2014).

    Mean E = 1/(2 a Z) - b/(2a), Z = sqrt(pi/a)/2 exp(b^2/4a) erfc(b/(2 sqrt a)); a/b^2 = 1.25.
    """
    a, bath = 1.25, 0.02
    force = modulated(4.0 * bath * a)
    rows = np.zeros(1500)
    oscillator = Oscillator(
        step=2.0 * np.pi / 40, damping=bath, temperature=1.0, x=rows, v=rows, rng=np.random.default_rng(4)
    )
    energies = []
    for step in range(3000):
        oscillator.advance(force)
        if step > 800:
            energies.append(np.mean(0.5 * (oscillator.x**2 + oscillator.v**2)))
    norm = 0.5 * np.sqrt(np.pi / a) * np.exp(0.25 / a) * erfc(0.5 / np.sqrt(a))
    formula = 1.0 / (2.0 * a * norm) - 1.0 / (2.0 * a)
    figure("parametric feedback in a bath, mean E/T", formula=formula, computed=np.mean(energies), rel=0.03)


def test_a_driven_stiffness_squeezes_one_quadrature_and_heats_the_other(figure):
    """Variances T/(1 + h) and T/(1 - h) below threshold; Rugar & Gruetter, PRL 67, 699 (1991).

    The law is shown the velocity at which its own modulation, 1 + eta x v, is
    the drive 1 + eps cos 2t: h = eps/(2 g), with the bath's g.
    """
    h, bath = 0.5, 0.04
    law = Parametric(Staffing(0.0, 0.0), modulation=1.0, ceiling=UNBOUND)
    rows = np.full(1000, 1e-3)
    per_period = 32
    oscillator = Oscillator(
        step=2.0 * np.pi / per_period,
        damping=bath,
        temperature=1.0,
        x=rows,
        v=rows,
        rng=np.random.default_rng(10),
    )
    # The angle that a step turns by: a spring that kicks in steps is that little stiffer.
    angle = 2.0 * np.arcsin(0.5 * oscillator.step)
    quadratures = []
    for step in range(105 * per_period):
        # The force acts in the middle of the step.
        drive = 2.0 * h * bath * np.cos(2.0 * (step + 0.5) * angle)
        oscillator.advance(lambda x, v, drive=drive: law.calculate_force(seen(x, drive / x)))
        if step > 45 * per_period:
            turned = (oscillator.x + 1j * oscillator.v) * np.exp(1j * (step + 1.0) * angle)
            # The drive squeezes and heats along the diagonals.
            turned *= np.exp(-0.25j * np.pi)
            quadratures.append((np.mean(turned.real**2), np.mean(turned.imag**2)))
    quiet, loud = np.mean(quadratures, axis=0)
    figure("squeezed quadrature, h = .5", formula=1.0 / (1.0 + h), computed=quiet, rel=0.05)
    figure("its conjugate", formula=1.0 / (1.0 - h), computed=loud, rel=0.08)
