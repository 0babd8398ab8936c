"""One resource of the daemon: its mode, its controller and its links of the safety chain."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from quantum_control.config import Mode, ResourceSection, resource_type
from quantum_control.core.budget_share import Share
from quantum_control.core.chain import HoldOff, Link, Pause
from quantum_control.core.controller import QuantumController
from quantum_control.core.decision import Decision, Outcome
from quantum_control.core.hands import Hands, ReadBack
from quantum_control.core.journalled import Journalled
from quantum_control.core.oscillation import Oscillation
from quantum_control.core.quiet import QuietHours
from quantum_control.core.resource import Resource
from quantum_control.core.sensing import Checked
from quantum_control.core.watch import ObjectiveWatch
from quantum_control.core.writer import ResourceLock, resource_key
from quantum_control.daemon.audit import record
from quantum_control.daemon.shadow import Observed, Shadow
from quantum_control.daemon.surroundings import Surroundings

_log = logging.getLogger("quantum_control")

RETRY_SECONDS = (1.0, 60.0)
"""Until a resource that could not be reached is tried again: at first, and at the most."""


class Steering:
    """Steers one resource, or looks at it.

    `step` and `end` are called by one thread at a time; all else may be called
    at any time and returns at once.
    """

    def __init__(
        self,
        name: str,
        section: ResourceSection,
        around: Surroundings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.section = section
        self.mode = section.mode
        """How far it is steered now."""
        self.trouble = ""
        """Why it could not be begun; empty if it could."""
        self.pause = Pause()
        self.watch = ObjectiveWatch(section.objective.prices())
        self.hands = Hands(section.manual_hold)
        self._around = around
        self._clock = clock
        self._turn = threading.Lock()
        self._asked: queue.SimpleQueue[tuple[Callable[[], str], Future[str]]] = queue.SimpleQueue()
        self._controller: QuantumController | None = None
        self._resource: Resource | None = None
        self._watched: Observed | None = None
        self._journalled: Journalled | None = None
        self._share: Share | None = None
        self._lock: ResourceLock | None = None
        self._retry_at, self._retry_after = -float("inf"), RETRY_SECONDS[0]
        self._ended = False

    @property
    def controller(self) -> QuantumController | None:
        """What steers it; None while it is not begun."""
        return self._controller

    def step(self) -> Decision | None:
        """Do what was asked for, and take a step; None if it is not begun, for which see `trouble`."""
        with self._turn:
            if not self._asked.empty():
                self._obey()
            if self._ended:
                return None
            if self._controller is None and not self._begun():
                return None
            assert self._controller is not None  # noqa: S101 - for the type checker
            before = self._controller.size or "as found"
            decision = self._controller.optimize()
            self._tell(decision, before)
            return decision

    def end(self) -> None:
        """Put the original back, and let go of the resource; no step is taken afterwards.

        Raises
        ------
        ActuatorError
            It could not be put back; the journal keeps it.
        """
        with self._turn:
            self._ended = True
            self._let_go()

    def ask_mode(self, mode: Mode) -> Future[str]:
        """Ask for another mode, from the next step on."""

        def switch() -> str:
            self._let_go()
            before, self.mode = self.mode, mode
            self._retry_at, self._retry_after = -float("inf"), RETRY_SECONDS[0]
            return f"{before} -> {mode}"

        return self._ask(switch)

    def ask_roll_back(self, why: str = "rolled back by hand") -> Future[str]:
        """Ask for the original size, which is kept until `resume` or `go_on`."""

        def roll_back() -> str:
            self.pause.why = why
            if self._journalled is None or self._controller is None:
                return "nothing was changed"
            self._controller.stop()
            self._journalled.hold()
            return f"size {self._controller.size}"

        return self._ask(roll_back)

    def resume(self) -> None:
        """Take the control up again after a pause, a roll-back or a size set by hand."""
        self.go_on()
        self.hands.release()

    def go_on(self) -> None:
        """Take the control up again after a pause or a roll-back; a size set by hand is left."""
        journalled = self._journalled
        if journalled is not None:
            journalled.go_on()
        self.pause.why = ""

    def status(self) -> dict[str, object]:
        """What it does now; JSON."""
        controller = self._controller
        decision = controller.decisions[-1] if controller is not None and controller.decisions else None
        found: dict[str, object] = {
            "resource": self.name,
            "kind": self.section.kind,
            "mode": self.mode.value,
            "state": self._state(decision),
            "size": None if controller is None else controller.size,
            "original": None if controller is None else controller.original,
            "changes": 0 if controller is None else controller.changes,
            "failures": 0 if controller is None else controller.failures,
            "paused": self.pause.why,
        }
        if decision is not None:
            found |= {
                "wanted": decision.wanted,
                "demand": None if decision.state is None else decision.state.demand,
                "force": decision.force,
                "why": list(decision.reasons),
            }
        if self.trouble:
            found["trouble"] = self.trouble
        return found

    def explain(self) -> dict[str, Any]:
        """Say what was seen, wanted and allowed at the last step, and why; JSON."""
        controller = self._controller
        found: dict[str, Any] = dict(self.status())
        found |= {
            "law": self.section.physics_model,
            "loss_evidence": round(self.watch.evidence, 3),
            "roll_backs": self.watch.roll_backs,
            "set_by_hand": self.hands.theirs,
        }
        if controller is not None:
            found["bounds"] = [controller.bounds.minimum, controller.bounds.maximum]
            found["decisions"] = [str(decision) for decision in list(controller.decisions)[-5:]]
            found["metrics"] = {name: f"{value:.6g}" for name, value in sorted(controller.metrics.items())}
        return found

    def _state(self, decision: Decision | None) -> str:
        if self.trouble:
            return "not begun"
        if self.pause.why:
            return "paused"
        return "beginning" if decision is None else decision.outcome.value

    def _ask(self, what: Callable[[], str]) -> Future[str]:
        answer: Future[str] = Future()
        self._asked.put((what, answer))
        return answer

    def _obey(self) -> None:
        with suppress(queue.Empty):
            while True:
                what, answer = self._asked.get_nowait()
                try:
                    answer.set_result(what())
                except Exception as error:  # noqa: BLE001 - it is told to whoever asked
                    answer.set_exception(error)

    def _begun(self) -> bool:
        now = self._clock()
        if now < self._retry_at:
            return False
        try:
            self._begin()
        except Exception as error:  # noqa: BLE001 - an adapter may fail in any way; the others go on
            self._drop()
            why = f"{type(error).__name__}: {error}"
            if why != self.trouble:
                _log.warning("%s: cannot be begun: %s", self.name, why)
            self.trouble = why
            self._retry_at = now + self._retry_after
            self._retry_after = min(2.0 * self._retry_after, RETRY_SECONDS[1])
            return False
        self.trouble = ""
        self._retry_after = RETRY_SECONDS[0]
        return True

    def _begin(self) -> None:
        section, around = self.section, self._around
        if self.mode is Mode.ACTIVE:
            self._lock = ResourceLock(around.locks, resource_key(section.kind, section.options))
        options: dict[str, Any] = dict(section.options)
        resource: Any = resource_type(section.kind)(**options)
        self._resource = resource
        if self.mode is not Mode.ACTIVE and hasattr(resource, "steers_while_measuring"):
            resource.steers_while_measuring = False
        links: tuple[Link, ...]
        if self.mode is Mode.ACTIVE:
            journalled = Journalled(resource, around.journal, self.name, section.kind, section.options)
            self._narrow(journalled)
            self._journalled = journalled
            wrapped: Resource = journalled
            if section.budget is not None:
                wrapped = self._share = around.budgets[section.budget].share(journalled, section.weight)
            links = self._links()
        else:
            wrapped = self._watched = (Shadow if self.mode is Mode.SHADOW else Observed)(resource)
            self._narrow(wrapped)
            links = (self.pause,)
            if self.mode is Mode.OBSERVE:
                observed = Pause()
                observed.why = "only observed"
                links = (observed,)
        deadline = section.deadline or 2.0 * section.interval
        learns = section.auto_tune or section.physics_model == "auto"
        checked = Checked(wrapped, deadline, section.frozen_after, self._clock, self.name)
        self._controller = QuantumController(
            checked,
            section.physics_model,
            section.auto_tune,
            interval=section.interval,
            objective=section.objective.prices(),
            clock=self._clock,
            guard=section.guard.settings(),
            max_failures=section.max_failures,
            memory=around.learned / f"{self.name}.json" if learns else None,
            links=(checked.frozen, *links),
        )
        for exporter in around.exporters:
            exporter.add(self._controller, self.name, section.kind)

    def _links(self) -> tuple[Link, ...]:
        """The chain behind the guard, in the order in which it acts: whoever is last has the last word."""
        section = self.section
        links: list[Link] = [Oscillation(), HoldOff(section.hold_off), QuietHours(section.quiet)]
        if section.roll_back:
            self.watch = ObjectiveWatch(section.objective.prices(), kept=self._kept)
            links.append(self.watch)
        if section.manual_hold > 0.0:
            self.hands = Hands(section.manual_hold)
            links.append(self.hands)
        return (*links, self.pause, ReadBack())

    def _kept(self) -> bool:
        """Whether somebody wants the size as it is."""
        return self.pause.keeps or self.hands.keeps

    def _narrow(self, resource: Resource) -> None:
        section = self.section
        if section.min_size is not None:
            resource.min_size = max(resource.min_size, section.min_size)
        if section.max_size is not None:
            most = resource.max_size
            resource.max_size = section.max_size if most is None else min(most, section.max_size)

    def _let_go(self) -> None:
        try:
            if self._controller is not None:
                self._controller.stop(restore=False)
            if self._share is not None:
                self._around.budgets[str(self.section.budget)].leave(self._share)
            if self._journalled is not None and self.hands.theirs is not None:
                self._journalled.let_go()
            elif self._journalled is not None:
                self._journalled.put_back()
        finally:
            self._drop()

    def _drop(self) -> None:
        """Let go of everything, whatever state it is in."""
        for exporter in self._around.exporters:
            exporter.remove(self.name)
        release = getattr(self._resource, "release", None)
        if callable(release):
            try:
                release()
            except Exception as error:  # noqa: BLE001 - the original is back already, or in the journal
                _log.warning("%s: could not be released: %s", self.name, error)
        if self._lock is not None:
            self._lock.release()
        self._controller = self._resource = self._watched = self._journalled = None
        self._share = self._lock = None

    def _tell(self, decision: Decision, before: int | str) -> None:
        watched = self._watched
        real = None if watched is None else watched.real
        now, mode = time.time(), self.mode.value
        self._around.audit.write(record(now, self.name, mode, decision, real, self.section.interval))
        if self._around.page is not None:
            self._around.page.record(self.name, mode, now, decision, real)
        if decision.outcome is Outcome.CHANGED and self.mode is Mode.ACTIVE:
            what = {"resource": self.name, "before": before, "size": decision.allowed}
            _log.info("%s: %s -> %d: %s", self.name, before, decision.allowed, decision, extra=what)
