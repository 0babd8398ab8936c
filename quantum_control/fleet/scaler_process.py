"""The scaler's background as a process of its own, so that it never keeps a call from the interpreter.

What is asked of it and what it reports go through a pipe. If it is killed another one is started: it reads
the history anew, and goes on where the first would be.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess

from quantum_control.fleet.scaler_fleet import Fleet
from quantum_control.fleet.scaler_history import HistorySource
from quantum_control.fleet.scaler_report import Counts, Report
from quantum_control.fleet.scaler_steps import Stepper
from quantum_control.fleet.scaler_target import Target

_log = logging.getLogger("quantum_control")

GATHER = 0.05
"""Seconds that new targets wait for others, so that they are asked for together."""

AGAIN = 1.0
"""Seconds before another process is started."""

STOPPING = 5.0
"""Seconds that it has to end by itself: it may wait for a server's answer."""


class SteppingProcess:
    """Steps targets in another process; `start` it once the fleet is there that it reports to.

    Parameters
    ----------
    urls
        Of the Prometheus servers, as for `HistorySource`.
    settle
        Seconds after a point of the grid at which it is asked for.
    """

    def __init__(self, urls: Sequence[str], settle: float) -> None:
        self._urls = list(urls)
        self._settle = settle
        self._pipe: Connection | None = None
        self._process: SpawnProcess | None = None
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()
        self._lock = threading.Lock()  # of the pipe: calls and the thread both write to it

    def take(self, targets: Mapping[int, Target]) -> None:
        """Take up targets, by their numbers."""
        self._tell(dict(targets))

    def drop(self, numbers: Collection[int]) -> None:
        """Forget them."""
        self._tell(set(numbers))

    def start(self, fleet: Fleet) -> None:
        """Start it, and report to the fleet from a thread."""
        self._begin(fleet)
        self._thread = threading.Thread(
            target=self._listen, args=(fleet,), name="quantum_control scaler", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """End it."""
        self._stopped.set()
        with self._lock:
            if self._pipe is not None:
                with suppress(OSError):
                    self._pipe.send(None)
        if self._process is not None:
            self._process.join(STOPPING)
            if self._process.is_alive():
                self._process.kill()
                self._process.join()
        if self._thread is not None:
            self._thread.join()

    def _tell(self, what: dict[int, Target] | set[int]) -> None:
        with self._lock, suppress(OSError):  # one that has died is told all when it is replaced
            if self._pipe is not None:
                self._pipe.send(what)

    def _begin(self, fleet: Fleet) -> None:
        context = get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(
            target=work, args=(theirs, self._urls, self._settle), name="quantum_control scaler", daemon=True
        )
        process.start()
        theirs.close()  # so that its end is seen
        with self._lock:
            self._process, self._pipe = process, ours
            ours.send(fleet.targets)  # whoever takes one up meanwhile waits for the lock, and tells it too

    def _listen(self, fleet: Fleet) -> None:
        pipe, process = self._pipe, self._process
        while pipe is not None and process is not None:
            try:
                told: Report | Counts = pipe.recv()
            except (EOFError, OSError):
                process.join()
                if self._stopped.is_set():
                    return
                _log.error(
                    "the scaler's background ended with exit code %s; starting another", process.exitcode
                )
                if self._stopped.wait(AGAIN):
                    return
                pipe.close()
                try:
                    self._begin(fleet)
                except Exception as error:  # noqa: BLE001 - what is known answers the calls until there is one
                    _log.error("the scaler's background cannot be started, trying again: %r", error)
                pipe, process = self._pipe, self._process
                continue
            if isinstance(told, Counts):
                fleet.worked(told)
            else:
                fleet.heard(told)


def work(pipe: Connection, urls: Sequence[str], settle: float) -> None:
    """Step targets until the other end of the pipe says so, or has gone."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the one that answers the calls ends this one, after them
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    # Answers to calls go first, and at once, which niceness alone does not do; what is computed has seconds.
    with suppress(
        OSError
    ):  # a container's sandbox may forbid it, and without it all works, if not as quickly
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    sources = [HistorySource(url) for url in urls]
    stepper = Stepper({source.address: source for source in sources}, settle=settle)
    wake, stopped = threading.Event(), threading.Event()

    def hear() -> None:
        with suppress(EOFError, OSError):
            while (told := pipe.recv()) is not None:
                stepper.take(told) if isinstance(told, dict) else stepper.drop(told)
                wake.set()
        stopped.set()
        wake.set()

    threading.Thread(target=hear, daemon=True).start()
    try:
        with suppress(OSError):  # nobody is left to hear it
            _rounds(stepper, pipe.send, wake, stopped)
    finally:
        for source in sources:
            source.close()


def _rounds(
    stepper: Stepper,
    tell: Callable[[Report | Counts], object],
    wake: threading.Event,
    stopped: threading.Event,
) -> None:
    while not stopped.is_set():
        wake.clear()
        try:
            for report in stepper.round():
                tell(report)
                if stopped.is_set():
                    return
        except OSError:
            raise
        except Exception:  # noqa: BLE001 - whatever it was, the other targets go on
            _log.exception("a round of the scaler failed; the next one tries again")
        tell(stepper.counts)
        if wake.wait(stepper.pause):
            stopped.wait(GATHER)
