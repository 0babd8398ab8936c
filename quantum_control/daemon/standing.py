"""How resources stand, as `status` tells it: in order, picked and in words, for the terminal and the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

Status = Mapping[str, Any]

TROUBLE = frozenset({"failed", "suspended", "not begun", "paused"})
"""States that come first."""

HANGING_SECONDS = 5.0
"""A step that takes longer hangs."""


def troubled(each: Status) -> bool:
    """Whether somebody should look at it."""
    return each["state"] in TROUBLE or hanging(each)


def hanging(each: Status) -> bool:
    """Whether its step under way does not come back."""
    return bool(each.get("busy_seconds", 0.0) > HANGING_SECONDS)


def why(each: Status) -> str:
    """What holds it, or why the last decision was not what the law asked for; in one line."""
    hung = f"a step has been under way for {each['busy_seconds']:.0f} s" if hanging(each) else ""
    told = hung or each.get("trouble") or each["paused"] or "; ".join(each.get("why", ()))
    return " ".join(str(told).split())


def ordered(found: Sequence[Status], by: str = "", *, falling: bool = False) -> list[Status]:
    """Put those in trouble first, then all by name; or all by a field, those that have none last."""
    named = sorted(found, key=lambda each: str(each["resource"]))
    if not by:
        return sorted(named, key=lambda each: not troubled(each))
    known = [each for each in named if _known(each.get(by))]
    unknown = [each for each in named if not _known(each.get(by))]
    return sorted(known, key=lambda each: _key(each[by]), reverse=falling) + unknown


def picked(found: Sequence[Status], text: str = "", mode: str = "", state: str = "") -> list[Status]:
    """Those of a mode and a state, in whose name, kind or reasons `text` is; "trouble" is a state too."""
    text = text.casefold()
    return [
        each
        for each in found
        if mode in ("", each["mode"])
        and (troubled(each) if state == "trouble" else state in ("", each["state"]))
        and (
            not text
            or any(text in str(part).casefold() for part in (each["resource"], each["kind"], why(each)))
        )
    ]


def _known(value: object) -> bool:
    return isinstance(value, str) or (isinstance(value, int | float) and isfinite(value))


def _key(value: Any) -> tuple[bool, float, str]:
    text = isinstance(value, str)
    return text, 0.0 if text else value, value.casefold() if text else ""
