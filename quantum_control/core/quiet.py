"""Times in which nothing is changed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from quantum_control.core.errors import ConfigError
from quantum_control.core.resource import ResourceState

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

DAY_MINUTES = 24 * 60

_TIMES = re.compile(
    r"(?:(?P<days>[a-z]{3}(?:[-,][a-z]{3})*)\s*)?(?:(?P<from>\d{2}:\d{2})-(?P<to>\d{2}:\d{2}))?"
)


def _local() -> datetime:
    return datetime.now().astimezone()


class QuietHours:
    """Holds the size at certain times of the week.

    Parameters
    ----------
    times
        Each days, hours or both: "22:00-06:00" (over midnight: it belongs to
        the day on which it begins), "sat,sun", "mon-fri 09:00-17:00".
    now
        Local time.

    Raises
    ------
    ConfigError
        A text is none of these.
    """

    def __init__(self, times: Iterable[str], now: Callable[[], datetime] = _local) -> None:
        self._windows = [(text, *_window(text)) for text in times]
        self._now = now

    def allow(self, state: ResourceState, size: int, wanted: int, /) -> tuple[int, str]:  # noqa: ARG002 - a Link
        """Hold in quiet hours."""
        if wanted == size or not self._windows:
            return wanted, ""
        quiet = self.quiet(self._now())
        return (size, f"quiet hours {quiet}") if quiet else (wanted, "")

    def quiet(self, when: datetime) -> str:
        """Which of the times `when` falls into; empty if none."""
        minute = when.hour * 60 + when.minute
        yesterday = (when - timedelta(days=1)).weekday()
        for text, days, begin, end in self._windows:
            if begin < end:
                if when.weekday() in days and begin <= minute < end:
                    return text
            elif (when.weekday() in days and minute >= begin) or (yesterday in days and minute < end):
                return text
        return ""


def _window(text: str) -> tuple[frozenset[int], int, int]:
    """Days, and minutes of the day from which to which."""
    match = _TIMES.fullmatch(text.strip().lower())
    if match is None or not match[0]:
        raise ConfigError(f"{text!r} is no time: write '22:00-06:00', 'sat,sun' or 'mon-fri 09:00-17:00'")
    days = frozenset(range(7)) if match["days"] is None else frozenset(_days(match["days"], text))
    if match["from"] is None:
        return days, 0, DAY_MINUTES
    begin, end = _minutes(match["from"], text), _minutes(match["to"], text)
    if begin in (end, DAY_MINUTES):
        raise ConfigError(f"{text!r}: the time has to last; for a whole day name the day alone")
    return days, begin, end


def _minutes(clock: str, text: str) -> int:
    hours, minutes = int(clock[:2]), int(clock[3:])
    if minutes > 59 or hours * 60 + minutes > DAY_MINUTES:
        raise ConfigError(f"{text!r}: {clock} is no time of day; from 00:00 to 24:00")
    return hours * 60 + minutes


def _days(text: str, whole: str) -> Iterable[int]:
    for part in text.split(","):
        names = part.split("-")
        unknown = [name for name in names if name not in DAYS]
        if unknown or len(names) > 2:
            raise ConfigError(f"{whole!r}: days are {', '.join(DAYS)}, or from-to")
        first, last = DAYS.index(names[0]), DAYS.index(names[-1])
        yield from (day % 7 for day in range(first, last + 1 + (7 if last < first else 0)))
