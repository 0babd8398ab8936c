"""Runs of a benchmark at the same time, each in a process of its own."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context

from quantum_control.fleet.processes import no_interrupt


def run_together(
    runs: Sequence[tuple[str, Callable[[], object]]], jobs: int, made: Callable[[str], object]
) -> None:
    """Make `runs`, each with what to call it, `jobs` at a time; `made` is called with the name of each made.

    What runs beside a run is part of what it measures: it is for runs that leave most of the processors
    alone. With one at a time they are made in this process, in their order.

    Ctrl-C interrupts those under way, which take away what they have set up.

    Raises
    ------
    Exception
        What a run raises; those that have not begun are not made.
    """
    if jobs == 1:
        for name, run in runs:
            run()
            made(name)
        return
    left = deque(runs)
    under_way: dict[Future[object], str] = {}
    # Spawned, since a copy of this process would have its threads' locks without its threads.
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        while left or under_way:
            # No more than can begin at once: what the pool has taken in it would make after Ctrl-C as well.
            while left and len(under_way) < jobs:
                name, run = left.popleft()
                with no_interrupt():
                    under_way[pool.submit(_interruptible, run)] = name
            for each in wait(under_way, return_when=FIRST_COMPLETED).done:
                each.result()
                made(under_way.pop(each))


def _interruptible(run: Callable[[], object]) -> object:
    """Let Ctrl-C through, which a process that is being started would complain of."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    return run()
