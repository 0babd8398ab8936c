"""Shares of unequal servers: the closed form, and the loop that measures its way there."""

from __future__ import annotations

import itertools
import random
from math import isnan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from quantum_control.core.ejection import Observation, Standing
from quantum_control.core.errors import ConfigError
from quantum_control.core.shares import NEARLY_FULL, RAMP, REFRESH, WARM_UP, Shares, optimal_shares

capacities = st.lists(st.floats(0.5, 5000.0), min_size=1, max_size=12).map(
    lambda values: {f"s{i}": value for i, value in enumerate(values)}
)


def under_way(mu, rates):
    """Mean number of requests in M/M/1 servers."""
    return sum(rate / (mu[name] - rate) for name, rate in rates.items())


@given(capacities, st.floats(0.01, 0.95))
def test_marginal_latency_is_equal_where_there_is_traffic_and_higher_where_there_is_none(mu, utilisation):
    rate = utilisation * sum(mu.values())
    shares = optimal_shares(mu, rate)
    assert sum(shares.values()) == pytest.approx(1.0)
    marginal = {name: mu[name] / (mu[name] - share * rate) ** 2 for name, share in shares.items()}
    used = [marginal[name] for name, share in shares.items() if share > 1e-6]
    assert max(used) == pytest.approx(min(used), rel=1e-6)
    for name, share in shares.items():
        if share == 0.0:
            assert marginal[name] >= min(used) * (1.0 - 1e-6)


@pytest.mark.parametrize("utilisation", [0.2, 0.5, 0.8, 0.95])
def test_no_numerical_search_finds_fewer_requests_under_way(utilisation):
    mu = {"a": 20.0, "b": 40.0, "c": 60.0, "d": 160.0}
    values = np.array(list(mu.values()))
    rate = utilisation * values.sum()
    shares = optimal_shares(mu, rate)
    ours = under_way(mu, {name: share * rate for name, share in shares.items()})
    found = minimize(
        lambda x: np.sum(x / (values - x)),
        values * utilisation,
        bounds=[(0.0, 0.999 * value) for value in values],
        constraints={"type": "eq", "fun": lambda x: x.sum() - rate},
        method="SLSQP",
    )
    assert found.success
    assert ours == pytest.approx(found.fun, rel=1e-4)


def test_two_servers_as_in_the_closed_form():
    # λ = μ - c·sqrt(μ), c = (100 + 25 - 60)/(10 + 5) = 13/3
    shares = optimal_shares({"fast": 100.0, "slow": 25.0}, 60.0)
    assert shares["fast"] == pytest.approx((100.0 - 10.0 * 13.0 / 3.0) / 60.0)
    assert shares["slow"] == pytest.approx((25.0 - 5.0 * 13.0 / 3.0) / 60.0)


def test_at_light_load_the_slow_rest_and_near_saturation_shares_follow_speed():
    mu = {"fast": 100.0, "slow": 25.0}
    # The slow one is used from Λ = μ - sqrt(μ)·sqrt(μ_slow) = 50 on.
    assert optimal_shares(mu, 49.9)["slow"] == 0.0
    assert optimal_shares(mu, 50.1)["slow"] > 0.0
    assert optimal_shares(mu, 1e9)["slow"] == pytest.approx(0.2, abs=0.02)
    assert optimal_shares(mu, 1e9) == optimal_shares(mu, NEARLY_FULL * 125.0)
    assert optimal_shares(mu, 0.0) == {"fast": 0.8, "slow": 0.2}


@given(capacities, st.floats(0.01, 0.95))
def test_a_faster_server_never_gets_less(mu, utilisation):
    shares = optimal_shares(mu, utilisation * sum(mu.values()))
    ordered = sorted(mu, key=mu.__getitem__)
    for slower, faster in itertools.pairwise(ordered):
        assert shares[slower] <= shares[faster] + 1e-9


