"""What the commands have in common: examples in their help, `--json`, signs of life, and how they end."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Self, TextIO, TypeVar

import click

T = TypeVar("T")

EXIT_REFUSED = 2
"""Exit code for a wrong parameter, a missing part or a resource that cannot be steered."""

EXIT_NOT_RESTORED = 3
"""Exit code when an original could not be put back; the journal still has it."""

EXIT_ENDED_EARLY = 4
"""Exit code of an experiment ended since it did harm, or since the resource failed; the original is back."""

EXIT_INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 + SIGINT."""

QUIET_SECONDS = 2.0
"""What takes no longer than this says nothing of how far it is."""

LINE_SECONDS = 10.0
"""From one line to the next where they stay, as in a log; a terminal's one line is written anew."""

REDRAWN_SECONDS = 0.2

AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def examples(*lines: str) -> str:
    """Make the end of a command's help from lines to type, without `quantum-control` before them."""
    return "\b\nExamples:\n" + "\n".join(f"  quantum-control {line}" for line in lines)


def print_json(value: object) -> None:
    """Print for programs; what is no number (a nan) is null, as JSON has none."""
    click.echo(json.dumps(plain(value), indent=2, default=str))


def plain(value: object) -> object:
    """Make what JSON can hold of it: null for a nan or an infinity, text for keys."""
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, float) and not abs(value) < float("inf"):
        return None
    return value


class Progress:
    """Tells on standard error how far something is, once it takes longer than people like to wait.

    Parameters
    ----------
    what
        What is being done, as it begins the line.
    total
        How many steps there are; None if that is not known.
    stream, clock
        Where to write, and the time in seconds; for tests.
    """

    def __init__(
        self,
        what: str,
        total: int | None = None,
        *,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._what = what
        self._total = total
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._terminal = self._stream.isatty()
        self._began = clock()
        self._next = self._began + QUIET_SECONDS
        self._width = 0
        self.done = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._width:  # leaves the line to what comes next
            self._stream.write(f"\r{' ' * self._width}\r")
            self._stream.flush()

    def advance(self, steps: int = 1) -> None:
        """Some more steps are done."""
        self.done += steps
        now = self._clock()
        if now < self._next:
            return
        self._next = now + (REDRAWN_SECONDS if self._terminal else LINE_SECONDS)
        line = f"{self._what}: {self._how_far(now - self._began)}"
        if self._terminal:
            self._stream.write(f"\r{line.ljust(self._width)}")
            self._width = max(self._width, len(line))
        else:
            self._stream.write(f"{line}\n")
        self._stream.flush()

    def _how_far(self, elapsed: float) -> str:
        if self._total is None:
            return str(self.done)
        left = elapsed * (self._total - self.done) / max(self.done, 1)
        return f"{self.done} of {self._total}, about {left:.0f} s left"


def tracked(items: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
    """Yield the items, and tell of how many are done."""
    with Progress(what, total) as progress:
        for each in items:
            yield each
            progress.advance()
