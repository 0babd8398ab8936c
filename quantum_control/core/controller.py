"""The loop: measure, estimate, compute a force, turn it into a size, guard, apply, record."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from math import exp, inf, nan
from types import TracebackType
from typing import Self

from quantum_control.core.actuator import Actuator
from quantum_control.core.chain import Link
from quantum_control.core.decision import Decision, Outcome, quick_decision
from quantum_control.core.errors import ConfigError, LifecycleError
from quantum_control.core.estimation import Estimator
from quantum_control.core.knee import Knee
from quantum_control.core.memory import Memory
from quantum_control.core.physics import MAX_EXPONENT, Objective, PhysicsModel
from quantum_control.core.plugins import law
from quantum_control.core.resource import Resource, ResourceState
from quantum_control.core.runner import Runner
from quantum_control.core.safety import Bounds, Guard, GuardSettings, positive_int
from quantum_control.core.score import PredictionScore
from quantum_control.core.suspension import Suspension
from quantum_control.core.tally import Tally, kind_of

_log = logging.getLogger("quantum_control")

HISTORY = 60
"""States, and decisions, that are kept."""

KEEP_EVERY = 600
"""Steps between two writings of what was learnt."""


class QuantumController:
    """Steers the size of one resource.

    Parameters
    ----------
    resource
        What is steered.
    physics_model
        Name of a law ("optomechanical", "parametric", "coherent", "auto" or a
        plug-in's), or an instance.
    auto_tune
        Learn headroom and how fast the filter follows online, by the prices of `objective`.
    interval
        Seconds between steps of `start()` and `run()`; the unit in which
        prices are charged.
    objective
        Prices by which tuning and selection judge, and which set the headroom.
    clock
        Seconds; replace it to step `optimize()` in a simulation without sleeping.
    guard
        How fast and how finely the size may move.
    max_failures
        Consecutive failures after which the original size is restored. As many
        good measurements in a row take the control up again. Not while a link keeps a size
        that somebody wants (`core.chain.Keeping`).
    memory
        File in which what the law learns, and the knee, is kept over restarts; one for each
        resource. Written now and then and at `stop()`.
    links
        Further links of the safety chain, in the order in which they act after the guard.

    Raises
    ------
    ConfigError
        A parameter is out of its range, a name is unknown, or the memory
        cannot be read.
    """

    def __init__(
        self,
        resource: Resource,
        physics_model: str | PhysicsModel = "optomechanical",
        auto_tune: bool = False,
        *,
        interval: float = 1.0,
        objective: Objective | None = None,
        clock: Callable[[], float] = time.monotonic,
        guard: GuardSettings | None = None,
        max_failures: int = 5,
        memory: str | os.PathLike[str] | None = None,
        links: Sequence[Link] = (),
    ) -> None:
        if not 0.0 < interval <= threading.TIMEOUT_MAX:
            raise ConfigError(f"interval={interval!r}: seconds between steps, a positive number")
        self.resource = resource
        self.interval = float(interval)
        self.objective = objective or Objective()
        chosen = law(physics_model, self.objective)
        self.physics = chosen.tuned(self.objective) if auto_tune else chosen
        self._memory = None if memory is None else Memory(memory)
        self.bounds = Bounds(resource.min_size, resource.max_size)
        self.history: deque[ResourceState] = deque(maxlen=HISTORY)
        self.decisions: deque[Decision] = deque(maxlen=HISTORY)
        self.metrics: dict[str, float] = {}
        """What the resource's `get_metrics()` last returned."""
        self.steps = 0
        self.tally = Tally()
        self.score = PredictionScore()
        self._clock = clock
        self._actuator = Actuator(resource)
        self.links = tuple(links)
        self._suspension = Suspension(self._actuator, positive_int("max_failures", max_failures), self.links)
        self._guard = Guard(self.bounds, guard)
        self._chain = tuple((kind_of(link), link) for link in self.links)
        self._knee = Knee()
        if self._memory is not None:
            self._memory.recall(self.physics)
            self._memory.recall(self._knee)
        self._estimator = Estimator(
            self.interval,
            anticipate=self.physics.anticipate,
            missed=self.physics.missed,
            agility=self.physics.agility,
            jump=self.physics.jump,
        )
        self._time = -inf
        name = f"quantum_control({type(resource).__name__})"
        self._runner = Runner(self._step, self._put_back, self.interval, name)

    @property
    def original(self) -> int | None:
        """Size found at the first measurement; None before it."""
        return self._actuator.original or None

    @property
    def size(self) -> int | None:
        """Size last ordered, at first the original; None before the first measurement."""
        return self._actuator.size or None

    @property
    def changes(self) -> int:
        """Steps that changed the size so far."""
        return self.tally.changed

    @property
    def failures(self) -> int:
        """Failures of the resource or the law so far."""
        return self._suspension.failures

    @property
    def suspended(self) -> bool:
        """Whether too many failures have handed the resource back its original size."""
        return self._suspension.active

    # ---- one step -----------------------------------------------------------------------------

    def optimize(self) -> Decision:
        """One step of the loop; it does not raise for what the resource or the law does.

        Each failure of theirs is counted and leaves the size alone; after
        `max_failures` in a row the original size is restored.

        Raises
        ------
        LifecycleError
            It runs in the process from which this one was forked.
        """
        return self._runner.once()

    def _step(self) -> Decision:
        began = time.perf_counter()
        decision = self._decision()
        self.decisions.append(decision)
        self.steps += 1
        self.tally.seconds += time.perf_counter() - began
        if self._memory is not None and self.steps % KEEP_EVERY == 0:
            self._memory.keep(self.physics, self._knee)
        return decision

    def _decision(self) -> Decision:
        now = self._clock()
        if not self._time < now < inf:
            self._time = min(self._time, now)  # a clock that went back is believed from here on
            self.tally.held += 1
            return Decision.standing(now, Outcome.HELD, self._actuator.size, "the clock did not advance")
        state, force, wanted, doing = None, 0.0, nan, "measuring"
        try:
            state, elapsed = self._measure(now)
            if self._suspension.active and (why := self._suspension.holds()):
                self.tally.suspended += 1
                return Decision.standing(now, Outcome.SUSPENDED, self._actuator.size, why, state)

            doing = "computing the force"
            force = float(self.physics.calculate_force(state))
            wanted = self.calculate_action(force)
            size = self._actuator.size
            allowed, reasons = self._allow(state, size, wanted, elapsed)
            for kind, link in self._chain:
                allowed, why = link.allow(state, size, allowed)
                if why:
                    reasons = (*reasons, why)
                    self.tally.intervened(kind)
            setpoint = self.physics.setpoint(state)
            expected = self.physics.predict_demand(state)

            if self._runner.stop_asked:
                allowed, reasons = size, ("stop() was called",)
            outcome = Outcome.HELD
            if allowed == size:
                self._actuator.exact = float(allowed) if reasons else wanted
                self.tally.held += 1
            else:
                doing = f"applying size {allowed}"
                self._actuator.order(allowed)
                self.tally.changed += 1
                outcome = Outcome.CHANGED
        except Exception as error:  # noqa: BLE001 - both may fail in any way; the loop goes on
            return self._failure(now, f"{doing}: {type(error).__name__}: {error}", state, force, wanted)
        self._suspension.succeeded()
        self.score.predict(expected, state.demand)
        self.tally.charge(state, self._actuator.original, self.objective)
        return quick_decision(now, outcome, state, force, setpoint, wanted, allowed, reasons)

    def _measure(self, now: float) -> tuple[ResourceState, float]:
        measured = self.resource.measure_state()
        self.metrics = metrics = self.resource.get_metrics()
        self.physics.delay = self._estimator.delay
        state = self._estimator.update(measured, now, self._actuator.exact, metrics)
        # The size as it was reported, if it was: an integer may be past what floats can hold.
        in_force = measured.size if measured.size == measured.size else state.size
        self._actuator.see(in_force, self._estimator.delay)
        self.score.observe(state.demand, state.size)
        self.history.append(state)
        elapsed = now - self._time
        self._time = now
        return state, elapsed if elapsed < inf else self.interval

    def calculate_action(self, force: float) -> float:
        """Size u·exp(F·interval) that `force` (1/s) asks for, before the guard; in the resource's unit.

        u is the size ordered, with the fraction of a unit that forces have added up to since.

        Raises
        ------
        LifecycleError
            Nothing has been measured yet, so that there is no size to change.
        """
        if not self._actuator.size:
            raise LifecycleError("no size is known before the first measurement: call optimize() or start()")
        exponent = force * self.interval
        return self._actuator.exact * exp(MAX_EXPONENT if exponent > MAX_EXPONENT else exponent)

    def _allow(
        self, state: ResourceState, size: int, wanted: float, elapsed: float
    ) -> tuple[int, tuple[str, ...]]:
        if 0.0 <= state.throughput < inf:
            self._knee.observe(state.size, state.demand, state.throughput, elapsed)
        within = self._knee.limit(size, wanted, self.metrics.get("useful_size", nan))
        reasons: tuple[str, ...] = ()
        if within < wanted:
            reasons = (self._knee.reason,)
            self.tally.intervened("knee")
        allowed, guarded = self._guard.allow(size, within, elapsed / self.interval)
        if guarded:
            reasons = (*reasons, guarded)
            self.tally.intervened(guarded)
        return allowed, reasons

    def _failure(
        self, now: float, why: str, state: ResourceState | None, force: float, wanted: float
    ) -> Decision:
        suspension, tally = self._suspension, self.tally
        before = suspension.active
        refused = suspension.failed()
        if suspension.in_a_row == 1:
            _log.warning("%s: %s", self, why)
        tally.handed_back += suspension.active and not before and not suspension.kept
        tally.suspended += suspension.active
        tally.failed += not suspension.active
        outcome = Outcome.SUSPENDED if suspension.active else Outcome.FAILED
        why = f"{why}; {refused}" if refused else why
        return Decision.standing(now, outcome, self._actuator.size, why, state, force=force, wanted=wanted)

    # ---- running ---------------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """Whether `start()` or `run()` is under way; in a forked child they are not."""
        return self._runner.running

    @property
    def inherited(self) -> bool:
        """Whether this is a forked child's copy that has done nothing here: what it tells is the parent's."""
        return self._runner.inherited

    def start(self) -> None:
        """Take a step every `interval` seconds on a thread of its own until `stop()`.

        The thread does not keep the interpreter from ending, but it keeps the
        controller alive. When the interpreter ends, the original size is put
        back, for which that waits for a step under way, 5 s at the most. A
        process that is killed, by SIGKILL or by a SIGTERM for which there is no
        handler, puts nothing back: see `docs/safety.md`.

        Raises
        ------
        LifecycleError
            It runs already, here or in the process from which this one was forked.
        """
        self._runner.start()

    async def run(self) -> None:
        """Do as `start()` does, in the running event loop, until `stop()` or cancellation.

        Cancellation restores the original size. The steps are taken in the
        event loop, which waits for the resource meanwhile: one that is slow
        to answer is for `start()`.

        Raises
        ------
        LifecycleError
            As `start`.
        ActuatorError
            The original size could not be restored.
        """
        try:
            await self._runner.run()
        finally:
            self._keep()

    def stop(self, restore: bool = True) -> None:
        """End the loop, wait for the step under way, and restore the original size unless told not to.

        May be called at any time, any number of times, also without `start()`,
        and from any thread. Called from inside a step, by the resource or the
        law, it takes effect as that step ends, which then changes nothing. In a
        forked child that has neither started it nor taken a step it does nothing.

        Raises
        ------
        ActuatorError
            The original size could not be restored.
        """
        try:
            self._runner.stop(restore=restore)
        finally:
            self._keep()

    def _put_back(self) -> None:
        before = self._actuator.size
        self._actuator.restore()
        self.tally.put_back += self._actuator.size != before

    def _keep(self) -> None:
        if self._memory is not None and self.steps and not self.inherited:
            self._memory.keep(self.physics, self._knee)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<QuantumController of {type(self.resource).__name__}: {self.physics.name}, size {self.size}>"
