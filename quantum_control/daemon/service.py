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
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantum_control.config import Config, MetricsSection, Mode, OpenTelemetrySection, ResourceSection
from quantum_control.config_file import read_config
from quantum_control.core.errors import ActuatorError, ConfigError, unknown_name
from quantum_control.core.journal import Journal
from quantum_control.core.physics import Objective
from quantum_control.daemon.audit import AuditLog
from quantum_control.daemon.capabilities import missing
from quantum_control.daemon.control import ControlSocket
from quantum_control.daemon.logs import set_up_logging
from quantum_control.daemon.page.live import LivePage
from quantum_control.daemon.scheduler import Scheduler, Task
from quantum_control.daemon.signals import Signals
from quantum_control.daemon.steering import Steering
from quantum_control.daemon.surroundings import Surroundings

if TYPE_CHECKING:
    from quantum_control.monitoring.opentelemetry import OpenTelemetryExporter
    from quantum_control.monitoring.prometheus import Exporter

_log = logging.getLogger("quantum_control")

SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})

JOURNAL = "journal.db"

ASKED_SECONDS = 3.0
"""For which who asks for something waits for it to be done; a resource that hangs does it later."""

DONE, NOT_RESTORED = 0, 3
"""Exit codes."""

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
        pulse = min(self.config.watchdog / 4.0, 1.0)
        while True:
            come = signals.wait(pulse)
            if come - {signal.SIGHUP}:
                return self.end()
            if come or self._reload.is_set():
                self._reload.clear()
                self.reload()
                self._tell("reloaded")
            # A dispatcher that no longer turns gives no beat: the supervisor then ends this process.
            if time.monotonic() - self.scheduler.turned < self.config.watchdog / 2.0:
                self._tell("beat")

    def reload(self) -> None:
        """Read the configuration anew and change what differs; a bad one changes nothing."""
        try:
            new = read_config(self.path)
        except ConfigError as error:
            _log.error("the new configuration is refused, the old one goes on:\n%s", error)
            return
        old, self.config = self.config, new
        fixed = (
            "state_directory",
            "runtime_directory",
            "socket_mode",
            "watchdog",
            "audit",
            "metrics",
            "opentelemetry",
        )
        for name in fixed:
            if getattr(old, name) != getattr(new, name):
                _log.warning("%s has changed: that takes effect when the daemon is started anew", name)
        if old.log != new.log:
            set_up_logging(new.log.level, new.log.format)
        budgets = {
            name for name in {*old.budgets, *new.budgets} if old.budgets.get(name) != new.budgets.get(name)
        }
        gone = {
            name: each
            for name, each in self.steered.items()
            if each.steering.ended or self._differs(new, each.steering.section, name, budgets)
        }
        stuck = self._end(gone)
        for name in gone:
            steering = self.steered.pop(name).steering
            if name in stuck:  # shown and tried again, until a later reload finds it put back
                task = self.scheduler.add(name, steering.section.interval, steering.step)
                self.steered[name] = _Steered(steering, task)
        for name in budgets:
            self._around.budgets.pop(name, None)
            if name in new.budgets:
                self._around.budgets[name] = new.budgets[name].budget(name)
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
        return NOT_RESTORED if stuck else DONE

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
        if section.mode is Mode.ACTIVE and (lacking := missing(section.kind, section.options)):
            _log.warning("%s: this process lacks %s, which steering it takes", name, ", ".join(lacking))
        steering = Steering(name, section, self._around)
        self.steered[name] = _Steered(steering, self.scheduler.add(name, section.interval, steering.step))

    @staticmethod
    def _differs(new: Config, section: ResourceSection, name: str, budgets: set[str]) -> bool:
        return new.resources.get(name) != section or section.budget in budgets

    def _end(self, steered: Mapping[str, _Steered]) -> set[str]:
        """End some at once, and return those that did not in time."""
        left = dict(steered)
        for each in left.values():
            self.scheduler.remove(each.task)
        # One that hangs must not keep the others: a few threads take them in turn, and more come if
        # those do not come back.
        waiting = list(left)
        lock = threading.Lock()

        def work() -> None:
            while True:
                with lock:
                    if not waiting:
                        return
                    name = waiting.pop()
                try:
                    left[name].steering.end()
                except ActuatorError as error:
                    _log.error("%s: %s", name, error)
                    continue
                except Exception:  # noqa: BLE001 - an adapter may fail in any way; the journal has its original
                    _log.exception("%s: could not be ended", name)
                    continue
                with lock:
                    del left[name]

        until = time.monotonic() + self.config.stop_timeout
        threads: list[threading.Thread] = []
        while time.monotonic() < until:
            if waiting and len(threads) < 64:
                threads.append(threading.Thread(target=work, daemon=True, name="quantum_control end"))
                threads[-1].start()
            if not any(thread.is_alive() for thread in threads) and not waiting:
                break
            threads[-1].join(0.02) if threads else None
        with lock:
            stuck = set(left)
        for name in stuck:
            _log.error("%s: not put back; the journal has its original", name)
        return stuck

    def _tell(self, what: str) -> None:
        if self._report >= 0:
            os.write(self._report, what.encode() + b"\n")


def exporter(section: MetricsSection) -> Exporter:
    """Listen for Prometheus.

    Raises
    ------
    ConfigError
        The address cannot be listened at, or prometheus_client is missing.
    """
    from quantum_control.monitoring.prometheus import export

    return export(**section.model_dump())


def pusher(section: OpenTelemetrySection) -> OpenTelemetryExporter:
    """Push to a collector of OpenTelemetry.

    Raises
    ------
    ConfigError
        The endpoint is no URL, or the SDK is missing.
    """
    from quantum_control.monitoring.opentelemetry import export

    return export(**section.model_dump())


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


def _awaited(done: Future[str]) -> str:
    try:
        return done.result(ASKED_SECONDS)
    except FutureTimeout:
        return "asked; the resource has not come to it yet"
