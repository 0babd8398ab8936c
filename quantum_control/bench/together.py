"""Runs of a benchmark at the same time, each in a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context


def run_together(
    runs: Sequence[tuple[str, Callable[[], object]]], jobs: int, made: Callable[[str], object]
) -> None:
    """Make `runs`, each with what to call it, `jobs` at a time; `made` is called with the name of each made.

    What runs beside a run is part of what it measures: it is for runs that leave most of the processors
    alone. With one at a time they are made in this process, in their order.

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
    # Spawned, since a copy of this process would have its threads' locks without its threads.
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        names = {pool.submit(run): name for name, run in runs}
        try:
            for each in as_completed(names):
                each.result()
                made(names[each])
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
