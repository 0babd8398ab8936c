"""A resource of one's own, held at its original size and steered in turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from math import ceil, isfinite, nan
from types import TracebackType
from typing import Any

from quantum_control.core.controller import QuantumController
from quantum_control.core.decision import Decision, Outcome
from quantum_control.core.errors import ActuatorError, ConfigError, SensorError
from quantum_control.core.physics import Objective
from quantum_control.core.resource import ResourceState
from quantum_control.core.runner import Schedule
from quantum_control.daemon.steering import Steering
from quantum_control.validation.bed import TIMES, Bed, Block, Turn
from quantum_control.validation.experiment import EndedEarlyError
from quantum_control.validation.footprint import controller_bytes
from quantum_control.validation.plan import STEERED

HELD_WHY = "held at its original size for comparison"

REPORTED = (
    "wait_seconds",
    "service_seconds",
    "latency_seconds",
    "throughput",
    "sent",
    "errors",
    "drops",
)
"""Metrics of a resource that are compared where it reports them."""

FEWEST = 0.5
"""Share of a block's steps that have to be measured."""


class UnmeasuredError(SensorError):
    """Too few intervals of a block could be measured; all of it counts as a failure."""


@dataclass(slots=True)
class Tale:
    """What was seen in a block, once its wash-in was over."""

    steps: int = 0
    failed: int = 0
    states: list[ResourceState] = field(default_factory=list)
    moves: list[float] = field(default_factory=list)
    """Change of size since the state before, one for each state."""
    reported: dict[str, list[float]] = field(default_factory=dict)
    course: list[tuple[float, float, float]] = field(default_factory=list)

    def figures(self, prices: Objective) -> dict[str, float]:
        """Means over its intervals; nan for what the resource does not report."""
        backlogs = [max(state.demand - state.size, 0.0) for state in self.states]
        costs = [
            prices.cost(backlog, state.size, move)
            for backlog, state, move in zip(backlogs, self.states, self.moves, strict=True)
        ]
        return {
            "cost": _mean(costs),
            "size": _mean([state.size for state in self.states]),
            "backlog": _mean(backlogs),
            "changes": _mean([float(move != 0.0) for move in self.moves]),
            "failures": self.failed / max(self.steps, 1),
        } | {name: _mean(self.reported.get(name, [])) for name in REPORTED}


