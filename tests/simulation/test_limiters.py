"""Laws that limit concurrency, against numbers worked out by hand from their published form."""

from cmath import exp as cexp
from dataclasses import replace
from math import exp, pi

import numpy as np
import pytest

from quantum_control.core.resource import ResourceState
from quantum_control.simulation.peers import (
    LIMITERS,
    AimdLimit,
    Ewma,
    Gradient2Limit,
    HillClimbing,
    VegasLimit,
    peer,
)
from quantum_control.simulation.peers.hill_climbing import wave_tables
from quantum_control.simulation.plants import TimeoutServer, UslPool
from quantum_control.simulation.rollout import rollout


def ask(law, size, latency, demand=None, **measured):
    """Limit that the law wants, taken through the force as the controller does."""
    state = ResourceState.from_demand(size if demand is None else demand, size=size)
    state = replace(state, wait_seconds=latency - 0.1, service_seconds=0.1, commanded=size, **measured)
    return size * exp(law.calculate_force(state) * state.interval)


# ---- AIMD --------------------------------------------------------------------------------------


def test_aimd_limit_in_numbers():
    law = AimdLimit()
    assert ask(law, 30.0, 1.0) == pytest.approx(31.0)
    assert ask(law, 30.0, 1.0, demand=15.0) == pytest.approx(31.0)
    assert ask(law, 30.0, 1.0, demand=14.0) == pytest.approx(30.0)  # less than half in use
    assert ask(law, 35.0, 1.0, errors=2.0) == pytest.approx(31.0)  # floor(31.5)
    assert ask(law, 30.0, 5.1) == pytest.approx(27.0)  # too late counts as lost


def test_aimd_limit_stays_within_its_bounds():
    assert ask(AimdLimit(), 200.0, 1.0) == pytest.approx(200.0)
    assert ask(AimdLimit(), 20.0, 9.0) == pytest.approx(20.0)
    assert ask(peer("aimd_limit"), 20.0, 9.0) == pytest.approx(18.0)  # bounds opened


# ---- Vegas -------------------------------------------------------------------------------------


def test_vegas_in_numbers():
    law = VegasLimit()
    assert ask(law, 100.0, 1.0) == pytest.approx(100.0)  # sets the minimum
    assert ask(law, 100.0, 1.0) == pytest.approx(112.0)  # no queue: 6·log10(100)
    assert ask(law, 112.0, 1.05) == pytest.approx(112.0)  # queue ceil(5.33) = 6: within [6, 12]
    assert ask(law, 112.0, 1.103) == pytest.approx(112.0)  # queue 11: within it still
    assert ask(law, 112.0, 1.03) == pytest.approx(114.0)  # queue 4 < 6: log10
    assert ask(law, 114.0, 1.2) == pytest.approx(112.0)  # queue 19 > 12
    assert ask(law, 100.0, 1.0, demand=49.0) == pytest.approx(100.0)  # half empty
    assert ask(law, 100.0, 1.0, errors=1.0) == pytest.approx(98.0)
    assert ask(law, 100.0, 0.9) == pytest.approx(100.0)  # a new minimum
    assert ask(law, 1000.0, 0.9) == pytest.approx(1000.0)  # the published upper bound


def test_vegas_steps_are_whole_logarithms_at_least_one():
    law = peer("vegas")
    ask(law, 5.0, 1.0)
    assert ask(law, 5.0, 1.0) == pytest.approx(11.0)
    assert ask(law, 999.0, 1.0) == pytest.approx(999.0 + 12.0)
    assert ask(law, 1000.0, 1.0) == pytest.approx(1000.0 + 18.0)


def test_vegas_forgets_its_minimum_after_thirty_times_the_limit_at_most():
    law = VegasLimit(rng=np.random.default_rng(1))
    ask(law, 4.0, 1.0)
    answers = [ask(law, 4.0, 2.0) for _ in range(4 * 30)]
    # At first a queue of two: between the thresholds 3 and 6 nothing; below 3 one more.
    assert answers[:58] == pytest.approx([5.0] * 58)
    probe = next(index for index, answer in enumerate(answers) if answer == pytest.approx(4.0))
    assert 60 <= probe + 2 <= 120
    assert answers[probe + 1] == pytest.approx(10.0)  # 2 s is what is normal from now on


# ---- Gradient2 ---------------------------------------------------------------------------------


