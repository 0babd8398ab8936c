"""What a forked child does, told by its exit code."""

import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

SECONDS = 30
"""After which a child that hangs is ended by the kernel."""

RAISED = 99


@contextmanager
def held(lock: AbstractContextManager[object]) -> Iterator[None]:
    """Have another thread hold a lock, as it may at the moment of a fork."""
    holding, release = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            holding.set()
            release.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    holding.wait()
    try:
        yield
    finally:
        release.set()
        thread.join()


def in_child(work: Callable[[], object]) -> int:
    """Do `work` in a forked child; 0 if it returned, 99 if it raised, -SIGALRM if it hung."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads beside the one that forks
        child = os.fork()
    if child == 0:
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(SECONDS)
            work()
        except BaseException:  # noqa: BLE001 - nothing of the test may go on in the child
            traceback.print_exc(file=sys.__stderr__)
            os._exit(RAISED)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
