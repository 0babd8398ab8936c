"""The experiment on a resource of one's own: by the daemon's parts, under its supervision."""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack, suppress
from functools import partial

import click

from quantum_control.core.budget import Budget
from quantum_control.core.errors import ActuatorError, ConfigError
from quantum_control.core.journal import Journal
from quantum_control.daemon.audit import AuditLog
from quantum_control.daemon.logs import set_up_logging
from quantum_control.daemon.service import JOURNAL, make_folder
from quantum_control.daemon.signals import Signals
from quantum_control.daemon.steering import Steering
from quantum_control.daemon.supervisor import watched
from quantum_control.daemon.surroundings import Surroundings
from quantum_control.terminal import EXIT_ENDED_EARLY, EXIT_INTERRUPTED, EXIT_NOT_RESTORED, EXIT_REFUSED
from quantum_control.validation.experiment import BlockFailedError, EndedEarlyError, Experiment, mode
from quantum_control.validation.own_plan import Own, keep, kept, only
from quantum_control.validation.rails import Rails, tolerated
from quantum_control.validation.records import BLOCKS, End, Failure, add_end, read_ends, read_rows
from quantum_control.validation.switchback import OwnBed, UnmeasuredError
from quantum_control.validation.tables import UnwritableError

ENDING = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})

PULSE_SECONDS = 0.5
"""From one sign of life to the next."""


class Rest:
    """Waits between steps: gives signs of life, and is where a signal ends the experiment, never amid a step.

    Parameters
    ----------
    report
        File descriptor for the signs of life.
    """

    def __init__(self, report: int) -> None:
        self._signals = Signals(ENDING)
        self._report = report

    def __call__(self, seconds: float) -> None:
        """Wait.

        Raises
        ------
        KeyboardInterrupt
            A signal has come.
        """
        until = time.monotonic() + seconds
        while True:
            with suppress(OSError):  # a supervisor that is gone has sent its signal
                os.write(self._report, b"beat\n")
            left = max(until - time.monotonic(), 0.0)
            if self._signals.wait(min(left, PULSE_SECONDS)):
                raise KeyboardInterrupt
            if time.monotonic() >= until:
                return


def run(own: Own) -> int:
    """Run the experiment in a process that is watched over, and return the exit code.

    Whatever becomes of that process, the original is put back.

    Raises
    ------
    ConfigError
        A folder cannot be made.
    """
    set_up_logging("warning", own.config.log.format)
    state = own.config.state_directory
    for folder in (own.folder, state, state / "learned", own.config.runtime_directory):
        make_folder(folder)
    ended = len(read_ends(own.folder))
    try:
        code = watched(
            own.config,
            lambda report: experiment(own, Rest(report)),
            (0, EXIT_REFUSED, EXIT_ENDED_EARLY, EXIT_INTERRUPTED),
        )
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (*ENDING, signal.SIGCHLD))
    # What the process could not put back may have been put back since: then it is still one that was ended.
    return EXIT_ENDED_EARLY if code == 0 and len(read_ends(own.folder)) > ended else code


def experiment(own: Own, rest: Rest) -> int:
    """Be the process that steers; returns its exit code."""
    state, runtime = own.config.state_directory, own.config.runtime_directory
    code = EXIT_INTERRUPTED
    try:
        with ExitStack() as stack:
            journal = Journal(state / JOURNAL)
            stack.callback(journal.close)
            audit = AuditLog(own.folder, own.config.audit.file_bytes, own.config.audit.files)
            stack.callback(audit.close)
            budgets = {name: Budget(each.total, each.reserve) for name, each in own.config.budgets.items()}
            around = Surroundings(journal, audit, budgets, runtime / "locks", state / "learned")
            bed = OwnBed(own.of.bed, Steering(own.name, own.section, around), rest)
            code = _played(own, stack.enter_context(bed))
    except KeyboardInterrupt:
        _tell("the original size is back; the same command goes on after the last whole pair")
    except ConfigError as error:
        _tell(f"quantum-control: {error}")
        return EXIT_REFUSED
    except ActuatorError as error:
        _tell(f"quantum-control: {error}")
        return EXIT_NOT_RESTORED
    except (OSError, UnwritableError) as error:
        _tell(f"quantum-control: the data cannot be written: {error}; the original size is back")
        return EXIT_REFUSED
    else:
        if code == EXIT_ENDED_EARLY:
            _tell(f"the original size of {own.name} is back")
    return code


def _played(own: Own, bed: OwnBed) -> int:
    try:
        reported = bed.look()
        there = kept(own.folder)
        if there is not None:
            reported = {metric.name for metric in there.of(own.name).metrics}
        plan = only(own.plan, own.name, reported)
        of = plan.of(own.name)
        how = mode(of, aa=own.aa)
        if there is None:
            keep(plan, own.folder)
        rails = Rails(plan, of, how.ours, how.base, tolerated(of))
        # An A/A run changes nothing that could do harm.
        look = (lambda _: None) if own.aa else rails.take
        failed = (lambda _: None) if own.aa else partial(_unmeasured, rails)
        seconds = of.bed["wash_in"] + of.bed["seconds"]
        _tell(
            f"{own.name}: held at {bed.original}, steered by {own.section.physics_model}; blocks of"
            f" {of.bed['seconds']:g} s after {of.bed['wash_in']:g} s of wash-in, so that {own.pairs} pairs"
            f" take {2.0 * own.pairs * seconds / 3600.0:.2g} hours; Ctrl-C puts the original back, as does"
            f" significant harm: {rails.watched}"
        )
        Experiment(plan, own.name, how, bed, own.folder, look, failed).run(own.pairs, _tell)
    except (EndedEarlyError, BlockFailedError) as error:
        add_end(own.folder, End(time.time(), _pairs(own), str(error)))
        _tell(f"ended early: {error}")
        return EXIT_ENDED_EARLY
    return 0


def _unmeasured(rails: Rails, failure: Failure) -> None:
    """Count a block without a value as one that failed: else the worst ones were left out."""
    if failure.kind == UnmeasuredError.__name__:
        rails.take_unmeasured(failure.arm)


def _pairs(own: Own) -> int:
    """Whole pairs that are there."""
    plan = kept(own.folder)
    if plan is None or not (own.folder / BLOCKS).exists():
        return 0
    return len({row.pair for row in read_rows(own.folder, plan.of(own.name))})


def _tell(line: str) -> None:
    click.echo(line, err=True)
