"""The arms of the load-balancer benchmark: a balancer, its policy, and what sets the weights."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import exp

from quantum_control.bench.balancers import LocalBalancer, LocalEnvoy, LocalHAProxy
from quantum_control.core.controller import QuantumController
from quantum_control.core.shares import optimal_shares
from quantum_control.resources.balancer import FULL_WEIGHT, Balancer, Reading, open_balancer
from quantum_control.resources.loadbalancer import LoadBalancerResource

PEAK_MEMORY = 10.0
"""Seconds over which peak-EWMA forgets at the benchmark's pace; Finagle's and Linkerd's default."""


class Steering(ABC):
    """What sets the weights of a running balancer. `cost` is the processor time of its steps, in seconds."""

    def __init__(self) -> None:
        self.cost = 0.0
        self.steps = 0

    def step(self) -> None:
        """One interval has passed."""
        began = time.thread_time()
        self._step()
        self.cost += time.thread_time() - began
        self.steps += 1

    @abstractmethod
    def _step(self) -> None:
        """Measure and set."""

    def close(self) -> None:  # noqa: B027 - only one of them holds on to something
        """Give the balancer back."""

    def told(self, speeds: Sequence[float]) -> None:  # noqa: B027 - only one of them listens
        """The true speeds have changed; 0 for a server that is of no use."""


class Nothing(Steering):
    """The weights stay equal: the balancer's own policy alone."""

    def _step(self) -> None:
        pass


class Ours(Steering):
    """LoadBalancerResource under a controller."""

    def __init__(self, url: str, interval: float) -> None:
        super().__init__()
        self._resource = LoadBalancerResource(url)
        self._controller = QuantumController(self._resource, interval=interval)

    def _step(self) -> None:
        self._controller.optimize()

    def close(self) -> None:
        """Put the weights back."""
        self._controller.stop()
        self._resource.release()


class PeakEwma(Steering):
    """Weights in inverse proportion to latency times requests under way, the latency peak-sensitive.

    As in Finagle's `Balancers.p2cPeakEwma`: a latency above the average is
    taken at once, one below it pulls with the weight 1 - exp(-T/memory).
    A balancer has no weight per request, so that it is one per interval here,
    from the same readings as ours.

    Parameters
    ----------
    url
        Of the balancer.
    interval
        Seconds between two steps.
    memory
        Seconds over which a latency is forgotten.
    """

    def __init__(self, url: str, interval: float, memory: float = PEAK_MEMORY) -> None:
        super().__init__()
        self._balancer: Balancer = open_balancer(url)
        self._interval = interval
        self._pull = 1.0 - exp(-interval / memory)
        self._last: Reading = self._balancer.read()
        self._latency: dict[str, float] = {}

    def _step(self) -> None:
        now, last = self._balancer.read(), self._last
        self._last = now
        cost = {}
        for name, one in now.back_ends.items():
            ended = one.ended - last.back_ends[name].ended
            if ended or one.in_flight:
                # Little's law, of what is under way at both ends of the interval, which a trial found to be
                # better than at its end alone; nothing ended means that it took the interval at least.
                under_way = (last.back_ends[name].in_flight + one.in_flight) / 2.0
                latency = under_way * self._interval / max(ended, 1)
                usual = self._latency.get(name, latency)
                pull = 1.0 if latency > usual else self._pull
                self._latency[name] = usual + pull * (latency - usual)
            cost[name] = max(self._latency.get(name, 0.0), 1e-3) * (one.in_flight + 1.0)
        least = min(cost.values())
        self._balancer.write({name: max(1, round(FULL_WEIGHT * least / one)) for name, one in cost.items()})


class Known(Steering):
    """The closed-form optimum of the true speeds and the true rate, which nobody can know."""

    def __init__(self, url: str, names: Sequence[str], rate: float) -> None:
        super().__init__()
        self._balancer = open_balancer(url)
        self._balancer.read()
        self._names = names
        self._rate = rate

    def _step(self) -> None:
        pass

    def told(self, speeds: Sequence[float]) -> None:
        """Set the optimum at once."""
        of_use = {name: speed for name, speed in zip(self._names, speeds, strict=True) if speed > 0.0}
        shares = optimal_shares(of_use, self._rate)
        scale = FULL_WEIGHT / max(shares.values())
        self._balancer.write({name: round(scale * shares.get(name, 0.0)) for name in self._names})


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to balance."""

    title: str
    kind: type[LocalBalancer]
    policy: str
    steer: Callable[[LocalBalancer, Sequence[str], float, float], Steering]
    """From the balancer, the names of its back ends, the rate (1/s) and the interval (s)."""


def _nothing(balancer: LocalBalancer, names: Sequence[str], rate: float, interval: float) -> Steering:  # noqa: ARG001
    return Nothing()


def _ours(balancer: LocalBalancer, names: Sequence[str], rate: float, interval: float) -> Steering:  # noqa: ARG001
    return Ours(balancer.url, interval)


def _peak_ewma(balancer: LocalBalancer, names: Sequence[str], rate: float, interval: float) -> Steering:  # noqa: ARG001
    return PeakEwma(balancer.url, interval)


def _known(balancer: LocalBalancer, names: Sequence[str], rate: float, interval: float) -> Steering:  # noqa: ARG001
    return Known(balancer.url, names, rate)


ARMS: Mapping[str, Arm] = {
    "roundrobin": Arm("HAProxy round robin", LocalHAProxy, "roundrobin", _nothing),
    "leastconn": Arm("HAProxy least connections", LocalHAProxy, "leastconn", _nothing),
    "random2": Arm("HAProxy random of two", LocalHAProxy, "random(2)", _nothing),
    "envoy": Arm("Envoy least request", LocalEnvoy, "LEAST_REQUEST", _nothing),
    "peakewma": Arm("peak-EWMA weights on least connections", LocalHAProxy, "leastconn", _peak_ewma),
    "known-rr": Arm("known speeds on round robin", LocalHAProxy, "roundrobin", _known),
    "known": Arm("known speeds on least connections", LocalHAProxy, "leastconn", _known),
    "ours": Arm("ours on least connections", LocalHAProxy, "leastconn", _ours),
    "ours-envoy": Arm("ours on Envoy least request", LocalEnvoy, "LEAST_REQUEST", _ours),
}
"""By the name that files and options use."""