@pytest.mark.parametrize(
    ("mu", "rate"), [({}, 1.0), ({"a": 0.0}, 1.0), ({"a": float("inf")}, 1.0), ({"a": 1.0}, float("nan"))]
)
def test_nonsense_is_refused(mu, rate):
    with pytest.raises(ConfigError):
        optimal_shares(mu, rate)


def test_a_memory_below_one_interval_is_refused():
    with pytest.raises(ConfigError, match="memory"):
        Shares(memory=0.5)


def mm1(mu, rates, rng=None, up=()):
    """What M/M/1 servers at these rates show: their means, or samples of them."""
    seen = {}
    for name, rate in rates.items():
        rho = min(rate / mu[name], 0.99)
        in_flight = rho / (1.0 - rho)
        if rng is not None:
            in_flight = float(rng.geometric(1.0 - rho) - 1)
            rate = float(rng.poisson(rate))
        seen[name] = Observation(rate, min(rate, mu[name]), 0.0, in_flight, up=name not in up)
    return seen


def run(law, mu, total, steps, rng=None, shares=None):
    """Close the loop: what is due in one interval is the rate of the next."""
    shares = shares or dict.fromkeys(mu, 1.0 / len(mu))
    plan = {}
    for _ in range(steps):
        plan = law.step(mm1(mu, {name: share * total for name, share in shares.items()}, rng), 1.0)
        if not any(isnan(due.share) for due in plan.values()):
            shares = {name: due.share for name, due in plan.items()}
    return shares, plan


MU = {"a": 60.0, "b": 80.0, "c": 120.0, "d": 160.0}


def test_nothing_is_decided_before_the_set_has_been_watched():
    law = Shares()
    for _ in range(WARM_UP - 1):
        plan = law.step(mm1(MU, dict.fromkeys(MU, 40.0)), 1.0)
        assert all(isnan(due.share) for due in plan.values())
    plan = law.step(mm1(MU, dict.fromkeys(MU, 40.0)), 1.0)
    assert sum(due.share for due in plan.values()) == pytest.approx(1.0)


def test_without_requests_nothing_is_decided():
    law = Shares()
    for _ in range(20):
        plan = law.step(mm1(MU, dict.fromkeys(MU, 0.0)), 1.0)
    assert all(isnan(due.share) for due in plan.values())


def test_capacities_are_found_from_rate_and_requests_under_way():
    law = Shares()
    run(law, MU, 250.0, 100)
    for name, mu in MU.items():
        assert law.capacities[name] == pytest.approx(mu, rel=0.05)


def test_the_loop_settles_where_the_closed_form_says():
    total = 250.0
    shares, _ = run(Shares(), MU, total, 200)
    best = optimal_shares(MU, 1.1 * total)
    for name in MU:
        assert shares[name] == pytest.approx(best[name], abs=0.02)


@given(st.integers(0, 2**32 - 1))
def test_with_noise_it_stays_near_the_optimum(seed):
    total = 290.0
    shares, _ = run(Shares(), MU, total, 60, np.random.default_rng(seed))
    best = optimal_shares(MU, total)
    least = under_way(MU, {name: share * total for name, share in best.items()})
    equal = under_way({"x": 105.0}, {"x": total / 4}) * 4
    had = sum(min(share * total / max(MU[n] - share * total, 1.0), 100.0) for n, share in shares.items())
    assert least < equal
    assert had < 4.0 * least


def test_a_server_that_becomes_slow_loses_share_within_a_few_intervals():
    law = Shares()
    before, _ = run(law, MU, 250.0, 60)
    slow = MU | {"d": 50.0}
    after, _ = run(law, slow, 200.0, 8, shares=before)
    assert after["d"] < 0.5 * before["d"]


def test_a_newcomer_starts_low_and_rises_to_its_due():
    law = Shares()
    run(law, MU, 250.0, 40)
    more = MU | {"e": 120.0}
    rates = dict.fromkeys(MU, 50.0) | {"e": 0.0}
    shares = []
    for _ in range(8):
        plan = law.step(mm1(more, rates), 1.0)
        shares.append(plan["e"].share)
        rates = {name: due.share * 250.0 for name, due in plan.items()}
    assert shares[0] < 1.5 * RAMP * shares[-1]
    assert shares[:5] == sorted(shares[:5])


