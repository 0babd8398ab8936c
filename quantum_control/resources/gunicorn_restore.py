"""What has to be known to put the number of workers of a gunicorn back, and to be sure that it is back."""

from __future__ import annotations

import time

from quantum_control.core.errors import ActuatorError
from quantum_control.resources.gunicorn_load import sight
from quantum_control.resources.gunicorn_master import Master
from quantum_control.resources.gunicorn_setting import Setting

STILL_SECONDS = 1.0
"""For which the number of workers has to stand still before one that nobody remembers is believed."""

PATIENCE_SECONDS = 5.0
"""The longest wait for that."""

CONFIRM_SECONDS = 3.0
"""The longest wait for what was ordered to be there."""

POLL_SECONDS = 0.05


def find_out(master: Master, setting: Setting) -> None:
    """Go on from what another process has left, once the workers there tell what that is.

    It may have ordered more of them: no others come any more. Or fewer: the oldest would leave, and
    does not if it waits for work, or has begun anew since this was called.

    Raises
    ------
    SensorError
        The master has ended.
    ActuatorError
        The oldest is busy for too long.
    """
    began = since = time.monotonic()
    wall = time.time()
    number = 0
    while (now := time.monotonic()) - began < PATIENCE_SECONDS:
        there = sight(master).seen
        if len(there) != number:
            number, since = len(there), now
        if now - since > STILL_SECONDS and there and (not there[0].busy or there[0].beat > wall):
            setting.begin(there)
            return
        time.sleep(POLL_SECONDS)
    raise ActuatorError(
        f"the oldest worker of {master} has worked on one request for {PATIENCE_SECONDS:g} s, so that it"
        " cannot be told whether it is about to leave; restore once more when it has done that"
    )


def confirm(master: Master, setting: Setting, number: int) -> bool:
    """Wait until so many workers are there as were ordered; if they are not, go on from those there are.

    Raises
    ------
    SensorError
        The master has ended.
    """
    began = time.monotonic()
    while (now := time.monotonic()) - began < CONFIRM_SECONDS and setting.number == number:
        setting.observe(sight(master).seen, now, time.time())
        if setting.kept:
            return setting.number == number
        time.sleep(POLL_SECONDS)
    setting.recount()
    return setting.number == number
