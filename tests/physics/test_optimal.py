"""The estimator against the Riccati equation, the regulator too, and both at once."""

import numpy as np
import pytest
from scipy.linalg import solve_discrete_are

from quantum_control.core.estimation import SHOT_NOISE, AmplitudeFilter
from quantum_control.core.numeric import ARRAY
from quantum_control.physics.coherent import Coherent, movement_gain
from quantum_control.physics.optomechanical import Optomechanical
from quantum_control.physics.staffing import Staffing
from quantum_control.simulation.oscillator import Particle, seen


def kalman_gain(h):
    """Steady gain of the local level, h = q/r: K = (-h + sqrt(h^2 + 4h))/2; Harvey (1989), ch. 4."""
    return (np.sqrt(h * h + 4.0 * h) - h) / 2.0


def riccati(q, r):
    """Stabilising solution P of the scalar Riccati equation P = P - P^2/(P + r) + q."""
    return float(solve_discrete_are(1.0, 1.0, q, r)[0, 0])


def lively(agility, jump=float("inf")):
    """A filter that has started at 0."""
    level = AmplitudeFilter(agility, jump)
    level.start(0.0)
    return level


# ---- the Kalman filter -------------------------------------------------------------------------


@pytest.mark.parametrize("h", [0.001, 0.01, 0.1, 1.0, 10.0])
def test_the_filter_settles_at_the_steady_kalman_gain(figure, h):
    """Samples as far off as expected hold its temperature at 1; the gain is read off its answer."""
    level = lively(h)
    for step in range(400):
        expected = level.variance + (1.0 + h) * SHOT_NOISE
        innovation = np.sqrt(expected) * (-1.0) ** step
        level.update(level.level + innovation)
    assert level.temperature == pytest.approx(1.0)
    gain = level.change / innovation
    figure(f"local-level Kalman gain, h = {h:g}", formula=kalman_gain(h), computed=gain, rel=1e-9)
    predicted = riccati(h * SHOT_NOISE, SHOT_NOISE)
    assert gain == pytest.approx(predicted / (predicted + SHOT_NOISE), rel=1e-9)
    # Kalata (1984): the tracking index of an alpha filter is alpha^2/(1 - alpha).
    assert gain**2 / (1.0 - gain) == pytest.approx(h, rel=1e-9)


def test_the_filter_errs_as_little_as_the_riccati_equation_allows(figure):
    """Error variance K r of the level, the temperature being estimated as it goes."""
    h = 0.1
    rng = np.random.default_rng(5)
    truth = Particle(np.zeros(1000), diffusion=h * SHOT_NOISE, imprecision=SHOT_NOISE, rng=rng)
    level = AmplitudeFilter(h, np.inf)
    level.start(truth.measure())
    errors = []
    for step in range(600):
        truth.advance(0.0)
        level.update(truth.measure(), 1.0, ARRAY)
        if step > 200:
            errors.append(np.mean((truth.x - level.level) ** 2))
    formula = kalman_gain(h) * SHOT_NOISE
    figure("variance of the filtered level", formula=formula, computed=np.mean(errors), rel=0.02)
    figure("temperature of matched noise", formula=1.0, computed=np.mean(level.temperature), rel=0.03)


@pytest.mark.parametrize("mean", [20.0, 1000.0, 1e9])
def test_poisson_demand_has_temperature_one_at_any_level(figure, mean):
    """sqrt of a Poisson count has variance 1/4 whatever its mean; Anscombe, Biometrika 35, 246 (1948)."""
    counts = np.random.default_rng(6).poisson(mean, (800, 500)).astype(float)
    level = AmplitudeFilter(0.001, np.inf)
    level.start(np.sqrt(counts[0]))
    for row in counts[1:]:
        level.update(np.sqrt(row), 1.0, ARRAY)
    computed = np.mean(level.temperature)
    figure(f"temperature of Poisson demand, mean {mean:g}", formula=1.0, computed=computed, rel=0.04)


# ---- the linear-quadratic regulator ------------------------------------------------------------


@pytest.mark.parametrize("price", [0.01, 0.2, 1.0, 5.0, 100.0])
def test_the_coherent_gain_solves_the_riccati_equation(figure, price):
    """k = (-1 + sqrt(1 + 4 rho))/(2 rho) for x' = x - F dt at the cost x^2 + rho (F dt)^2."""
    law = Coherent(Staffing(0.0, 0.0), movement_price=price)
    cost = riccati(1.0, price)
    gain = law.calculate_force(seen(0.3, interval=0.1)) * 0.1 / 0.3
    figure(f"LQR gain, rho = {price:g}", formula=cost / (cost + price), computed=gain, rel=1e-9)
    assert gain == pytest.approx((np.sqrt(1.0 + 4.0 * price) - 1.0) / (2.0 * price))


def test_free_movement_takes_out_all_at_once():
    assert movement_gain(0.0) == 1.0
    assert movement_gain(1e-6) == pytest.approx(1.0, abs=1e-5)


