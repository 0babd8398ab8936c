"""One resource of the daemon: its mode, its controller and its links of the safety chain."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from quantum_control.config import Mode, ResourceSection, resource_type
from quantum_control.core.chain import HoldOff, Link, Pause
from quantum_control.core.controller import QuantumController
from quantum_control.core.decision import Decision, Outcome
from quantum_control.core.errors import ActuatorError
from quantum_control.core.hands import Hands, ReadBack
from quantum_control.core.oscillation import Oscillation
from quantum_control.core.quiet import QuietHours
from quantum_control.core.resource import Resource
from quantum_control.core.sensing import Checked
from quantum_control.core.watch import ObjectiveWatch
from quantum_control.core.writer import ResourceLock, resource_key
from quantum_control.daemon.account import explain, status
from quantum_control.daemon.audit import record
from quantum_control.daemon.errands import Errands
from quantum_control.daemon.holding import Holding, narrow
from quantum_control.daemon.originals import put_back_before
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
        """Why it could not be begun, or what it was begun with not be put back; empty if it could."""
        self.unreturned = ""
        """Why a roll-back that was asked for has not come off yet; empty if it has."""
        self.pause = Pause()
        self.watch = ObjectiveWatch(section.objective.prices())
        self.hands = Hands(section.manual_hold)
        self._around = around
        self._clock = clock
        self._turn = threading.Lock()
        self._errands = Errands()
        self._controller: QuantumController | None = None
        self._checked: Checked  # what it steers; there with it
        # What is held of the resource: there without a controller if it could not be put back.
        self._holding: Holding | None = None
        self._watched: Observed | None = None
        self._retry_at, self._retry_after = -float("inf"), RETRY_SECONDS[0]
        self._ended = False

    @property
    def controller(self) -> QuantumController | None:
        """What steers it; None while it is not begun."""
        return self._controller

    @property
    def ended(self) -> bool:
        """Whether it was told to end; with `trouble` where the original is not back yet."""
        return self._ended

    def step(self) -> Decision | None:
        """Do what was asked for, and take a step; None if it is not begun, for which see `trouble`."""
        with self._turn:
            self._errands.do()
            if self._controller is None and not (self._put_back() and not self._ended and self._begun()):
                return None
            assert self._controller is not None  # noqa: S101 - for the type checker
            if self.unreturned:
                with suppress(Exception):  # it was told, and is tried again
                    self._roll_back()
            before = self._controller.size or "as found"
            decision = self._controller.optimize()
            self._note(decision)
            self._tell(decision, before)
            if self._checked.gone:
                self._leave_what_is_gone(decision)
            return decision

    def end(self) -> None:
        """Put the original back, and let go of the resource; no step is taken afterwards.

        Raises
        ------
        ActuatorError
            It could not be put back; the journal keeps it. Each further call, and
            each call of `step`, tries again.
        """
        with self._turn:
            self._ended = True
            self._let_go()

    def ask_mode(self, mode: Mode) -> Future[str]:
        """Ask for another mode, from the next step on, or that at which the original is back."""

        def switch() -> str:
            before, self.mode = self.mode, mode
            self._retry_at, self._retry_after = -float("inf"), RETRY_SECONDS[0]
            self._let_go()
            return f"{before} -> {mode}"

        return self._errands.ask(switch)

    def ask_roll_back(self, why: str = "rolled back by hand") -> Future[str]:
        """Ask for the original size, which is kept, or tried again, until `resume` or `go_on`."""
        self.pause.why = why
        return self._errands.ask(self._roll_back)

    def resume(self) -> None:
        """Take the control up again after a pause, a roll-back or a size set by hand."""

        def release() -> str:
            self.hands.release()
            return "resumed"

        self.go_on()
        self._errands.ask(release)

    def go_on(self) -> None:
        """Take the control up again after a pause or a roll-back; a size set by hand is left."""

        def go_on() -> str:
            self.unreturned = ""
            if self._holding is not None:
                self._holding.go_on()
            return "gone on"

        self.pause.why = ""
        self._errands.ask(go_on)

    @property
    def granted(self) -> int | None:
        """Size that its budget has granted; None without one."""
        holding = self._holding
        share = None if holding is None else holding.share
        return None if share is None else share.granted // share.pools

    def status(self) -> dict[str, object]:
        """What it does now; JSON."""
        return status(self)

    def explain(self) -> dict[str, object]:
        """Say what was seen, wanted and allowed at the last step, and why; JSON."""
        return explain(self)

    def _begun(self) -> bool:
        now = self._clock()
        if now < self._retry_at:
            return False
        before = self.trouble
        try:
            self._begin()
        except Exception as error:  # noqa: BLE001 - an adapter may fail in any way; the others go on
            why = f"{type(error).__name__}: {error}"
            try:
                self._let_go()  # joining a budget may have changed it already
            except Exception as refused:  # noqa: BLE001 - as above; the next step tries again
                why = f"{why}; {refused}"
            if why != before:
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
        holding = self._holding = Holding(self.name)
        self.hands = Hands(section.manual_hold, lambda: getattr(holding.resource, "started_anew", (0, 0)))
        read_back = ReadBack()
        if self.mode is Mode.ACTIVE:
            key = resource_key(section.kind, section.options)
            holding.lock = ResourceLock(around.locks, key)
            put_back_before(around.journal, key)
        options: dict[str, Any] = dict(section.options)
        resource = holding.resource = resource_type(section.kind)(**options)
        if self.mode is not Mode.ACTIVE and hasattr(resource, "steers_while_measuring"):
            resource.steers_while_measuring = False
        wrapped: Resource
        links: tuple[Link, ...]
        if self.mode is Mode.ACTIVE:
            wrapped = holding.take(section, around, self._kept, (read_back.ordered, self.hands.ordered))
            links = self._links(read_back)
        else:
            wrapped = self._watched = (Shadow if self.mode is Mode.SHADOW else Observed)(resource)
            narrow(wrapped, section)
            links = (self.pause,)
            if self.mode is Mode.OBSERVE:
                observed = Pause()
                observed.why = "only observed"
                links = (observed,)
        deadline = section.deadline or 2.0 * section.interval
        learns = section.auto_tune or section.physics_model == "auto"
        checked = self._checked = Checked(wrapped, deadline, section.frozen_after, self._clock, self.name)
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
            exporter.add(self._controller, self.name, section.kind, active=self.mode is Mode.ACTIVE)

    def _links(self, read_back: ReadBack) -> tuple[Link, ...]:
        """The chain behind the guard, in the order in which it acts: whoever is last has the last word."""
        section = self.section
        links: list[Link] = [Oscillation(), HoldOff(section.hold_off), QuietHours(section.quiet)]
        if section.roll_back:
            self.watch = ObjectiveWatch(section.objective.prices(), kept=self._kept)
            links.append(self.watch)
        if section.manual_hold > 0.0:
            links.append(self.hands)
        return (*links, self.pause, read_back)

    def _kept(self) -> bool:
        """Whether somebody wants the size as it is."""
        return self.pause.keeps or self.hands.keeps

    def _roll_back(self) -> str:
        if self._controller is None or self._holding is None or self._holding.journalled is None:
            return self.trouble or "nothing was changed"
        try:
            self._controller.stop()
            self._holding.hold()
        except Exception as error:
            self.unreturned = f"not rolled back, tried again at each step: {error}"
            raise
        granted, original = self.granted, self._controller.original
        short = granted is not None and original is not None and granted < original
        self.unreturned = f"the budget has room for {granted} of {original} now, tried again" if short else ""
        if self.hands.keeps:
            self.hands.release()
        return f"size {granted if short else self._controller.size}"

    def _put_back(self) -> bool:
        """Whether nothing is left to be put back of an earlier time."""
        if self._holding is not None:
            with suppress(Exception):  # told by `trouble`
                self._let_go()
        return self._holding is None

    def _let_go(self) -> None:
        """Stop steering, put the original back, and give away what is held, or keep it to try again."""
        controller, self._controller = self._controller, None
        self._watched, self.unreturned = None, ""
        if controller is not None:
            for exporter in self._around.exporters:
                exporter.remove(self.name)
            controller.stop(restore=False)
        if self._holding is None:
            return
        try:
            self._holding.let_go(as_it_is=self.hands.theirs is not None)
        except Exception as error:
            self.trouble = f"not put back, tried again at each step: {error}"
            raise
        self._holding, self.trouble = None, ""

    def _leave_what_is_gone(self, decision: Decision) -> None:
        """Begin anew, by and by, with what comes under the name of what has ended."""
        with suppress(Exception):  # told by `trouble`, and tried again
            self._let_go()
            self.trouble = "; ".join(decision.reasons)
        self._retry_at = self._clock() + self._retry_after

    def _note(self, decision: Decision) -> None:
        """Have the journal know what came of our orders; what somebody else has set it is not to know."""
        if self._holding is None or decision.state is None or self.hands.foreign:
            return
        if decision.outcome in (Outcome.CHANGED, Outcome.HELD):
            with suppress(ActuatorError):  # a disk that takes nothing; the next step tries again
                self._holding.own(decision.state.size)

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
