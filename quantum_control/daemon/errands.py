"""What is asked for by any thread, and done by the one that takes the steps."""

from __future__ import annotations

import queue
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress


class Errands:
    """A queue of things to do, each with an answer."""

    def __init__(self) -> None:
        self._asked: queue.SimpleQueue[tuple[Callable[[], str], Future[str]]] = queue.SimpleQueue()

    def ask(self, what: Callable[[], str]) -> Future[str]:
        """Ask for something; the answer is there once it is done, or has failed."""
        answer: Future[str] = Future()
        self._asked.put((what, answer))
        return answer

    def do(self) -> None:
        """Do what was asked for, in that order."""
        if self._asked.empty():
            return
        with suppress(queue.Empty):
            while True:
                what, answer = self._asked.get_nowait()
                try:
                    answer.set_result(what())
                except Exception as error:  # noqa: BLE001 - it is told to whoever asked
                    answer.set_exception(error)
