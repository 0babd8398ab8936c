"""Work in processes of this machine."""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, Final, TypeVar

from quantum_control.core.errors import QuantumControlError

P = TypeVar("P")
R = TypeVar("R")

ATTEMPTS: Final = 3
"""Times that a piece is begun: who kills a worker once may do so again, a piece that kills every one
of its workers must come to an end."""

ONE_THREAD: Final = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""Environment of workers: more threads of linear algebra would take each other's cores."""


class Processes:
    """Does the work in `jobs` processes of this machine; with one job in this one.

    Parameters
    ----------
    jobs
        How many.
    """

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs

    def run(self, task: Callable[[P], R], pieces: Sequence[P]) -> Iterator[R]:
        """Do `task(piece)` for each piece; yields what they return as they are done.

        Raises
        ------
        QuantumControlError
            A piece was lost with its worker again and again.
        """
        if self._jobs == 1:
            yield from map(task, pieces)
            return
        left = deque(range(len(pieces)))
        begun = [0] * len(pieces)
        workers: dict[Connection, tuple[SpawnProcess, int]] = {}

        def begin(pipe: Connection, process: SpawnProcess) -> None:
            number = left.popleft()
            begun[number] += 1
            workers[pipe] = process, number
            try:
                pipe.send((task, pieces[number]))
            except OSError:  # it has died already, which shows when its answer is read
                return

        try:
            while left and len(workers) < self._jobs:
                begin(*_worker())
            while workers:
                for pipe in wait(list(workers)):
                    assert isinstance(pipe, Connection)  # noqa: S101 - nothing else is waited for
                    process, number = workers.pop(pipe)
                    try:
                        good, answer = pipe.recv()
                    except (EOFError, OSError):
                        pipe.close()
                        process.join()
                        if begun[number] == ATTEMPTS:
                            raise QuantumControlError(
                                f"a piece of work lost its process {ATTEMPTS} times, the last with exit code"
                                f" {process.exitcode}: killed, or out of memory?"
                            ) from None
                        left.appendleft(number)
                        begin(*_worker())
                        continue
                    if not good:
                        raise answer
                    if left:
                        begin(pipe, process)
                    else:
                        _end(pipe, process)
                    yield answer
        finally:
            for pipe, (process, _) in workers.items():
                process.terminate()
                _end(pipe, process)


def _worker() -> tuple[Connection, SpawnProcess]:
    # Fresh interpreters: a fork would inherit locks of threads that are not there.
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    with _environment(ONE_THREAD), no_interrupt():
        process = context.Process(target=_serve, args=(theirs,), daemon=True)
        process.start()
    theirs.close()
    return ours, process


def _end(pipe: Connection, process: SpawnProcess) -> None:
    pipe.close()
    process.join()


def _serve(pipe: Connection) -> None:
    """Do pieces until there are no more."""
    while True:
        try:
            task, piece = pipe.recv()
        except (EOFError, OSError):
            return
        answer: tuple[bool, Any]
        try:
            answer = True, task(piece)
        except Exception as error:  # noqa: BLE001 - raised where the result is wanted
            answer = False, error
        try:
            pipe.send(answer)
        except OSError:
            return


@contextmanager
def no_interrupt() -> Iterator[None]:
    """Ctrl-C reaches every process of a terminal; it is for the first, which ends the others.

    What is started here blocks it. So does this thread, but another one may
    take it, on which Python interrupts the main one: it waits as well, since a
    process half started would complain.
    """
    resource_tracker.ensure_running()  # unblocks it once it has started one, amid the start of a process
    pressed: list[bool] = []
    handler = signal.getsignal(signal.SIGINT)
    ours = callable(handler) and threading.current_thread() is threading.main_thread()
    usual = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    if ours:
        signal.signal(signal.SIGINT, lambda *_: pressed.append(True))
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGINT, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, usual)
    if pressed:
        raise KeyboardInterrupt


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
