"""What begins anew in a forked child, which has a copy of all objects and none of the other threads."""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet


class Forgetful(Protocol):
    """What other threads use, so that a copy of it may be in the middle of something that nobody ends."""

    def forget(self) -> None:
        """Begin anew: free locks that are held, and drop what is the parent's. There is no other thread."""


_forgetful: WeakSet[Forgetful] = WeakSet()


def forget_in_child(one: Forgetful) -> None:
    """Have `one.forget()` called in each child that is forked from now on; it is not kept alive by this."""
    _forgetful.add(one)


def _forget_all() -> None:
    for one in list(_forgetful):
        one.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