# ---- both: linear-quadratic-Gaussian -----------------------------------------------------------


def lqg_run(h, prices, *, runs, steps, seed):
    """Mean x^2 before the move, after it, and mean squared move, for each movement price.

    The demand's level m wanders by q = h/4 and is measured with r = 1/4, the
    filter's own noise; the size s is known; x = m - s.
    """
    gains = np.repeat([movement_gain(price) for price in prices], runs)
    laws = Coherent(Staffing(0.0, 0.0))
    laws.gain = gains
    rng = np.random.default_rng(seed)
    # The same noise for every price.
    demand = Particle(np.zeros(runs), diffusion=h * SHOT_NOISE, imprecision=SHOT_NOISE, rng=rng)
    size = np.zeros(len(gains))
    level = AmplitudeFilter(h, np.inf)
    level.start(demand.measure())
    sums = np.zeros((3, len(gains)))
    for step in range(steps):
        demand.advance(0.0)
        level.update(demand.measure(), 1.0, ARRAY)
        truth = np.tile(demand.x, len(prices))
        move = laws.calculate_force(seen(np.tile(level.level, len(prices)) - size))
        if step >= steps // 4:
            sums += (truth - size) ** 2, (truth - size - move) ** 2, move**2
        size = size + move
    means = sums / (steps - steps // 4)
    return means.reshape(3, len(prices), runs).mean(axis=2)


def test_filter_and_regulator_cost_what_the_riccati_equations_say(figure):
    """J = P q + k^2 (P + rho) S, with S = K r the filter's error; Kwakernaak & Sivan (1972), ch. 6."""
    h, price = 0.1, 0.5
    # The neighbours' gains are those of other prices, judged by this one.
    prices = (price / 4.0, price, price * 4.0)
    before, _, moved = lqg_run(h, prices, runs=600, steps=800, seed=7)
    cost = before + price * moved
    p = riccati(1.0, price)
    gain = p / (p + price)
    error = kalman_gain(h) * SHOT_NOISE
    formula = p * h * SHOT_NOISE + gain**2 * (p + price) * error
    figure("LQG cost, h = .1, rho = .5", formula=formula, computed=cost[1], rel=0.02)
    assert cost[1] < min(cost[0], cost[2])


@pytest.mark.parametrize("efficiency", [1.0, 0.56, 0.25])
def test_the_least_occupation_under_imperfect_detection(figure, efficiency):
    """n_min = (1/sqrt(eta) - 1)/2; Doherty & Jacobs, PRA 60, 2700 (1999); Rossi et al. (2018).

    In the frame that turns with the oscillator each quadrature is a particle
    without inertia, driven by the measurement's back-action q and seen with
    the imprecision r. Detecting a share eta of the light, Heisenberg has
    q r = 1/(4 eta) (hbar = 1, zero point 1/2). In the limit of weak
    measurement the filter's error is sqrt(q r) = 1/(2 sqrt(eta)) = n + 1/2,
    and with free movement the regulator leaves nothing but that error.
    """
    h = 1e-4
    _, after, _ = lqg_run(h, (0.0,), runs=1500, steps=2000, seed=8)
    # The filter's unit of variance is r = 1/4, in which sqrt(q r) is sqrt(h)/4.
    unit = 0.5 / np.sqrt(efficiency) / (np.sqrt(h) * SHOT_NOISE)
    formula = 0.5 * (1.0 / np.sqrt(efficiency) - 1.0)
    figure(
        f"least occupation, eta = {efficiency:g}", formula=formula, computed=after[0] * unit - 0.5, abs=0.03
    )


# ---- what it means for sizing ------------------------------------------------------------------


def test_the_best_gain_of_a_trap_on_raw_measurements_is_the_kalman_gain(figure):
    """x' = x - k (x + n) + w has the variance (q + k^2 r)/(k (2 - k)), least at k = K(q/r).

    Past it a stiffer trap only passes the sensor's noise on: the sizing form
    of cold damping's optimum.
    """
    h, runs = 0.1, 1000
    gains = np.array([0.1, 0.18, kalman_gain(h), 0.4, 0.8, 1.2])
    trap = Optomechanical(Staffing(0.0, 0.0), damping=np.repeat(gains, runs), burst=0.0, ceiling=1e9)
    rng = np.random.default_rng(9)
    particle = Particle(np.zeros(len(gains) * runs), diffusion=h, imprecision=1.0, rng=rng)
    squares = []
    for step in range(500):
        particle.advance(trap.calculate_force(seen(particle.measure())))
        if step > 100:
            squares.append(particle.x**2)
    computed = np.mean(squares, axis=0).reshape(len(gains), runs).mean(axis=1)
    for gain, variance in zip(gains, computed, strict=True):
        formula = (h + gain**2) / (gain * (2.0 - gain))
        figure(
            f"trap on a noisy sensor, k = {gain:.3g}, variance", formula=formula, computed=variance, rel=0.02
        )
    assert np.argmin(computed) == 2
