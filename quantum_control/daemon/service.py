"""The controller process: begins, reloads, answers and ends."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantum_control.config import Config, Mode, ResourceSection
from quantum_control.config_file import read_config
from quantum_control.core.errors import ConfigError, unknown_name
from quantum_control.core.journal import Journal
from quantum_control.core.physics import Objective
from quantum_control.daemon.audit import AuditLog
from quantum_control.daemon.capabilities import missing
from quantum_control.daemon.control import ControlSocket
from quantum_control.daemon.ending import end_all
from quantum_control.daemon.logs import set_up_logging
from quantum_control.daemon.page.live import LivePage
from quantum_control.daemon.scheduler import Scheduler, Task
from quantum_control.daemon.signals import Signals
from quantum_control.daemon.steering import Steering
from quantum_control.daemon.surroundings import Surroundings, exporter, pusher
from quantum_control.terminal import EXIT_NOT_RESTORED

_log = logging.getLogger("quantum_control")

SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})

JOURNAL = "journal.db"

ASKED_SECONDS = 3.0
"""For which who asks for something waits for it to be done; a resource that hangs does it later."""

_AT_START = (
    "state_directory",
    "runtime_directory",
    "socket_mode",
    "watchdog",
    "stop_timeout",
    "audit",
    "metrics",
    "opentelemetry",
)
"""Keys that a reload does not change."""

ACTIONS = ("status", "explain", "pause", "resume", "mode", "rollback", "reload")


@dataclass(slots=True)
class _Steered:
    steering: Steering
    task: Task

    def timed(self, found: Mapping[str, Any]) -> dict[str, Any]:
        """Say besides how long its step under way has taken, and by how much the last one was late."""
        hung = time.monotonic() - self.task.began if self.task.began else 0.0
        return {**found, "busy_seconds": round(hung, 3), "late_seconds": round(self.task.late, 4)}


class Service:
    """Steers everything that a configuration names, until told to end.

    Parameters
    ----------
    path
        The configuration, for a reload.
    config
        As it was read.
    report
        File descriptor to which signs of life are written: lines "ready",
        "beat" and "reloaded". Negative is none.

    Raises
    ------
    ConfigError
        A folder, the journal or the socket cannot be made.
    """

    def __init__(self, path: Path, config: Config, report: int = -1) -> None:
        self.path = path
        self.config = config
        self._report = report
        # As the supervisor has them, which no reload reaches.
        self._watchdog, self._stop_timeout = config.watchdog, config.stop_timeout
        for folder in (config.state_directory, config.state_directory / "learned", config.runtime_directory):
            make_folder(folder)
        set_up_logging(config.log.level, config.log.format)
        self.journal = Journal(config.state_directory / JOURNAL)
        self.steered: dict[str, _Steered] = {}
        audit = AuditLog(config.state_directory, config.audit.file_bytes, config.audit.files)
        told = None if config.metrics is None else exporter(config.metrics)
        pushed = None if config.opentelemetry is None else pusher(config.opentelemetry)
        self._around = Surroundings(
            self.journal,
            audit,
            {name: each.budget(name) for name, each in config.budgets.items()},
            config.runtime_directory / "locks",
            config.state_directory / "learned",
            tuple(each for each in (told, pushed) if each is not None),
            None if told is None else LivePage(told.server, self.answer, self._prices, lambda: audit.lost),
        )
        self.scheduler = Scheduler()
        for name, section in config.resources.items():
            self._add(name, section)  # begun by the first step
        self._socket = ControlSocket(config.runtime_directory, int(config.socket_mode, 8), self.answer)
        self._reload = threading.Event()

    def run(self) -> int:
        """Steer until SIGTERM or SIGINT, in the main thread; returns the exit code."""
        signals = Signals(SIGNALS)
        self.scheduler.start()
        self._tell("ready")
        _log.info("steering %d resources of %s", len(self.steered), self.path)
        pulse = min(self._watchdog / 4.0, 1.0)
        while True:
            come = signals.wait(pulse)
            if come - {signal.SIGHUP}:
                return self.end()
            if come or self._reload.is_set():
                self._reload.clear()
                self.reload()
                self._tell("reloaded")
            self._beat()

    def reload(self) -> None:
        """Read the configuration anew and change what differs; a bad one changes nothing."""
        old = self.config
        try:
            new = read_config(self.path)
            names = {*old.budgets, *new.budgets}
            changed = {name for name in names if old.budgets.get(name) != new.budgets.get(name)}
            # Made before anything is ended: a secret or a client may be missing, which no check can know.
            budgets = {name: new.budgets[name].budget(name) for name in changed if name in new.budgets}
        except ConfigError as error:
            _log.error("the new configuration is refused, the old one goes on:\n%s", error)
            return
        except Exception:  # noqa: BLE001 - a store's client may fail in any way; what is steered goes on
            _log.exception("the new configuration cannot be carried out, the old one goes on")
            return
        self.config = new
        for name in _AT_START:
            if getattr(old, name) != getattr(new, name):
                _log.warning("%s has changed: that takes effect when the daemon is started anew", name)
        if old.log != new.log:
            set_up_logging(new.log.level, new.log.format)
        gone = {
            name: each
            for name, each in self.steered.items()
            if each.steering.ended or self._differs(new, each.steering.section, name, changed)
        }
        stuck = self._end(gone)
        for name in gone:
            steering = self.steered.pop(name).steering
            if name in stuck:  # shown and tried again, until a later reload finds it put back
                task = self.scheduler.add(name, steering.section.interval, steering.step)
                self.steered[name] = _Steered(steering, task)
        self._around.budgets.update(budgets)  # one that is gone stays for those that hang in it
        begun = [name for name in new.resources if name not in self.steered]
        for name in begun:
            self._add(name, new.resources[name])
        _log.info("configuration read anew: %d ended, %d begun", len(gone), len(begun))

    def end(self) -> int:
        """Put everything back; returns the exit code."""
        self.scheduler.close()
        self._socket.close()
        stuck = self._end(self.steered)
        self._around.audit.close()
        for each in self._around.exporters:
            each.close()
        if not stuck:
            self.journal.close()
        return EXIT_NOT_RESTORED if stuck else 0

    def answer(self, question: Mapping[str, Any]) -> object:
        """Answer what is asked over the control socket.

        Raises
        ------
        ConfigError
            It is not understood.
        """
        action = question.get("do")
        if action not in ACTIONS:
            raise ConfigError(unknown_name("action", str(action)[:50], ACTIONS))
        if action == "reload":
            self._reload.set()
            return "asked"
        name = question.get("resource")
        if action == "status" and name is None:
            return [each.timed(each.steering.status()) for each in list(self.steered.values())]
        if not isinstance(name, str) or name not in self.steered:
            raise ConfigError(unknown_name("resource", str(name)[:100], self.steered))
        return self._act(action, self.steered[name], question)

    def _act(self, action: str, steered: _Steered, question: Mapping[str, Any]) -> object:
        steering = steered.steering
        if action == "status":
            return steered.timed(steering.status())
        if action == "explain":
            return steered.timed(steering.explain())
        if action == "pause":
            steering.pause.why = "paused by hand"
            return "paused"
        if action == "resume":
            steering.resume()
            return "resumed"
        if action == "mode":
            wanted = question.get("mode")
            if wanted not in list(Mode):
                raise ConfigError(unknown_name("mode", str(wanted)[:50], list(Mode)))
            done = steering.ask_mode(Mode(wanted))
        else:
            done = steering.ask_roll_back()
        self.scheduler.hasten(steered.task)
        return _awaited(done)

    def _prices(self, name: str) -> Objective:
        return self.steered[name].steering.section.objective.prices()

    def _add(self, name: str, section: ResourceSection) -> None:
        if section.mode is Mode.ACTIVE and (lacking := _lacking(name, section)):
            _log.warning("%s: this process lacks %s, which steering it takes", name, ", ".join(lacking))
        steering = Steering(name, section, self._around)
        self.steered[name] = _Steered(steering, self.scheduler.add(name, section.interval, steering.step))

    @staticmethod
    def _differs(new: Config, section: ResourceSection, name: str, budgets: set[str]) -> bool:
        return new.resources.get(name) != section or section.budget in budgets

    def _end(self, steered: Mapping[str, _Steered]) -> set[str]:
        """End some at once, and return those that did not in time."""
        for each in steered.values():
            self.scheduler.remove(each.task)
        steerings = {name: each.steering for name, each in steered.items()}
        return end_all(steerings, self._stop_timeout, lambda: self._tell("beat"))

    def _beat(self) -> None:
        # A dispatcher that no longer turns gives no beat: the supervisor then ends this process.
        if time.monotonic() - self.scheduler.turned < self._watchdog / 2.0:
            self._tell("beat")

    def _tell(self, what: str) -> None:
        if self._report >= 0:
            with suppress(
                OSError
            ):  # a supervisor that is gone has sent its signal; one that is stopped reads none
                os.write(self._report, what.encode() + b"\n")


def make_folder(folder: Path) -> None:
    """Make a folder if it is missing.

    Raises
    ------
    ConfigError
        It cannot be made, or not be written to.
    """
    try:
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"folder {str(folder)!r} cannot be made: {error.strerror}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f"folder {str(folder)!r} cannot be written to by this user")


def _lacking(name: str, section: ResourceSection) -> list[str]:
    try:
        return missing(section.kind, section.options)
    except Exception:  # noqa: BLE001 - a plug-in's; the warning is not worth the other resources
        _log.exception("%s: it cannot be told which capabilities it takes", name)
        return []


def _awaited(done: Future[str]) -> str:
    try:
        return done.result(ASKED_SECONDS)
    except FutureTimeout:
        return "asked; the resource has not come to it yet"
