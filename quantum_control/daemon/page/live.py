"""The page that shows what the daemon does, and the JSON that it reads."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict
from http import HTTPStatus
from importlib.resources import files
from typing import Any

from quantum_control import __version__
from quantum_control.core.decision import Decision
from quantum_control.core.errors import ConfigError, unknown_name
from quantum_control.core.physics import Objective
from quantum_control.core.resource import ResourceState
from quantum_control.daemon.control import Answerer
from quantum_control.daemon.page.course import Course, short
from quantum_control.daemon.standing import Status, ordered, picked, troubled, why
from quantum_control.daemon.worth import shadowed
from quantum_control.monitoring.serving import Answer, PageServer
from quantum_control.terminal import plain

HTML, CSS, SCRIPT, ICON, JSON = (
    "text/html; charset=utf-8",
    "text/css; charset=utf-8",
    "text/javascript; charset=utf-8",
    "image/svg+xml",
    "application/json",
)

STATIC = {
    "/": ("index.html", HTML),
    "/page.css": ("page.css", CSS),
    "/page.js": ("page.js", SCRIPT),
    "/list.js": ("list.js", SCRIPT),
    "/detail.js": ("detail.js", SCRIPT),
    "/chart.js": ("chart.js", SCRIPT),
    "/words.js": ("words.js", SCRIPT),
    "/icon.svg": ("icon.svg", ICON),
}
"""By path: file and media type."""

SORTED_BY = ("", "resource", "mode", "state", "size", "decided", "demand", "force")
"""Fields by which rows can be sorted; the first is trouble first, then by name."""

ROWS = 50
"""Of one view of the list."""

SPARK_STEPS = 60
"""Of the small curve in each row."""

SPARK = ("size", "demand", "as_if_size")


class LivePage:
    """Adds the page to a server, and remembers what it shows over time.

    It only looks: of the control socket's questions it asks `status` and
    `explain`, and no other.

    Parameters
    ----------
    server
        That of the metrics: the same port, TLS and password.
    answer
        What answers on the control socket too.
    prices
        By which two ways of sizing a resource are compared.
    lost
        Records that the audit log has lost.
    """

    def __init__(
        self,
        server: PageServer,
        answer: Answerer,
        prices: Callable[[str], Objective],
        lost: Callable[[], int],
    ) -> None:
        self._answer = answer
        self._prices = prices
        self._lost = lost
        self._began = time.time()
        self._courses: dict[str, Course] = {}
        for path, (name, kind) in STATIC.items():
            server.add(path, _still(files(__package__).joinpath("static", name).read_bytes(), kind))
        server.add("/resources.json", self._resources)
        server.add("/resource.json", self._resource)

    def record(
        self, name: str, mode: str, when: float, decision: Decision, real: ResourceState | None
    ) -> None:
        """Remember a step of a resource; `real` is what was measured where a twin was steered."""
        course = self._courses.get(name)
        if course is None:
            course = self._courses.setdefault(name, Course())
        course.add(when, decision, real, twin=mode == "shadow")

    def _resources(self, query: Mapping[str, str]) -> Answer:
        by = query.get("sort", "")
        if by not in SORTED_BY:
            raise ConfigError(unknown_name("field", by[:50], SORTED_BY[1:]))
        found = [self._with_figures(each) for each in self._asked(do="status")]
        self._forget(found)
        chosen = picked(found, query.get("text", ""), query.get("mode", ""), query.get("state", ""))
        rows = ordered(chosen, by, falling=query.get("order") == "falling")
        first = min(_number(query.get("first", "0")), max(len(rows) - 1, 0) // ROWS * ROWS)
        return _json(
            {
                "version": __version__,
                "began": self._began,
                "now": time.time(),
                "total": len(found),
                "trouble": sum(map(troubled, found)),
                "modes": Counter(each["mode"] for each in found),
                "states": Counter(each["state"] for each in found),
                "late_seconds": max((each["late_seconds"] for each in found), default=0.0),
                "audit_lost": self._lost(),
                "found": len(rows),
                "first": first,
                "per_page": ROWS,
                "rows": [self._row(each) for each in rows[first : first + ROWS]],
            }
        )

    def _resource(self, query: Mapping[str, str]) -> Answer:
        name = query.get("name", "")
        try:
            found = self._asked(do="explain", resource=name)
        except ConfigError as error:
            return Answer(f"{error}\n".encode(), status=HTTPStatus.NOT_FOUND)
        course = self._courses.get(name) or Course()
        times, figures = course.times(), course.figures()
        shown = self._with_figures(found)
        return _json(
            {
                **shown,
                "version": __version__,
                "now": time.time(),
                "why": why(found),
                "troubled": troubled(found),
                "course": {"time": times} | figures,
                "told": [each._asdict() for each in course.told()],
                "worth": _worth(figures, found, self._prices(name)),
            }
        )

    def _asked(self, **question: str) -> Any:
        return self._answer(question)

    def _with_figures(self, each: Status) -> dict[str, Any]:
        """Tell the real thing's size and demand from what was decided, which in shadow mode is the twin's."""
        course = self._courses.get(str(each["resource"]))
        size, demand = (None, None) if course is None else map(short, course.latest)
        return {**each, "decided": each["size"], "size": size, "demand": demand}

    def _row(self, each: Status) -> dict[str, object]:
        course = self._courses.get(str(each["resource"]))
        kept = ("resource", "kind", "mode", "state", "size", "decided", "demand", "force", "original")
        return {
            **{key: each.get(key) for key in kept},
            "why": why(each),
            "troubled": troubled(each),
            "course": {} if course is None else course.figures(SPARK, SPARK_STEPS),
        }

    def _forget(self, found: list[dict[str, Any]]) -> None:
        """Let go of what is no longer steered."""
        for name in self._courses.keys() - {each["resource"] for each in found}:
            self._courses.pop(name, None)


def _worth(figures: Mapping[str, list[Any]], found: Status, prices: Objective) -> dict[str, object] | None:
    """Compare how it was with the twin in shadow mode, or the size that was found with how it was."""
    size, demand = figures["size"], figures["demand"]
    if found["mode"] == "active":
        original = [found["original"]] * len(size)
        against, ways = "original", (demand, original, demand, size)
    else:
        against, ways = "shadow", (demand, size, figures["as_if_demand"], figures["as_if_size"])
    names = ("demand", "size", "as_if_demand", "as_if_size")
    try:
        return {
            "against": against,
            **asdict(
                shadowed((dict(zip(names, each, strict=True)) for each in zip(*ways, strict=True)), prices)
            ),
        }
    except ConfigError:
        return None  # too little of it yet


def _still(content: bytes, kind: str) -> Callable[[Mapping[str, str]], Answer]:
    return lambda _: Answer(content, kind)


def _json(content: Mapping[str, object]) -> Answer:
    try:
        text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    except ValueError:  # seldom, so that the others need not be looked through
        text = json.dumps(plain(content), separators=(",", ":"))
    return Answer(text.encode(), JSON)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise ConfigError(f"{text[:50]!r} is no number of a row")
    return int(text)
