"""How to split a stream among unequal servers: shares at which the marginal latency is equal.

Sending λ_i requests per second to server i, with mean latency L_i(λ_i), keeps
Σ λ_i·L_i(λ_i) requests under way. Given Σ λ_i = Λ this is least where

    d(λ_i·L_i)/dλ_i = ν  for every server in use,  and >= ν at λ_i = 0 for the others

(Kuhn-Tucker; Tantawi & Towsley, J. ACM 32, 1985). For M/M/1 servers of
capacity μ_i, L = 1/(μ - λ), the marginal latency is μ/(μ - λ)², so that

    λ_i = μ_i - c·sqrt(μ_i),   c = (Σ μ - Λ)/Σ sqrt(μ)   over those with sqrt(μ_i) > c

(Bell & Stidham, Management Science 29, 1983): at light load the slow ones
rest, and only near saturation are shares proportional to speed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, nan, sqrt
from statistics import median

from quantum_control.core.ejection import Ejection, Observation, Standing
from quantum_control.core.errors import ConfigError

MEMORY = 12.0
"""Intervals over which rates and requests under way are averaged. In simulation 12 and 40 differ by
less than 10 % in p99 on steady speeds, and 12 follows a change three times as fast."""

WARM_UP = 4
"""Intervals that the set is watched before the first decision."""

PLANNED = 1.1
"""Multiple of the mean rate that is planned for: latency is convex in the rate, so that a burst
costs more than a lull of the same size gains."""

NEARLY_FULL = 0.97
"""Largest utilisation planned for; past it the shares are all but proportional to capacity."""

JUMP = 4.0
"""Standard deviations (of a geometric distribution, as in M/M/1) above its mean from which on the number
under way tells of a change: the past is then all but forgotten."""

FELL = 0.05
"""The same for a fall: for a geometric number of mean N, P(n or less) is about (n + 1)/(N + 1)."""

RETAINED = 0.3
"""Part of the past that is kept then."""

LEAST_MASS = 2.0
"""Observations that the past still counts as, whatever has faded it."""

PRIOR = 0.02
"""Requests under way, at the pace of a typical idle server, that each is credited with. Keeps one
on which none was ever caught from looking infinitely fast, and lets a newcomer be tried."""

RAMP = 0.1
"""Part of its due with which a newcomer begins (slow start)."""

RAMP_GROWTH = 1.6
"""Factor by which that part grows per interval: all of it after 5 intervals."""

REFRESH = 20
"""Intervals that a server may rest before a few requests ask it again how fast it is."""

TRICKLE = 2.0
"""Requests per interval for a server on trial or asked again."""

LARGEST_TRICKLE = 0.05
"""Share that a trickle does not exceed, however slow the stream."""


def optimal_shares(capacities: Mapping[str, float], rate: float) -> dict[str, float]:
    """Shares at which the marginal latency of M/M/1 servers is equal; the module says how.

    Parameters
    ----------
    capacities
        μ_i, requests per second.
    rate
        Λ, requests per second. From NEARLY_FULL of the whole capacity on the
        shares stay as they are there; without a rate they are proportional to capacity.

    Returns
    -------
    dict[str, float]
        λ_i/Λ, 0 or more, of sum 1.

    Raises
    ------
    ConfigError
        There is no server, a capacity is not positive and finite, or the rate is negative or nan.
    """
    if not capacities:
        raise ConfigError("there is no server to share the rate among")
    for name, capacity in capacities.items():
        if not 0.0 < capacity < inf:
            raise ConfigError(
                f"the capacity of {name!r} is {capacity!r}; a positive number, requests per second"
            )
    if not rate >= 0.0:
        raise ConfigError(f"rate={rate!r}: requests per second, 0 or more")
    total = sum(capacities.values())
    if rate == 0.0:
        return {name: capacity / total for name, capacity in capacities.items()}
    planned = min(rate, NEARLY_FULL * total)
    sum_capacity = sum_root = 0.0
    spacing = -inf
    # Fastest first: adding a server lowers the spacing c for as long as it has sqrt(μ) > c.
    for capacity in sorted(capacities.values(), reverse=True):
        root = sqrt(capacity)
        if sum_root and root <= spacing:
            break
        sum_capacity += capacity
        sum_root += root
        spacing = (sum_capacity - planned) / sum_root
    rates = {name: max(0.0, mu - spacing * sqrt(mu)) for name, mu in capacities.items()}
    whole = sum(rates.values())
    return {name: own / whole for name, own in rates.items()}


@dataclass(frozen=True, slots=True)
class Share:
    """What one server is due."""

    share: float
    """Part of the stream, 0 to 1. 0 for a server that rests, is down or is out."""
    standing: Standing
    reason: str = ""
    """Why the standing is not IN, or would not be were there another; empty otherwise."""


class _Server:
    """What is known of one server."""

    __slots__ = ("in_flight", "mass", "ramp", "rate", "rested", "share")

    def __init__(self, ramp: float) -> None:
        self.rate = 0.0  # discounted sums; divided by `mass` they are means
        self.in_flight = 0.0
        self.mass = 0.0
        self.ramp = ramp
        self.rested = 0  # intervals since it last had a share
        self.share = nan  # the share that it had in the interval observed next

    def observe(self, seen: Observation, keep: float) -> None:
        usual = self.in_flight / self.mass if self.mass else inf
        jumped = seen.in_flight > usual + JUMP * sqrt(usual * (1.0 + usual)) + 2.0
        if jumped or seen.in_flight + 1.0 < FELL * (usual + 1.0):
            keep *= RETAINED
        self.fade(keep)
        self.rate += seen.ended
        self.in_flight += seen.in_flight
        self.mass += 1.0

    def fade(self, keep: float) -> None:
        """Let the past count less; the means stay as they are."""
        self.rate *= keep
        self.in_flight *= keep
        self.mass *= keep


class Shares:
    """Shares of a set of servers from what each was seen to do; knows no clock and no balancer.

    The capacity of each is that of the M/M/1 server which would have the same
    latency at the same rate: by Little's law N requests under way at the rate
    λ mean the latency L = N/λ, and then μ = λ + 1/L. A server that works on
    many requests at once is thereby taken for slower than it is, so that its
    share errs towards even latency, and never towards overload.

    Parameters
    ----------
    ejection
        Who may take part.
    memory
        Intervals over which rates and requests under way are averaged, 1 or more.

    Raises
    ------
    ConfigError
        `memory` is below 1.
    """

    def __init__(self, ejection: Ejection | None = None, memory: float = MEMORY) -> None:
        if not 1.0 <= memory < inf:
            raise ConfigError(f"memory={memory!r}: intervals to average over, 1 or more")
        self.ejection = ejection or Ejection()
        self.capacities: dict[str, float] = {}
        """Estimate of μ, requests per second, of each server that takes part; empty until known."""
        self.rate = 0.0
        """Mean rate Λ of the whole set, requests per second."""
        self._keep = 1.0 - 1.0 / memory
        self._servers: dict[str, _Server] = {}
        self._rate_sum = 0.0
        self._mass = 0.0
        self._steps = 0

    def step(self, seen: Mapping[str, Observation], interval: float) -> dict[str, Share]:
        """Take what was seen of each server in the last `interval` seconds; say what each is due.

        Until something is known (WARM_UP intervals, and requests under way
        caught somewhere) the shares are nan: leave the weights as they are.
        """
        first = self._steps == 0
        self._steps += 1
        self._servers = {name: self._servers.get(name) or _Server(1.0 if first else RAMP) for name in seen}
        rulings = self.ejection.step(seen, interval, self.capacities)
        self._rate_sum = self._rate_sum * self._keep + sum(one.rate for one in seen.values())
        self._mass = self._mass * self._keep + 1.0
        self.rate = self._rate_sum / self._mass
        for name, server in self._servers.items():
            if rulings[name].standing is Standing.OUT or not seen[name].up:
                self._servers[name] = _Server(RAMP)  # what comes back is a newcomer
            elif server.share != 0.0:
                server.observe(seen[name], self._keep)
            elif server.mass * self._keep >= LEAST_MASS:
                server.fade(self._keep)
        usable = [name for name in seen if seen[name].up and rulings[name].standing is Standing.IN]
        self.capacities = self._estimate(usable)
        shares = self._divide(usable, [n for n in seen if rulings[n].standing is Standing.TRIAL], interval)
        for name, share in shares.items():
            server = self._servers[name]
            server.share = share
        plan = {}
        for name, one in seen.items():
            standing, reason = rulings[name].standing, rulings[name].reason
            if standing is Standing.IN and not one.up:
                standing, reason = Standing.DOWN, "the balancer takes it for unusable"
            plan[name] = Share(shares.get(name, 0.0), standing, reason)
        return plan

    def _estimate(self, usable: list[str]) -> dict[str, float]:
        """μ of each; nothing while none was ever caught with a request under way."""
        means = {
            name: (server.rate / server.mass, server.in_flight / server.mass) if server.mass else (0.0, 0.0)
            for name, server in ((name, self._servers[name]) for name in usable)
        }
        measured = [rate + rate / load for rate, load in means.values() if rate > 0.0 and load > 0.0]
        if not measured:
            return {}
        typical = median(measured)
        # 1/L = (λ + ε·μ)/(N + ε), μ the typical one: where little was seen, that is what is believed.
        return {
            name: rate + (rate + PRIOR * typical) / (load + PRIOR) for name, (rate, load) in means.items()
        }

    def _divide(self, usable: list[str], trials: list[str], interval: float) -> dict[str, float]:
        if not self.capacities or self._steps < WARM_UP:
            return dict.fromkeys((*usable, *trials), nan)
        shares = optimal_shares(self.capacities, PLANNED * self.rate)
        trickle = LARGEST_TRICKLE
        if self.rate > 0.0:
            trickle = min(trickle, TRICKLE / (self.rate * interval))
        for name, share in shares.items():
            server = self._servers[name]
            shares[name] = share * server.ramp
            server.ramp = min(1.0, server.ramp * RAMP_GROWTH)
            server.rested = 0 if share > 0.0 else server.rested + 1
            if server.rested >= REFRESH:
                server.rested = 0
                shares[name] = trickle
        shares.update(dict.fromkeys(trials, trickle))
        whole = sum(shares.values())
        return {name: share / whole for name, share in shares.items()} if whole > 0.0 else shares
