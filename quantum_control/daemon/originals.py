"""What processes that are gone have changed: made into resources, and put back before those are steered."""

from __future__ import annotations

import logging
from collections.abc import Callable

from quantum_control.config import resource_type
from quantum_control.core.errors import ActuatorError
from quantum_control.core.journal import Journal, Original
from quantum_control.core.recovery import Fate, recover
from quantum_control.core.resource import Resource

_log = logging.getLogger("quantum_control")


def build(original: Original) -> Resource:
    """Make the resource of an original anew: by `again(options, snapshot)` of its type where it has that.

    It is for what may not be found by its options any more.

    Raises
    ------
    ConfigError
        Its type is not known here.
    """
    made, options = resource_type(original.kind), dict(original.options)
    again: Callable[..., Resource] | None = getattr(made, "again", None)
    if again is not None and original.snapshot is not None:
        return again(options, original.snapshot)
    return made(**options)


def put_back_before(journal: Journal, key: str) -> None:
    """Put back what a process that is gone has left of a resource; nothing if it has left nothing.

    At the start of the daemon it may not have been there yet, as a balancer that
    is started later than we are.

    Raises
    ------
    ActuatorError
        It cannot be put back.
    """
    for original in journal.originals(key):
        if not original.writer.alive:
            done = recover(journal, original, build)
            if done.fate is Fate.FAILED:
                raise ActuatorError(f"what {original.writer} has changed cannot be put back: {done.detail}")
            _log.warning("%s", done)
