"""What the columns of an experiment's tables are: type, unit, and meaning."""

from __future__ import annotations

FIXED = {
    "pair": ("integer", "", "number of the pair, from 0: blocks that are compared with each other"),
    "stretch": ("integer", "", "number of the stretch of pairs that share their conditions"),
    "arm": ("string", "", "who served the block"),
    "place": ("integer", "", "place in the order of the pair, from 0"),
    "began": ("number", "s", "when, since 1970"),
    "seconds": ("number", "s", "how long it took, wash-in and rest included"),
    "late": ("number", "s", "how late its load left, 99th percentile, if measured"),
    "control_cpu": ("number", "s", "processor time of what steered it"),
    "steps": ("integer", "", "steps of what steered it"),
    "control_memory": (
        "number",
        "B",
        "what the objects of what steered it held at its end, if measured",
    ),
    "phase": ("string", "", "condition of its stretch, where several take turns"),
}
"""Columns of every experiment: type, unit, and what it is."""

LATER = frozenset({"control_memory", "phase"})
"""Of them, those that data of an older version lack."""

SAMPLED = {
    "pair": FIXED["pair"],
    "arm": FIXED["arm"],
    "time": ("number", "s", "since the beginning of the block"),
    "size": ("number", "", "size in force"),
    "demand": ("number", "", "in use and waiting, in units of size"),
}
"""Columns of the courses."""

FAILED = {
    "pair": FIXED["pair"],
    "arm": ("string", "", "whose block failed; the whole pair is played again"),
    "time": ("number", "s", "when, since 1970"),
    "kind": ("string", "", "kind of the error"),
    "reason": ("string", "", "what it says"),
}
"""Columns of what failed."""
