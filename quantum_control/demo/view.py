"""What is to be seen while the demonstration runs: a live view, or plain lines."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from math import isnan
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from quantum_control.demo.arms import Arm
from quantum_control.demo.run import Sample

REFRESH = 4.0
"""Pictures per second. Each takes some milliseconds of the interpreter, from all arms alike."""

LINE_EVERY = 5.0
"""Seconds of load between two plain lines."""

NONE = "-"
"""Where there is no figure."""

MARGIN = "         demand "
"""What stands before a row of blocks."""

BLOCKS = " ▁▂▃▄▅▆▇█"


class View(ABC):
    """Shows samples as they are taken.

    Parameters
    ----------
    console
        Where.
    arms
        The arms, in the order in which they are listed.
    segments, seconds
        Number of segments, and how long the load is.
    """

    def __init__(self, console: Console, arms: Sequence[Arm], segments: int, seconds: float) -> None:
        self.console = console
        self.arms = arms
        self.segments = segments
        self.total = seconds * len(arms)
        self.done = 0.0
        self._turn: tuple[Arm, int] | None = None
        self._time = 0.0

    def observe(self, arm: Arm, segment: int, sample: Sample) -> None:
        """Take a sample in."""
        limit = self.total / len(self.arms) / self.segments
        # What a pool takes longer than its segment was not planned: the bar waits for it.
        now = min(sample.time, limit)
        if (arm, segment) != self._turn:
            self._turn, self._time = (arm, segment), 0.0
        self.done += now - self._time
        self._time = now
        self.show(arm, segment, sample)

    @abstractmethod
    def show(self, arm: Arm, segment: int, sample: Sample) -> None:
        """Show a sample."""

    def __enter__(self) -> Self:
        return self

    def __exit__(  # noqa: B027 - lines have no end
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


class LineView(View):
    """A line every few seconds, for logs and pipes."""

    _next = 0.0

    def show(self, arm: Arm, segment: int, sample: Sample) -> None:
        """Print a line if it is time for one."""
        if self.done < self._next:
            return
        self._next = self.done + LINE_EVERY
        words = ("size {} threads", "demand {} threads", "wait {} ms", "force {} 1/s")
        said = [word.format(cell) for word, cell in zip(words, _cells(sample), strict=True) if cell != NONE]
        place = f"{self.done / self.total:4.0%}  block {segment + 1}/{self.segments}  {arm.name}"
        line = f"{place}: {', '.join(said)}; {self.total - self.done:.0f} s left"
        self.console.print(line, highlight=False, soft_wrap=True)


class LiveView(View):
    """Progress with the time left, a row for each arm, and the last seconds of the steered one."""

    def __init__(self, console: Console, arms: Sequence[Arm], segments: int, seconds: float) -> None:
        super().__init__(console, arms, segments, seconds)
        self._progress = Progress(
            TextColumn("block {task.fields[segment]}"),
            BarColumn(),
            TextColumn("{task.percentage:.0f} %"),
            TimeRemainingColumn(),
            console=console,
        )
        self._bar = self._progress.add_task("", total=self.total, segment=f"1/{segments}")
        self._last: dict[Arm, Sample] = {}
        self._trail: deque[Sample] = deque(maxlen=60)
        self._live = Live(
            console=console, get_renderable=self._draw, refresh_per_second=REFRESH, transient=True
        )

    def show(self, arm: Arm, segment: int, sample: Sample) -> None:
        """Keep the sample for the next picture, which another thread draws."""
        self._last[arm] = sample
        if not isnan(sample.force):
            self._trail.append(sample)
        self._progress.update(self._bar, completed=self.done, segment=f"{segment + 1}/{self.segments}")

    def _draw(self) -> Group:
        table = Table(box=None, pad_edge=False)
        table.add_column("pool", min_width=9)
        for heading in ("size, threads", "demand, threads", "wait, ms", "force, 1/s"):
            table.add_column(heading, justify="right", min_width=8)
        turn = self._turn
        for arm in self.arms:
            sample = self._last.get(arm)
            style = "bold" if turn is not None and arm is turn[0] else "dim"
            table.add_row(arm.name, *(_cells(sample) if sample else [NONE] * 4), style=style)
        trail = list(self._trail)[-max(1, self.console.width - len(MARGIN)) :]
        top = max((max(sample.threads, sample.demand) for sample in trail), default=1.0)
        return Group(
            self._progress,
            table,
            Text("steered: size   " + _sparks([sample.threads for sample in trail], top), style="cyan"),
            Text(MARGIN + _sparks([sample.demand for sample in trail], top), style="yellow"),
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()


def view(console: Console, arms: Sequence[Arm], segments: int, seconds: float) -> View:
    """The view that suits `console`."""
    alive = console.is_terminal and not console.is_dumb_terminal
    return (LiveView if alive else LineView)(console, arms, segments, seconds)


def _cells(sample: Sample) -> tuple[str, str, str, str]:
    return (
        str(sample.threads),
        f"{sample.demand:.1f}",
        NONE if isnan(sample.wait) else f"{sample.wait * 1e3:.0f}",
        NONE if isnan(sample.force) else f"{sample.force:+.1f}",
    )


def _sparks(values: Sequence[float], top: float) -> str:
    return "".join(BLOCKS[round(value / top * (len(BLOCKS) - 1))] for value in values)
