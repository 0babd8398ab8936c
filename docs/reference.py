"""Makes the reference from the docstrings: an extension of Sphinx, for `conf.py`.

A page says which part of the package it is about:

    ```{modules} quantum_control.physics
    ```

and gets a heading and the docstrings of each module in it, also of those that are added later. The docstrings
are plain text, as they are read in an editor; what Sphinx would take for markup is told that it is none.
"""

from __future__ import annotations

import re
from importlib.util import find_spec
from pkgutil import walk_packages
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

BLOCK = re.compile(r"^```\{modules\} (?P<name>[\w.]+)\n```$", re.MULTILINE)

OTHERS = re.compile(r"_pb2(_grpc)?$|\.__main__$")
"""Modules that are no reference for anybody: made by a compiler, or a door to another one."""


def modules(name: str) -> list[str]:
    """Names of a module and, if it is a package, of all modules in it."""
    spec = find_spec(name)
    if spec is None:
        raise ModuleNotFoundError(name)
    inside = walk_packages(spec.submodule_search_locations or [], f"{name}.")
    return [name, *(each.name for each in inside if not OTHERS.search(each.name))]


def reference(match: re.Match[str]) -> str:
    """Text in place of a block."""
    return "\n\n".join(
        f"## {each}\n\n```{{eval-rst}}\n.. automodule:: {each}\n   :members:\n   :ignore-module-all:\n"
        "   :show-inheritance:\n```"
        for each in modules(match["name"])
    )


def expand(_app: Sphinx, _page: str, source: list[str]) -> None:
    """Put the modules where a page asks for them; an event of Sphinx."""
    source[0] = BLOCK.sub(reference, source[0])


# ---- docstrings ----------------------------------------------------------------------------------

SPANS = re.compile(r"(`+[^`]*`+)")

MARKUP = re.compile(r"\||(?<=\w)_(?!\w)")
"""A bar (|x|) and a last underscore (x_), which would make a reference."""

INITIAL = re.compile(r"^(\s*)(?=[A-Z]\. )")
"""Of an author at the beginning of a line, which would make a list."""

VALUES = ("attribute", "data", "property")

_values: dict[str, list[str]] = {}
"""Docstrings that are kept from Napoleon, by what they are of."""


def plain(_app: Sphinx, what: str, name: str, _of: object, _options: object, lines: list[str]) -> None:
    """Say of a text what is verbatim and what is no markup; an event of Sphinx."""
    made: list[str] = []
    verbatim: int | None = None  # indentation of the text before what is verbatim
    last = 0
    for line in lines:
        indentation = len(line) - len(line.lstrip())
        if line.strip():
            if verbatim is not None and indentation <= verbatim:
                verbatim = None
            elif verbatim is None and indentation > last and made and not made[-1].strip():
                # A formula or code: further in than the text, after an empty line.
                made += [f"{' ' * last}::", ""]
                verbatim = last
            last = indentation
        made.append(line if verbatim is not None else _escaped(line))
    lines[:] = made
    if what in VALUES:
        _values[name] = made


def _escaped(line: str) -> str:
    parts = SPANS.split(INITIAL.sub(r"\1\\", line))
    parts[::2] = [MARKUP.sub(lambda found: "\\" + found[0], part) for part in parts[::2]]
    return "".join(parts)


def whole(_app: Sphinx, what: str, name: str, _of: object, _options: object, lines: list[str]) -> None:
    """Undo what Napoleon does to "Seconds: of a step", where it takes what is before the colon for a type."""
    if what in VALUES:
        lines[:] = _values.pop(name)


def setup(app: Sphinx) -> dict[str, bool]:
    """Make it known to Sphinx; Napoleon's own priority is 500."""
    app.connect("source-read", expand)
    app.connect("autodoc-process-docstring", plain, priority=400)
    app.connect("autodoc-process-docstring", whole, priority=600)
    return {"parallel_read_safe": True}
