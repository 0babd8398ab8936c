"""A pool that says when it is measured and changed, and a controller whose law makes it grow."""

import threading
from collections.abc import Callable
from math import log
from typing import Any

from doubles import Pool, Pushes

from quantum_control import QuantumController, ResourceState

LONG = 30.0
"""Seconds: more than any of this takes."""
NEVER = 1e6
"""Seconds between steps where there is to be no second one."""
GROW = log(2.0)


class Watched(Pool):
    """Says when it was measured and changed."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.measured = threading.Event()
        self.changed = threading.Event()
        self.threads: set[threading.Thread] = set()
        self.in_measuring: Callable[[], object] = lambda: None
        self.in_applying: Callable[[], object] = lambda: None

    def measure_state(self) -> ResourceState:
        self.threads.add(threading.current_thread())
        self.in_measuring()
        state = super().measure_state()
        self.measured.set()
        return state

    def apply_control(self, new_size: int) -> None:
        self.in_applying()
        super().apply_control(new_size)
        self.changed.set()

    def join(self) -> None:
        """Wait for the end of every thread that has measured."""
        for thread in self.threads - {threading.current_thread()}:
            thread.join(LONG)
            assert not thread.is_alive()


def growing(interval: float = NEVER, *forces: object) -> tuple[Watched, QuantumController]:
    """A pool of 10 that doubles at the first step."""
    pool = Watched(10)
    return pool, QuantumController(pool, Pushes(*(forces or (GROW / interval, 0.0))), interval=interval)
