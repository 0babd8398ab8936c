"""Finding a running gunicorn: by its pidfile, and with all the workers that it begins."""

from __future__ import annotations

import os
import time
from pathlib import Path

from quantum_control.core.errors import SensorError
from quantum_control.resources.gunicorn_load import Sight, sight
from quantum_control.resources.gunicorn_master import Master

BEGUN_SECONDS = 0.5
"""Without a further worker, after which a master has begun all of them: it pauses up to 0.1 s between two,
and more where processors are scarce."""

POLL_SECONDS = 0.05


def written(pidfile: str) -> int:
    """Process id in a file of gunicorn's `--pid`.

    Raises
    ------
    SensorError
        There is none.
    """
    try:
        return int(Path(pidfile).read_text("ascii"))
    except (OSError, ValueError) as error:
        raise SensorError(
            f"no process id can be read from {pidfile!r}: {error}; is gunicorn running, with --pid?"
        ) from error


def begun(master: Master) -> Sight:
    """Look at a master once it has begun all its workers, which one that has just started does one by one.

    Raises
    ------
    SensorError
        It has ended, may not be looked at, or begins none.
    """
    number, since = 0, time.monotonic()
    while True:
        there, now = sight(master), time.monotonic()
        if len(there.seen) > number:
            number, since = len(there.seen), now
        # Where workers come and go one is always young: that they become no more is enough there.
        if now - since > BEGUN_SECONDS or (number and _youngest(there) > BEGUN_SECONDS):
            break
        time.sleep(POLL_SECONDS)
    if not there.seen:
        raise SensorError(f"{master} has no workers yet")
    return there


def _youngest(there: Sight) -> float:
    """Seconds since the last of the workers was begun."""
    began = max((each.started for each in there.crew.workers), default=0)
    return time.clock_gettime(time.CLOCK_BOOTTIME) - began / os.sysconf("SC_CLK_TCK")
