"""The workers of a running gunicorn as a resource: how many requests may be worked on at once."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from quantum_control.core.errors import ActuatorError, ConfigError, GoneError, SafetyError, SensorError
from quantum_control.core.resource import Resource, ResourceState
from quantum_control.resources.gunicorn_found import begun, written
from quantum_control.resources.gunicorn_load import Load, Sight, sight
from quantum_control.resources.gunicorn_master import PROC, Master, look
from quantum_control.resources.gunicorn_restore import confirm, find_out
from quantum_control.resources.gunicorn_setting import Setting
from quantum_control.resources.reading import positive_int

_log = logging.getLogger("quantum_control")

SPAWN_SECONDS = 0.25
"""Wait for a worker that was ordered to be there: gunicorn pauses up to 0.1 s between two of them."""

PAUSE_SECONDS = 0.02
"""Least time between two signals. Equal ones that a process has not taken yet are one to the kernel, and
older gunicorns forget what goes beyond five that they have not acted on."""


class GunicornResource(Resource):
    """Steers how many workers a gunicorn master keeps, by SIGTTIN and SIGTTOU.

    Nothing is changed in the application or in gunicorn's configuration: what
    is measured comes from the kernel. A master that is still beginning its
    workers is waited for, here and when another one is followed.

    Parameters
    ----------
    process_id
        Process id of the master.
    pidfile
        In its place: gunicorn's `--pid` file, by which a master that is started
        anew, or takes over after SIGUSR2, is found again.
    min_workers, max_workers
        Bounds. The most is by default 2·processors + 1, as gunicorn's own
        documentation advises, or the number found if that is more.
    threads
        Requests that one worker takes at once: gunicorn's `--threads`. For
        workers with an event loop, what one is meant to carry.
    clock
        Seconds.

    Raises
    ------
    ConfigError
        Not exactly one of `process_id` and `pidfile`, bounds that are not
        1 <= min <= max, or a process that is no gunicorn master.
    SensorError
        There is no such process or file, it has no workers, or it may not be looked at.
    """

    unit = "workers"

    def __init__(
        self,
        process_id: int | None = None,
        *,
        pidfile: str | None = None,
        min_workers: int = 1,
        max_workers: int | None = None,
        threads: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if (process_id is None) == (pidfile is None):
            raise ConfigError("give either process_id= or pidfile= of a gunicorn master, and not both")
        self.min_size = positive_int("min_workers", min_workers)
        self._threads = positive_int("threads", threads)
        self._pidfile = pidfile
        self._clock = clock
        self._time = clock()
        self._ordered = False  # whether a number was ever ordered of the master that is followed
        self.found_anew = 0
        """How often another master has come in place of the one before: its number is the original then."""
        self._before: int | None = None  # number found of the one before, while nothing was measured of this
        pid = written(pidfile) if pidfile is not None else positive_int("process_id", process_id)
        self._follow(Master(pid))
        if max_workers is None:
            self.max_size = max(2 * self._cores + 1, self._original, min_workers)
        else:
            self.max_size = positive_int("max_workers", max_workers)
        if self.min_size > self.max_size:
            raise ConfigError(
                f"min_workers={min_workers} is above max_workers={max_workers}; swap or widen them"
            )

    def measure_state(self) -> ResourceState:
        """Requests that are worked on and that wait, over the workers.

        w = busy + waiting·min(1, s/T) as in `offered_load`, busy and waiting
        being what is there at this moment, s `age_seconds` (see `get_metrics`)
        and T the time since the last call; at most `useful_size`.

        Raises
        ------
        SensorError
            The master has ended, may not be looked at, or none of its workers serves.
        """
        there = self._look()
        staying = self._setting.staying
        if not any(each.serves for each in staying):
            raise SensorError(f"none of the workers of {self._master} serves yet")
        now = self._clock()
        elapsed, self._time = now - self._time, now
        demand = self._load.demand(there, {each.pid for each in staying}, elapsed)
        self._before = None
        return ResourceState.from_demand(demand, size=float(self._setting.in_force))

    def apply_control(self, new_size: int) -> None:
        """Have so many workers kept: one signal for each that is more or fewer.

        The number found leaves a master that has come in place of another with its own.
        Returns when the master has taken them. New workers are there by then
        and load the application; those that leave end their requests first.

        Raises
        ------
        ConfigError
            Not a positive integer.
        SafetyError
            The workers are being replaced, by a reload or by another master, so
            that their number is not known; or the master has come in place of
            another since the last measurement. Nothing was changed.
        ActuatorError
            The master has ended, may not be signalled, or does not take signals.
        """
        positive_int("new_size", new_size)
        try:
            there = self._look()
            if there.crew.successor:
                raise SafetyError(
                    f"{self._master} is being replaced by process {there.crew.successor} (SIGUSR2):"
                    " its workers are left alone until one of the two is gone"
                )
            if self._setting.doubtful:
                raise SafetyError(
                    f"{self._master} has {len(self._setting.staying)} workers, not {self._setting.number}:"
                    " somebody else has changed that or reloads it; left alone until that has settled"
                )
            if self._before is None:
                self._steer_to(new_size)
            elif new_size not in (self._before, self._setting.number):  # what was found stands for its own
                raise SafetyError(
                    f"{self._master} has come in place of the one that {new_size} was meant for; left alone"
                    " until it has been measured"
                )
        except SensorError as error:
            raise ActuatorError(f"setting the number of workers to {new_size}: {error}") from error

    def get_metrics(self) -> dict[str, float]:
        """Figures of the last measurement; none before the first.

        At that instant: `busy` workers that have a connection, of those that stay;
        `connections` that they have; `queue_depth`, connections that nobody has
        accepted; `workers` there are, of which `starting` load the application
        and `leaving` end their last requests. `age_seconds`: mean age of the
        requests under way in the last ten measurements, of sync workers only
        (nan for others, and as long as there was none); it is the mean service
        time where that is exponential, half of it where it is constant.

        Since the measurement before: `processors` that the workers ran on, or
        waited for, on average, and `useful_size`, the most workers that these
        can make use of (see `UsefulConnections`; inf while nothing runs). `listen_overflows`:
        connections per second that found a queue full, of all listening sockets
        of the network namespace, and so not called `drops`.
        """
        return dict(self._load.metrics)

    # ---- signals ----------------------------------------------------------------------------------

    def _steer_to(self, number: int) -> None:
        setting, master = self._setting, self._master
        self._ordered = self._ordered or number != setting.number
        while setting.number != number:
            change = 1 if number > setting.number else -1
            which = signal.SIGTTIN if change > 0 else signal.SIGTTOU
            before = master.children()
            master.send(which)
            setting.step(change, time.time())
            # As long as some leave, none is begun in addition to them.
            master.wait(which, before, SPAWN_SECONDS if change > 0 and not setting.leaving else PAUSE_SECONDS)

    def _observe(self, there: Sight) -> None:
        before = self._setting.number
        if self._setting.observe(there.seen, time.monotonic(), time.time()):
            _log.warning(
                "%s has %d workers, not %d: somebody else has changed that or has reloaded it; going on"
                " from there",
                self._master,
                self._setting.number,
                before,
            )

    # ---- which master -----------------------------------------------------------------------------

    @property
    def started_anew(self) -> tuple[int, int]:
        """How often another master has come, and the number that was found with the last."""
        return self.found_anew, self._original

    def _look(self) -> Sight:
        """Look at the workers of the master, which may be another one than the last time."""
        if self._pidfile is not None and not self._master.alive:
            before, found = self._master, self._original
            try:
                self._follow(Master(written(self._pidfile)))
            except ConfigError as error:
                raise SensorError(str(error)) from error
            self.found_anew += 1
            self._before = found if self._before is None else self._before
            _log.warning("%s has ended and is followed by %s; going on from there", before, self._master)
        there = sight(self._master)
        self._observe(there)
        return there

    def _follow(self, master: Master) -> None:
        try:
            cores = len(os.sched_getaffinity(master.pid))
        except OSError as error:
            raise SensorError(f"{master} has ended: {error}") from error
        # Nothing is taken over of one that cannot be looked at; and nothing is measured of the wait for it.
        setting = Setting(begun(master).seen)
        self._load = Load(master, self._threads, cores)
        self._setting, self._master, self._cores = setting, master, cores
        self._original = self._setting.number
        self._ordered = False
        self._time = self._clock()

    def __repr__(self) -> str:
        return f"<GunicornResource of {self._master}, {self._setting.number} workers>"

    @staticmethod
    def capabilities(options: Mapping[str, object]) -> frozenset[str]:
        """Names of those that it takes to steer this gunicorn: none if it is of the same user."""
        try:
            home = Path(f"/proc/{options.get('process_id') or written(str(options.get('pidfile')))}")
            if home.stat().st_uid != os.geteuid():
                return frozenset({"CAP_KILL", "CAP_SYS_PTRACE"})
            next(home.joinpath("fd").iterdir(), None)
        except PermissionError:  # it has more capabilities than this process
            return frozenset({"CAP_SYS_PTRACE"})
        except (OSError, SensorError):
            pass
        return frozenset()

    # ---- originals --------------------------------------------------------------------------------

    @classmethod
    def again(cls, options: Mapping[str, Any], snapshot: Mapping[str, object]) -> Self:
        """Make it anew, to put a snapshot back: of that very master, whatever is in the pidfile.

        Raises
        ------
        GoneError
            The master has ended: nothing is left to be put back.
        ConfigError, SensorError
            As for a new one.
        """
        pid = int(str(snapshot["pid"]))
        there = look(PROC / str(pid))
        if there is None or there.started != snapshot["started"]:
            raise GoneError(f"there is no process {pid} any more that was this gunicorn's master")
        return cls(**{**options, "process_id": pid, "pidfile": None})

    def snapshot(self) -> dict[str, object]:
        """Which master it is, and the number of workers that was found; JSON."""
        return {"pid": self._master.pid, "started": self._master.started, "workers": self._original}

    def restore(self, snapshot: Mapping[str, object]) -> None:
        """Put the number back; of a master that came after it, the one that was found with that.

        Where the master has ended, and nothing was ordered of another here, nothing is left to be put back.

        Raises
        ------
        SafetyError, ActuatorError
            As `apply_control`; also if it cannot be told what another process has left.
        """
        try:
            self._look()
            same = (self._master.pid, self._master.started) == (snapshot["pid"], snapshot["started"])
            if not same and not self._ordered:
                return
            workers = int(str(snapshot["workers"])) if same else self._original
            if not self._ordered:
                find_out(self._master, self._setting)
            self.apply_control(workers)
            if not confirm(self._master, self._setting, workers):
                self.apply_control(workers)
        except SensorError as error:
            if self._master.alive:
                raise ActuatorError(f"putting back the number of workers: {error}") from error
            _log.info("%s, and its number of workers with it", error)
