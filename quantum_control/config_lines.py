"""On which line of a TOML or YAML text each key stands."""

from __future__ import annotations

import re
from typing import Any

from quantum_control.core.errors import ConfigError

Lines = dict[tuple[str, ...], int]
"""Path of a key, and its line, from 1."""

_PART = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*')"""
_DOTTED = rf"{_PART}(?:\s*\.\s*{_PART})*"
_HEADER = re.compile(rf"\s*\[\[?\s*({_DOTTED})\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(rf"\s*({_DOTTED})\s*=")
# What matters of a value: strings, in which brackets and # mean nothing, comments and brackets.
_TOKEN = re.compile(r'''"""|\'\'\'|"(?:[^"\\]|\\.)*"|'[^']*'|#.*|[\[\]{}]''')


def of_toml(text: str) -> Lines:
    """Lines of the keys of a TOML text that is known to be valid; those inside inline tables are left out."""
    lines: Lines = {}
    table: tuple[str, ...] = ()
    depth, quote = 0, ""
    for number, line in enumerate(text.splitlines(), start=1):
        rest = line
        if not depth and not quote:
            if (header := _HEADER.match(line)) is not None:
                table = _path(header[1])
                lines.setdefault(table, number)
                continue
            if (key := _KEY.match(line)) is not None:
                lines.setdefault((*table, *_path(key[1])), number)
                rest = line[key.end() :]
        depth, quote = _open(rest, depth, quote)
    return lines


def _path(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in re.findall(_PART, dotted))


def _open(rest: str, depth: int, quote: str) -> tuple[int, str]:
    """How many brackets, and which multi-line string, are open at the end of a line."""
    while rest:
        if quote:
            _, closed, rest = rest.partition(quote)
            if not closed:
                return depth, quote
            quote = ""
            continue
        token = _TOKEN.search(rest)
        if token is None:
            break
        rest = rest[token.end() :]
        if token[0] in ('"""', "'''"):
            quote = token[0]
        elif token[0] in ("[", "{"):
            depth += 1
        elif token[0] in ("]", "}"):
            depth -= 1
    return depth, quote


def of_yaml(text: str) -> tuple[object, Lines]:
    """Content of a YAML text, and the lines of its keys.

    Raises
    ------
    ConfigError
        It is no valid YAML, or a key stands twice.
    """
    try:
        import yaml
    except ImportError as error:
        raise ConfigError("YAML needs PyYAML: pip install 'quantum-control[yaml]', or write TOML") from error
    lines: Lines = {}
    try:
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None, lines
            _walk(node, (), lines)
            return loader.construct_document(node), lines
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark is not None else ""
        raise ConfigError(f"{where}{getattr(error, 'problem', None) or error}") from error


def _walk(node: Any, where: tuple[str, ...], lines: Lines) -> None:
    if node.id != "mapping":
        return
    for key, value in node.value:
        path = (*where, str(key.value))
        line = key.start_mark.line + 1
        if path in lines:
            raise ConfigError(f"line {line}: {'.'.join(path)} stands on line {lines[path]} already")
        lines[path] = line
        _walk(value, path, lines)
