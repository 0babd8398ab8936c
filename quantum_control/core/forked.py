"""What begins anew in a forked child, which has a copy of all objects and none of the other threads."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol
from weakref import WeakSet

_STARTED = 19
"""Clock ticks from boot to the start, among the fields of /proc/PID/stat behind the command and the
state: proc(5) counts it as the 22nd of all."""


class Forgetful(Protocol):
    """What other threads use, so that a copy of it may be in the middle of something that nobody ends."""

    def forget(self) -> None:
        """Begin anew: free locks that are held, and drop what is the parent's. There is no other thread."""


class Owner:
    """The process that has set something last, or made this: its children leave that to it while it lives.

    Where it has ended, as the parent of a program that goes on in the background, nobody else puts it back.
    """

    def __init__(self) -> None:
        self._pid = self._started = 0
        self.claim()

    def claim(self) -> None:
        """Be it from here on."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._started = started(self._pid)

    @property
    def elsewhere(self) -> bool:
        """Whether it is another process, which still runs."""
        # Where the system does not tell when a process was started, it is taken to run.
        return self._pid != os.getpid() and started(self._pid) == self._started


def started(pid: int) -> int:
    """Clock ticks from boot to the start of a process; 0 if there is none, or the system does not tell."""
    try:
        line = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    state, *fields = line.rpartition(")")[2].split()
    return 0 if state in "ZX" else int(fields[_STARTED - 1])


_forgetful: WeakSet[Forgetful] = WeakSet()


def forget_in_child(one: Forgetful) -> None:
    """Have `one.forget()` called in each child that is forked from now on; it is not kept alive by this."""
    _forgetful.add(one)


def _forget_all() -> None:
    for one in list(_forgetful):
        one.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