class OwnBed(Bed):
    """What the daemon would steer, by the daemon's own parts, and put back for the blocks that are held.

    The control takes its steps in every block, so that it knows the demand
    when its turn comes, as it would if it were never interrupted; in held
    blocks it is rolled back and paused, as by `quantum-control ctl rollback`.

    Parameters
    ----------
    settings
        `interval`, `wash_in` and `seconds` of a block, all in seconds.
    steering
        Of the resource, in active mode, not begun yet. It is ended with the bed.
    rest
        Waits for so many seconds; may raise `KeyboardInterrupt`.
    clock
        Seconds.
    """

    SETTINGS = TIMES | {"harm", "resource", "configuration"}
    METRICS = frozenset({"cost", "size", "backlog", "changes", "failures", *REPORTED})

    def __init__(
        self,
        settings: Mapping[str, Any],
        steering: Steering,
        rest: Callable[[float], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(settings)
        self._steering = steering
        self._rest = rest
        self._clock = clock
        interval = float(settings["interval"])
        self._schedule = Schedule(interval, clock())
        self._wash_in = ceil(float(settings["wash_in"]) / interval)
        self._counted = ceil(float(settings["seconds"]) / interval)
        self._size = nan  # in force at the last measurement
        self._cpu = 0.0
        self._late: list[float] = []

    @property
    def original(self) -> int:
        """Size found."""
        return self._controller.original or 0

    @property
    def _controller(self) -> QuantumController:
        if self._steering.controller is None:
            raise SensorError(f"{self._steering.name} cannot be reached: {self._steering.trouble}")
        return self._steering.controller

    def look(self) -> set[str]:
        """Begin, measure for a wash-in without a change, and say which metrics the resource reports.

        Raises
        ------
        ConfigError
            It cannot be begun or measured; nothing was changed.
        """
        self._steering.pause.why = HELD_WHY
        if self._step() is None:
            raise ConfigError(f"{self._steering.name} cannot be steered: {self._steering.trouble}")
        try:
            tale = self._play(self._held(), max(self._wash_in, 2))
        except EndedEarlyError as error:
            raise ConfigError(f"{self._steering.name} cannot be measured: {error}") from error
        if not tale.states:
            last = self._controller.decisions[-1]
            raise ConfigError(f"{self._steering.name} cannot be measured: {'; '.join(last.reasons)}")
        return {name for name, values in tale.reported.items() if values}

    def calibrate(self, turns: list[Turn], tell: Callable[[str], object]) -> dict[str, Any]:  # noqa: ARG002 - a Bed
        """Nothing has to be known beforehand; what was found is written down."""
        return {"original": self.original, "unit": self._controller.resource.unit}

    def prepare(self, calibration: Mapping[str, Any], arms: list[str]) -> None:  # noqa: ARG002 - a Bed
        """Refuse to go on with another original.

        Raises
        ------
        ConfigError
            The size found is not that of the data that are there.
        """
        if calibration["original"] != self.original:
            raise ConfigError(
                f"{self._steering.name} has size {self.original}, and had {calibration['original']} when the"
                " experiment began: held blocks would not be the same; give another --out"
            )

    def run(self, arm: str, turn: Turn) -> Block:  # noqa: ARG002 - the load is what it is
        """Hold or steer for a wash-in and the block.

        Raises
        ------
        EndedEarlyError
            The resource was given back by the daemon's own rules, or somebody else set its size.
        UnmeasuredError
            Too little could be measured.
        ActuatorError
            The original was not in force.
        """
        self._cpu, self._late = 0.0, []
        steps = self._controller.steps
        done = None
        if arm == STEERED:
            self._steering.go_on()
        else:
            done = self._held()
        self._play(done, self._wash_in)
        tale = self._play(None, self._counted)
        if len(tale.states) < FEWEST * self._counted:
            raise UnmeasuredError(f"only {len(tale.states)} of {self._counted} intervals could be measured")
        if arm != STEERED:
            self._check_held(tale.states)
        controller = self._controller
        return Block(
            metrics=tale.figures(self._steering.section.objective.prices()),
            control_cpu=self._cpu,
            steps=controller.steps - steps,
            late=sorted(self._late)[int(0.99 * len(self._late))],
            course=tale.course,
            control_memory=controller_bytes(controller),
        )

    def _held(self) -> Future[str]:
        return self._steering.ask_roll_back(HELD_WHY)

    def _play(self, asked: Future[str] | None, steps: int) -> Tale:
        """Take some steps; what was asked for is done by the first."""
        tale = Tale()
        began = self._clock()
        for _ in range(steps):
            decision = self._step()
            if asked is not None:
                asked.result(0.0)  # an original that cannot be put back ends the block
                asked = None
            self._look_out()
            tale.steps += 1
            if decision is None or decision.outcome in (Outcome.FAILED, Outcome.SUSPENDED):
                tale.failed += 1
            if decision is not None and decision.state is not None:
                self._note(tale, decision.state, self._clock() - began)
        return tale

    def _note(self, tale: Tale, state: ResourceState, at: float) -> None:
        tale.states.append(state)
        tale.moves.append(state.size - self._size if isfinite(self._size) else 0.0)
        self._size = state.size
        tale.course.append((at, state.size, state.demand))
        found = self._controller.metrics
        for name in REPORTED:
            value = found.get(name, getattr(state, name, nan))
            if isfinite(value):
                tale.reported.setdefault(name, []).append(value)

    def _step(self) -> Decision | None:
        wait = self._schedule.remaining(now := self._clock())
        self._rest(wait)
        self._late.append(max(self._clock() - now - wait, 0.0))
        began = time.thread_time()
        decision = self._steering.step()
        self._cpu += time.thread_time() - began
        return decision

    def _look_out(self) -> None:
        """End the experiment where the daemon's own rules have given the resource back."""
        steering, controller = self._steering, self._controller
        if controller.suspended:
            why = "; ".join(controller.decisions[-1].reasons)
            raise EndedEarlyError(
                f"the circuit opened: {steering.section.max_failures} failures in a row, the last of them:"
                f" {why}"
            )
        if steering.watch.roll_backs:
            raise EndedEarlyError(
                "steering does harm: it has cost significantly more than the original size would have, by the"
                " daemon's own watch (roll_back)"
            )
        if steering.hands.theirs is not None:
            raise EndedEarlyError(f"somebody else has set size {steering.hands.theirs}, which is left")

    def _check_held(self, states: Sequence[ResourceState]) -> None:
        original = self.original
        off = [state.size for state in states if abs(state.size - original) >= max(1.0, 0.01 * original)]
        if len(off) > len(states) / 2:
            raise ActuatorError(
                f"size {off[-1]:g} was in force while the original, {original}, was to be held"
            )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Put the original back.

        Raises
        ------
        ActuatorError
            It could not be; the journal keeps it.
        """
        self._steering.end()


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else nan
