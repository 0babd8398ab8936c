"""Looks at a size while a block is played."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

TICK = 0.01
"""Seconds between two looks."""


class Watch:
    """Looks at a size again and again, on a thread of its own; a context manager.

    Parameters
    ----------
    size
        Returns it.
    """

    def __init__(self, size: Callable[[], int]) -> None:
        self.times: list[float] = []
        """Seconds on the monotonic clock."""
        self.sizes: list[int] = []
        self._size = size
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="watch")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _loop(self) -> None:
        while True:
            self.times.append(time.monotonic())
            self.sizes.append(self._size())
            if self._over.wait(TICK):
                return
