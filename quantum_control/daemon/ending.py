"""Ending many resources at once, so that one that hangs keeps no other."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping

from quantum_control.core.errors import ActuatorError
from quantum_control.daemon.steering import Steering

_log = logging.getLogger("quantum_control")

MOST_THREADS = 64
"""That may hang, each in a resource of its own, before those that are left have to wait."""

PAUSE = 0.02
"""Seconds until another thread is started beside those that have not come back."""


def end_all(steerings: Mapping[str, Steering], seconds: float, beat: Callable[[], object]) -> set[str]:
    """Put the originals back, and return the names of those that were not put back in time.

    Parameters
    ----------
    steerings
        By name; no step of theirs is begun any more.
    seconds
        How long it may take.
    beat
        Called again and again meanwhile, as a sign of life.
    """
    left = dict(steerings)
    waiting = list(left)
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                if not waiting:
                    return
                name = waiting.pop()
            try:
                left[name].end()
            except ActuatorError as error:
                _log.error("%s: %s", name, error)
                continue
            except Exception:  # noqa: BLE001 - an adapter may fail in any way; the journal has its original
                _log.exception("%s: could not be ended", name)
                continue
            with lock:
                del left[name]

    until = time.monotonic() + seconds
    threads: list[threading.Thread] = []
    while time.monotonic() < until:
        beat()
        # A few threads take them in turn, and more come if those do not come back.
        if waiting and len(threads) < MOST_THREADS:
            threads.append(threading.Thread(target=work, daemon=True, name="quantum_control end"))
            threads[-1].start()
        if not any(thread.is_alive() for thread in threads) and not waiting:
            break
        threads[-1].join(PAUSE)
    with lock:
        stuck = set(left)
    for name in stuck:
        _log.error("%s: not put back; the journal has its original", name)
    return stuck