def test_gradient2_in_numbers():
    law = Gradient2Limit()
    # No gradient: .8·100 + .2·104.
    assert ask(law, 100.0, 1.0) == pytest.approx(100.0)  # 100.8
    # Mean latency 2, gradient 1.5·2/3: .8·100.8 + .2·104.8.
    assert ask(law, 100.0, 3.0) == pytest.approx(101.0)  # 101.6
    # Mean 16/3, gradient 2/3: .8·101.6 + .2·(67.733 + 4) = 95.627.
    assert ask(law, 101.0, 12.0) == pytest.approx(95.0)
    # Half empty: left alone, the mean goes on.
    assert ask(law, 95.0, 1.0, demand=47.0) == pytest.approx(95.0)
    assert ask(law, 95.0, 1.0, demand=47.0) == pytest.approx(95.0)
    # Mean (16 + 1 + 1 + 8)/6 = 13/3, gradient .8125: .8·95.627 + .2·(77.697 + 4) = 92.841.
    assert ask(law, 95.0, 8.0) == pytest.approx(92.0)


def test_gradient2_lowers_its_mean_for_good_only_after_the_first_ten():
    law = Gradient2Limit(long_window=599)
    ask(law, 100.0, 10.0)
    ask(law, 100.0, 1.0)
    # 11/2 was lowered as it was above twice the latest; the mean of the three is 4, and lowered in turn.
    ask(law, 100.0, 1.0)
    assert law._long == pytest.approx(4.0 * 0.95)
    for _ in range(7):
        ask(law, 100.0, 10.0)
    assert law._long == pytest.approx(8.2)
    ask(law, 100.0, 1.0)
    lowered = (8.2 + (1.0 - 8.2) / 300.0) * 0.95
    assert law._long == pytest.approx(lowered)
    ask(law, 100.0, 1.0)
    assert law._long == pytest.approx((lowered + (1.0 - lowered) / 300.0) * 0.95)


def test_gradient2_halves_at_most_and_stays_within_its_bounds():
    law = Gradient2Limit()
    ask(law, 100.0, 1.0)  # 100.8
    # Mean 50.5, gradient .76; then the mean of 1, 100 and 9900: .5 at least.
    assert ask(law, 100.0, 100.0) == pytest.approx(int(0.8 * 100.8 + 0.2 * (0.7575 * 100.8 + 4.0)))
    limit = 0.8 * 100.8 + 0.2 * (0.7575 * 100.8 + 4.0)
    assert ask(law, 96.0, 99000.0) == pytest.approx(int(0.8 * limit + 0.2 * (0.5 * limit + 4.0)))
    assert ask(Gradient2Limit(), 200.0, 1.0) == pytest.approx(200.0)
    assert ask(Gradient2Limit(), 10.0, 1.0) == pytest.approx(20.0)


def test_gradient2_starts_again_from_a_size_that_another_has_set():
    law = Gradient2Limit()
    ask(law, 100.0, 1.0)
    assert ask(law, 60.0, 1.0) == pytest.approx(60.0)  # 60.8, not 101.6


def test_gradient2_stays_at_a_stable_timeout():
    server = TimeoutServer(capacity=100.0, service_seconds=0.2, timeout_seconds=2.0)
    overload = np.full((600, 1), 400.0)
    stuck = rollout(peer("gradient2"), server, overload, size=300.0)
    assert stuck.sizes[-1, 0] > 500.0  # it grows, and serves nothing
    assert stuck.throughputs.max() == 0.0
    well = rollout(peer("gradient2"), server, overload, size=30.0, largest=150.0)
    assert well.throughputs[-1, 0] == pytest.approx(100.0)


# ---- hill climbing -----------------------------------------------------------------------------


def goertzel(samples, period):
    """Component of one period by the textbook recursion (Goertzel 1958), oldest sample first."""
    omega = 2.0 * pi / period
    before, last = 0.0, 0.0
    for sample in samples:
        before, last = last, sample + 2.0 * np.cos(omega) * last - before
    return (last - before * cexp(-1j * omega)) / len(samples)


@pytest.mark.parametrize("count", [8, 12, 32])
def test_the_tables_are_goertzels_filter(count):
    samples = np.random.default_rng(count).uniform(0.0, 10.0, 32)  # newest first
    waves = count / 4
    periods = (4.0, count / (waves + 1.0), count / (waves - 1.0))
    for table, period in zip(wave_tables(4, 32), periods, strict=True):
        expected = goertzel(samples[:count][::-1], period)
        assert (samples * table[count]).sum() == pytest.approx(expected, abs=1e-9)


def climb(law, throughput, size, steps):
    """Sizes that the law sets one after another where `throughput(size)` is completed per second."""
    sizes = [size]
    for _ in range(steps):
        state = replace(ResourceState(0.0, size=sizes[-1]), throughput=throughput(sizes[-1]))
        sizes.append(round(sizes[-1] * exp(law.calculate_force(state))))
    return sizes


def test_before_it_knows_anything_it_puts_a_wave_of_one_on_the_size():
    assert climb(HillClimbing(), lambda size: 1000.0, 10, 6) == [10, 10, 11, 11, 10, 10, 11]


