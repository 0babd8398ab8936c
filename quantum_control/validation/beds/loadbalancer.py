"""A real HAProxy before real HTTP servers of unequal and changing speed, in short blocks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field, replace
from itertools import product
from types import TracebackType
from typing import Any

import numpy as np

from quantum_control.bench.arrivals import Answer, send
from quantum_control.bench.balancers import SERVER_TIMEOUT, LocalHAProxy
from quantum_control.bench.steering import Known, Nothing, PeakEwma, Steering
from quantum_control.bench.unequal import UnequalServers
from quantum_control.core.controller import QuantumController
from quantum_control.core.resource import Resource
from quantum_control.core.shares import optimal_shares
from quantum_control.daemon.shadow import Shadow
from quantum_control.resources.balancer import FULL_WEIGHT, open_balancer
from quantum_control.resources.loadbalancer import LoadBalancerResource
from quantum_control.validation.bed import TIMES, Bed, Block, Turn
from quantum_control.validation.beds.steps import Steps
from quantum_control.validation.beds.version import version_of
from quantum_control.validation.plan import AGAIN, BEST, DEFAULT, UNSTEERED, WATCHED

PEER, KNOWN = "peer", "known speeds"

DEFAULT_POLICY, BEST_POLICY = "roundrobin", "leastconn"
"""What HAProxy does without a word, and the policy on which weights are steered."""

POLICIES = ("roundrobin", "leastconn", "random(2)")
WEIGHTS = ("equal", "by speed", "optimal")
"""Fixed weights among which the best are looked for: by the speeds as they usually are, which somebody may
have measured once."""

OK = 200

TICK = 0.01
"""Seconds between two points of a course."""

AHEAD = 0.02
"""Seconds before the first request: the servers have taken their speeds by then."""


@dataclass(frozen=True, slots=True)
class Arm:
    """A balancer that lasts over all blocks."""

    balancer: LocalHAProxy
    steering: Steering = field(default_factory=Nothing)
    steps: Steps | None = None
    """None where nothing steers."""


@dataclass(frozen=True, slots=True)
class Course:
    """What a block is like."""

    due: Sequence[float]
    """Seconds at which requests leave, ascending."""
    work: Sequence[float]
    speeds: tuple[list[float], list[float]]
    """Requests per second of each server, before and after the change."""
    change: float
    """Seconds into the block."""


class LoadBalancerBed(Bed):
    """The servers of `quantum-control bench loadbalancer`, but faster, behind an HAProxy for each arm.

    Speeds change from one stretch of pairs to the next, within the first block
    of it, among what is measured. In every other stretch two servers drawn at
    random have changed places. The servers are the same for all arms, and idle
    at the beginning of each block.
    """

    SETTINGS = TIMES | {"change", "memory", "speeds", "sweep", "utilisation"}
    METRICS = frozenset({"latency_mean", "failed", "latency_p99", "latency_p50", "throughput"})

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__(settings)
        self._stack = ExitStack()
        self._arms: dict[str, Arm] = {}
        self._speeds: list[float] = [float(speed) for speed in settings["speeds"]]
        self._names = [f"s{number}" for number in range(len(self._speeds))]
        self._rate = float(settings["utilisation"]) * sum(self._speeds)
        self._servers = self._stack.enter_context(UnequalServers(self._speeds))

    def calibrate(self, turns: list[Turn], tell: Callable[[str], object]) -> dict[str, Any]:
        """Play arrivals of the run to every policy of HAProxy with every kind of fixed weights."""
        if not turns:
            return {}
        candidates = [f"{policy}, {weights} weights" for policy, weights in product(POLICIES, WEIGHTS)]
        chosen = turns[: self.settings["sweep"]]
        latencies: dict[str, list[float]] = {name: [] for name in candidates}
        with ExitStack() as stack:
            arms = {name: self._fixed(stack, name) for name in candidates}
            for number, turn in enumerate(chosen, 1):
                tell(f"looking for the best fixed weights: block {number} of {len(chosen)}")
                for name in turn.order().permutation(candidates).tolist():
                    latencies[name].append(self._play(arms[name], turn).metrics["latency_mean"])
        # The geometric mean, as the arms are compared by ratios.
        means = {name: float(np.exp(np.mean(np.log(found)))) for name, found in latencies.items()}
        return {
            "best_fixed": min(means, key=means.__getitem__),
            "latency_by_candidate": {name: round(value, 6) for name, value in means.items()},
        }

    def prepare(self, calibration: Mapping[str, Any], arms: list[str]) -> None:
        """Start the balancers."""
        for name in arms:
            if name in (DEFAULT, AGAIN, UNSTEERED):
                self._arms[name] = Arm(self._balancer(self._stack, DEFAULT_POLICY))
            elif name == BEST:
                self._arms[name] = self._fixed(self._stack, str(calibration["best_fixed"]))
            else:
                self._arms[name] = self._steered(name)

    def run(self, arm: str, turn: Turn) -> Block:
        """Play a turn to an arm."""
        return self._play(self._arms[arm], turn)

    def versions(self) -> dict[str, str]:
        """HAProxy's."""
        return {"haproxy": version_of(LocalHAProxy.executable(), "-v")}

    def _balancer(self, stack: ExitStack, policy: str) -> LocalHAProxy:
        return stack.enter_context(LocalHAProxy(self._servers.addresses, policy))

    def _fixed(self, stack: ExitStack, name: str) -> Arm:
        """One of the candidates."""
        policy, _, kind = name.partition(", ")
        balancer = self._balancer(stack, policy)
        usual = dict(zip(self._names, self._speeds, strict=True))
        shares = {
            "equal weights": dict.fromkeys(usual, 1.0),
            "by speed weights": usual,
            "optimal weights": optimal_shares(usual, self._rate),
        }[kind]
        admin = open_balancer(balancer.url)
        admin.read()
        scale = FULL_WEIGHT / max(shares.values())
        admin.write({name: round(scale * share) for name, share in shares.items()})
        return Arm(balancer)

    def _steered(self, name: str) -> Arm:
        """The better policy, with weights that are steered, all equal in the beginning."""
        balancer = self._balancer(self._stack, DEFAULT_POLICY if name == WATCHED else BEST_POLICY)
        if name == KNOWN:
            return Arm(balancer, Known(balancer.url, self._names, self._rate))
        steps = Steps(float(self.settings["interval"]))
        if name == PEER:
            peer = PeakEwma(balancer.url, steps.interval, float(self.settings["memory"]))
            steps.step = peer.step
            return Arm(balancer, peer, steps)
        resource: Resource = self._stack.enter_context(
            LoadBalancerResource(balancer.url, steer_weights=name != WATCHED, clock=steps.clock)
        )
        if name == WATCHED:
            resource, name = Shadow(resource), "auto"
        steps.steer(
            QuantumController(resource, name, auto_tune=True, interval=steps.interval, clock=steps.clock)
        )
        return Arm(balancer, steps=steps)

    def _play(self, arm: Arm, turn: Turn) -> Block:
        course = self._course(turn)
        seconds = float(self.settings["seconds"])
        self._change(arm, course.speeds[0])
        begin = time.monotonic() + AHEAD
        with nullcontext() if arm.steps is None else arm.steps.between(begin, begin + seconds):
            answers = asyncio.run(self._drive(arm, course))
        return Block(
            metrics=self._figures(answers),
            control_cpu=0.0 if arm.steps is None else arm.steps.cpu,
            steps=0 if arm.steps is None else arm.steps.taken,
            control_memory=None if arm.steps is None else arm.steps.memory(),
            late=float(np.percentile([answer.late for answer in answers], 99.0)),
            course=_course(answers, seconds, len(self._names)),
            phase="changed" if turn.stretch % 2 else "usual",
        )

    async def _drive(self, arm: Arm, course: Course) -> list[Answer]:
        """Send the requests, and change the servers in their midst."""
        if course.speeds[0] != course.speeds[1]:
            loop = asyncio.get_running_loop()
            # On a thread: whoever is told the speeds talks to the balancer.
            loop.call_later(
                AHEAD + course.change,
                lambda: loop.run_in_executor(None, self._change, arm, course.speeds[1]),
            )
        return await send(arm.balancer.port, [AHEAD + at for at in course.due], course.work)

    def _change(self, arm: Arm, speeds: Sequence[float]) -> None:
        """Give the servers these speeds, and tell whoever listens."""
        for number, speed in enumerate(speeds):
            if self._servers.speeds[number] != speed:
                self._servers.become(number, speed=speed)
        arm.steering.told(speeds)

    def _course(self, turn: Turn) -> Course:
        """Poisson arrivals of exponential work, and the speeds."""
        rng = turn.arrivals()
        seconds = float(self.settings["seconds"])
        due = np.sort(rng.random(rng.poisson(self._rate * seconds))) * seconds
        now = self._speeds_of(turn)
        before = now
        if turn.place == 0 and turn.stretch > 0:
            before = self._speeds_of(replace(turn, stretch=turn.stretch - 1))
        change = float(self.settings["change"])
        return Course(due.tolist(), rng.exponential(1.0, due.size).tolist(), (before, now), change)

    def _speeds_of(self, turn: Turn) -> list[float]:
        speeds = list(self._speeds)
        if turn.stretch % 2:
            one, other = turn.conditions().choice(len(speeds), 2, replace=False).tolist()
            speeds[one], speeds[other] = speeds[other], speeds[one]
        return speeds

    def _figures(self, answers: Sequence[Answer]) -> dict[str, float]:
        wash_in, seconds = AHEAD + float(self.settings["wash_in"]), AHEAD + float(self.settings["seconds"])
        counts = [answer for answer in answers if answer.due >= wash_in]
        good = np.array([answer.status == OK for answer in counts])
        took = np.array([answer.seconds for answer in counts])
        # Whoever got no good answer has lost what a client waits for one at the most.
        took = np.where(good, took, np.maximum(took, SERVER_TIMEOUT))
        ended = np.array([answer.due for answer in counts]) + took
        return {
            "latency_mean": float(took.mean()),
            "latency_p99": float(np.percentile(took, 99.0)),
            "latency_p50": float(np.median(took)),
            "failed": float(1.0 - good.mean()),
            "throughput": float(np.sum(good & (ended <= seconds))) / (seconds - wash_in),
        }

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()


def _course(answers: Sequence[Answer], seconds: float, servers: int) -> list[tuple[float, float, float]]:
    """Time, servers, and requests under way, again and again within the block."""
    due = np.sort([answer.due for answer in answers])
    ends = np.sort([answer.due + answer.seconds for answer in answers])
    return [
        (
            float(at),
            float(servers),
            float(np.searchsorted(due, AHEAD + at, "right") - np.searchsorted(ends, AHEAD + at, "right")),
        )
        for at in np.arange(0.0, seconds, TICK)
    ]