def test_a_server_that_is_down_gets_nothing_and_comes_back_as_a_newcomer():
    law = Shares()
    run(law, MU, 250.0, 40)
    rates = dict.fromkeys(MU, 60.0)
    plan = law.step(mm1(MU, rates, up=("d",)), 1.0)
    assert (plan["d"].share, plan["d"].standing) == (0.0, Standing.DOWN)
    assert sum(due.share for due in plan.values()) == pytest.approx(1.0)
    back = law.step(mm1(MU, rates | {"d": 0.0}), 1.0)["d"].share
    assert 0.0 < back < 0.1


def test_a_resting_server_is_asked_again_now_and_then():
    law = Shares()
    mu = {"slow": 5.0, "fast": 200.0}
    shares = dict.fromkeys(mu, 0.5)
    asked = []
    for k in range(4 * REFRESH):
        plan = law.step(mm1(mu, {name: share * 8.0 for name, share in shares.items()}), 1.0)
        if not isnan(plan["slow"].share):
            shares = {name: due.share for name, due in plan.items()}
            if shares["slow"] > 0.0:
                asked.append(k)
    late = [k for k in asked if k > REFRESH]
    assert late
    assert all(b - a == REFRESH for a, b in itertools.pairwise(late))


counts = st.integers(0, 500).map(float)
observations = st.builds(
    Observation, rate=counts, ended=counts, failures=counts, in_flight=counts, up=st.booleans()
)


@given(
    st.lists(st.dictionaries(st.sampled_from("abcdef"), observations, min_size=1), min_size=1, max_size=30)
)
def test_whatever_is_seen_shares_are_shares_and_somebody_healthy_stays_in(course):
    law = Shares()
    for seen in course:
        plan = law.step(seen, 1.0)
        assert plan.keys() == seen.keys()
        shares = [due.share for due in plan.values()]
        if not any(isnan(share) for share in shares):
            assert all(share >= 0.0 for share in shares)
            assert sum(shares) == pytest.approx(1.0) or not any(one.up for one in seen.values())
        if any(one.up for one in seen.values()):
            assert any(due.standing is Standing.IN and seen[name].up for name, due in plan.items())


def test_the_loop_beats_equal_shares_in_a_simulated_queue():
    def latency(shares_of):
        rng = random.Random(5)
        mu = {"a": 20.0, "b": 60.0, "c": 160.0}
        free = dict.fromkeys(mu, 0.0)
        under_way = {name: [] for name in mu}
        counts = {name: [0, 0] for name in mu}
        shares, now, tick, spent = dict.fromkeys(mu, 1 / 3), 0.0, 1.0, []
        while now < 400.0:
            now += rng.expovariate(140.0)
            if now >= tick:
                seen = {}
                for name in mu:
                    done = [end for end in under_way[name] if end <= tick]
                    under_way[name] = [end for end in under_way[name] if end > tick]
                    seen[name] = Observation(
                        counts[name][0], float(len(done)), 0.0, float(len(under_way[name]))
                    )
                    counts[name][0] = 0
                shares = shares_of(seen, shares)
                tick += 1.0
            name = rng.choices(list(shares), list(shares.values()))[0]
            free[name] = max(free[name], now) + rng.expovariate(mu[name])
            under_way[name].append(free[name])
            counts[name][0] += 1
            if now > 50.0:
                spent.append(free[name] - now)
        return sum(spent) / len(spent)

    law = Shares()

    def ours(seen, shares):
        plan = law.step(seen, 1.0)
        known = not any(isnan(due.share) for due in plan.values())
        return {name: due.share for name, due in plan.items()} if known else shares

    best = optimal_shares({"a": 20.0, "b": 60.0, "c": 160.0}, 140.0)
    optimum = latency(lambda seen, shares: best)
    assert latency(ours) < 1.25 * optimum
    assert latency(lambda seen, shares: shares) > 3.0 * optimum
