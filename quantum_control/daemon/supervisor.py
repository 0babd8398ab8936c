"""The process that outlives the controller, and puts back what it has changed."""

from __future__ import annotations

import ctypes
import logging
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path

from quantum_control.config import Config
from quantum_control.config_file import read_config
from quantum_control.core.errors import QuantumControlError
from quantum_control.core.journal import Journal, Original
from quantum_control.core.recovery import Fate, Recovery, recover
from quantum_control.daemon.logs import set_up_logging
from quantum_control.daemon.notify import notify, reloading
from quantum_control.daemon.originals import build
from quantum_control.daemon.service import JOURNAL, Service, make_folder
from quantum_control.terminal import EXIT_NOT_RESTORED

_log = logging.getLogger("quantum_control")

DIED = 1
"""Exit code when the controller has died; so that who started this one starts it again."""

RECOVERY_SECONDS = 10.0
"""For which an answer is waited for when originals are put back; the others are back long before."""

_PR_SET_PDEATHSIG = 1
_WATCHED = frozenset({signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP})


def supervise(path: Path) -> int:
    """Run the daemon until it is told to end; returns the exit code.

    Raises
    ------
    ConfigError
        The configuration is wrong; nothing was begun.
    """
    config = read_config(path)
    set_up_logging(config.log.level, config.log.format)
    return watched(config, lambda report: Service(path, config, report).run())


def watched(config: Config, work: Callable[[int], int], orderly: Collection[int] = ()) -> int:
    """Do `work` in a process of its own, and put back what it has changed when that ends, however it does.

    SIGTERM, SIGINT, SIGHUP and SIGCHLD are blocked here from now on: they are passed on.

    Parameters
    ----------
    config
        Where the journal is, and how patient to be.
    work
        Is given a file descriptor on which to write a line now and then, as a
        sign of life; returns the exit code. Begins with the signals blocked.
    orderly
        Codes with which it may end by itself, and which are returned as they are.

    Raises
    ------
    ConfigError
        The folder of the journal cannot be made, or the journal not be read; nothing was begun.
    """
    if _kept(config):  # first of all: also on a disk that takes nothing more
        _in_a_process_of_its_own(lambda: put_back(config))
    make_folder(config.state_directory)
    signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)  # inherited: both wait for signals where it suits them
    reading, writing = os.pipe()
    os.set_blocking(writing, False)  # a supervisor that is stopped must not stop the controller, too
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        os.close(reading)
        os._exit(_child(work, writing, parent))
    os.close(writing)
    os.set_blocking(reading, False)
    return _Watch(config, child, reading, orderly).run()


def _in_a_process_of_its_own(work: Callable[[], object]) -> None:
    """Do `work` to its end, where all that it has started ends with it.

    What an adapter starts, such as the Java of JMX, has no threads left in a process that is forked of
    this one later on; nor has a lock that one of them held anybody to give it back.
    """
    child = os.fork()
    if child == 0:
        try:
            work()
        except Exception:  # noqa: BLE001 - the last word of this process; the originals are in the journal
            _log.exception("originals could not be put back")
        finally:
            os._exit(0)
    os.waitpid(child, 0)


def _child(work: Callable[[int], int], report: int, parent: int) -> int:
    """Work; ends in an orderly way also when the supervisor dies."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        return DIED
    try:
        return work(report)
    except QuantumControlError as error:
        _log.error("%s", error)
        return 2
    except BaseException:  # noqa: BLE001 - the last word of this process; the supervisor restores
        _log.exception("the controller ends on an error of its own")
        return DIED


class _Watch:
    """Waits for the controller's end, its signs of life, and signals."""

    def __init__(self, config: Config, child: int, pipe: int, orderly: Collection[int]) -> None:
        self._config = config
        self._orderly = orderly
        self._child = child
        self._pipe = pipe
        self._beat = time.monotonic()
        self._kill_at = float("inf")
        self._ending = False

    def run(self) -> int:
        pulse = min(self._config.watchdog / 4.0, 0.5)
        turned = time.monotonic()
        while True:
            number = signal.sigtimedwait(_WATCHED, pulse)
            self._listen()
            now = time.monotonic()
            late, turned = now - turned - pulse, now
            if late > self._config.watchdog / 2.0:
                # This process was stopped, as by `docker pause`, and so perhaps was the controller: it
                # is given its time anew.
                self._beat = now
                self._kill_at += late
            if number is not None and number.si_signo in (signal.SIGTERM, signal.SIGINT):
                self._end(now)
            elif number is not None and number.si_signo == signal.SIGHUP:
                reloading()
                os.kill(self._child, signal.SIGHUP)
            pid, status = os.waitpid(self._child, os.WNOHANG)
            if pid:
                return self._ended(os.waitstatus_to_exitcode(status))
            if now >= self._kill_at or (not self._ending and now - self._beat > self._config.watchdog):
                _log.error("the controller gives no sign of life; it is ended")
                os.kill(self._child, signal.SIGKILL)
                self._kill_at = float("inf")
                self._ending = True

    def _listen(self) -> None:
        while select.select([self._pipe], [], [], 0.0)[0]:
            told = os.read(self._pipe, 4096)
            if not told:
                return
            self._beat = time.monotonic()
            words = told.split()
            if b"ready" in words or b"reloaded" in words:
                notify("READY=1", f"STATUS=steering; configuration of {time.strftime('%F %T')}")
            notify("WATCHDOG=1")

    def _end(self, now: float) -> None:
        if self._ending:
            return
        self._ending = True
        notify("STOPPING=1")
        os.kill(self._child, signal.SIGTERM)
        self._kill_at = now + self._config.stop_timeout + 2.0

    def _ended(self, code: int) -> int:
        if code not in self._orderly and (code not in (0, 2) or not self._ending):
            _log.log(logging.ERROR if code else logging.INFO, "the controller has ended (%d)", code)
        left = [each for each in put_back(self._config) if each.fate is Fate.FAILED]
        if left:
            return EXIT_NOT_RESTORED
        if code == EXIT_NOT_RESTORED:
            return 0  # what it could not put back was put back now
        return code if code in (0, 2, *self._orderly) else DIED


def put_back(
    config: Config, *, force: bool = False, tell: Callable[[Recovery], object] | None = None
) -> list[Recovery]:
    """Put back what processes that are gone have changed, each on a thread of its own.

    Raises
    ------
    ConfigError
        The journal cannot be read.
    """
    originals = _kept(config)
    if not originals:
        return []
    journal = Journal(config.state_directory / JOURNAL)
    outcomes: dict[str, Recovery] = {}

    def work(original: Original) -> None:
        outcomes[original.key] = recover(journal, original, build, force=force)

    threads = [threading.Thread(target=work, args=(each,), daemon=True) for each in originals]
    for thread in threads:
        thread.start()
    until = time.monotonic() + RECOVERY_SECONDS
    for thread in threads:
        thread.join(max(until - time.monotonic(), 0.0))
    done = [
        outcomes.get(each.key) or Recovery(each.name, Fate.FAILED, f"no answer within {RECOVERY_SECONDS:g} s")
        for each in originals
    ]
    for each in done:
        _log.log(logging.ERROR if each.fate is Fate.FAILED else logging.WARNING, "%s", each)
        if tell is not None:
            tell(each)
    if len(outcomes) == len(originals):
        journal.close()
    return done


def _kept(config: Config) -> list[Original]:
    """What is not restored yet, as far as there is a journal; raises as `put_back`."""
    path = config.state_directory / JOURNAL
    if not path.exists():
        return []
    journal = Journal(path)
    try:
        return journal.originals()
    finally:
        journal.close()