def test_it_climbs_where_throughput_follows_the_size():
    sizes = climb(HillClimbing(), lambda size: 100.0 * size, 10, 200)
    assert sizes[-1] > 60


def test_its_first_move_in_numbers():
    # Two clean periods: no noise, confidence 1, slope 1 - bias; .85² of four threads a second is 2.89.
    assert climb(HillClimbing(), lambda size: 100.0 * size, 10, 9)[-2:] == [10, 12]


def reference(throughputs, threads):
    """Hill climbing on one pool, as prose would tell it: one sample at a time, Goertzel's recursion."""
    counts, rates, control, noise, sizes = [], [], float(threads), 0.0, [threads]
    for rate in throughputs:
        counts.append(sizes[-1])
        rates.append(rate)
        number = min(len(rates) - 1, 32) // 4 * 4
        if number > 4 and sum(rates[-number:]) > 0.0:
            mean_rate, mean_count = np.mean(rates[-number:]), np.mean(counts[-number:])
            wave = goertzel(counts[-number:], 4.0) / mean_count
            answer = goertzel(rates[-number:], 4.0) / mean_rate
            error = max(
                abs(goertzel(rates[-number:], number / (number / 4 + side)) / mean_rate) for side in (1, -1)
            )
            noise = error if noise == 0.0 else 0.01 * error + 0.99 * noise
            slope = ((answer - 0.15 * wave) / wave).real if abs(wave) > 0.0 else 0.0
            worst = max(noise, error)
            confidence = abs(wave) / worst / 3.0 if worst > 0.0 else 1.0
            move = max(-1.0, min(1.0, slope)) * min(1.0, confidence)
            control += min(np.sign(move) * move**2 * 4.0, 20.0)
        amplitude = max(1, min(20, int(0.5 + control * noise * 3.0 * 2.0)))
        control = max(1.0, control)
        sizes.append(max(1, int(control + amplitude * (len(rates) // 2 % 2))))
    return sizes


@pytest.mark.parametrize("seed", range(5))
def test_it_moves_as_its_description_says_under_noise(seed):
    rng = np.random.default_rng(seed)
    law, throughputs, sizes = HillClimbing(), [], [20]
    for _ in range(120):
        rate = 1000.0 + 20.0 * sizes[-1] + rng.normal(0.0, 30.0)
        throughputs.append(rate)
        state = replace(ResourceState(0.0, size=sizes[-1]), throughput=rate)
        sizes.append(round(sizes[-1] * exp(law.calculate_force(state))))
    assert sizes == reference(throughputs, 20)


def test_it_comes_down_where_more_threads_bring_less():
    # 50 jobs a second whatever the size: the wave costs its share and brings nothing.
    sizes = climb(HillClimbing(), lambda size: 500.0, 60, 800)
    assert sizes[-1] < 55


def test_it_waits_until_the_completions_are_many_enough_to_count():
    # (31 - 1)/100 completions is above 15 %: two samples are added up to one of 200.
    assert climb(HillClimbing(), lambda size: 100.0, 31, 5) == [31, 31, 31, 31, 32, 32]


def test_it_takes_a_size_set_by_another_for_its_own():
    law = HillClimbing()
    climb(law, lambda size: 1000.0, 10, 2)
    # It stood at 10 and its wave at 11 when 50 was set: 39 are added, and the wave stays on top.
    assert climb(law, lambda size: 1000.0, 50, 4) == [50, 50, 49, 49, 50]


# ---- all ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(set(LIMITERS) - {"aimd_limit"}))
def test_limiters_keep_an_overloaded_server_working(name):
    arrivals = np.random.default_rng(1).poisson(np.full((600, 4), 130.0)).astype(float)
    episode = rollout(peer(name), TimeoutServer(), arrivals, size=20.0, largest=1000.0)
    assert episode.throughputs[100:].mean() > 95.0


def test_a_law_that_follows_demand_does_not():
    arrivals = np.random.default_rng(1).poisson(np.full((600, 4), 130.0)).astype(float)
    episode = rollout(Ewma(), TimeoutServer(), arrivals, size=20.0, largest=1000.0)
    assert episode.throughputs[100:].mean() < 5.0


def test_following_demand_runs_away_past_the_knee_and_stays_there():
    """The overload ends after 200 s; the pool, 15 times too large, serves a third of the light load."""
    pool = UslPool()
    full = pool.capacity(pool.peak)
    arrivals = np.r_[np.full(100, 0.6), np.full(200, 1.3), np.full(500, 0.6)][:, None] * full
    episode = rollout(Ewma(), pool, arrivals, size=25.0, largest=500.0)
    assert episode.sizes[-1, 0] == pytest.approx(500.0)
    assert episode.throughputs[-1, 0] / (0.6 * full) == pytest.approx(0.33, abs=0.01)
