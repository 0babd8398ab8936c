"""What a page of the documentation tells its reader to type and to save, for tests that do it."""

# ruff: noqa: S603 - commands of our own pages

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

_BLOCK = re.compile(
    r"\bSave this as `(?P<name>[\w./]+)`:\n+(?:<!--.*?-->\n+)?```\w+\n(?P<content>.*?)^```$"
    r"|^```(?P<shell>console|sh)\n(?P<lines>.*?)^```$",
    re.M | re.S,
)


class Typed(NamedTuple):
    """A command, and the output that is shown below it."""

    command: str
    output: str


class Saved(NamedTuple):
    """A file, and what is in it."""

    name: str
    content: str


def steps(text: str) -> Iterator[Typed | Saved]:
    """Everything that the reader does, in order; comments behind commands are left out."""
    for block in _BLOCK.finditer(text):
        if block["name"]:
            yield Saved(block["name"], block["content"])
        elif block["shell"] == "console":
            for entry in re.split(r"^\$ ", block["lines"], flags=re.M)[1:]:
                command, _, output = entry.partition("\n")
                yield Typed(command.strip(), output.strip())
        else:
            for line in block["lines"].splitlines():
                if command := re.sub(r"(^|\s+)# .*", "", line).strip():
                    yield Typed(command, "")


def loosely(output: str) -> re.Pattern[str]:
    """Pattern of an output: figures, line breaks and verdict may be others, and more lines between."""
    lines = []
    for line in output.splitlines():
        if line.strip() == "...":
            continue
        words = [
            re.sub(r"(?:\\?[-+])?\d+(\\\.\d+)?", "[-+]?[0-9.e+]+", re.escape(word)) for word in line.split()
        ]
        lines.append(r"\s+".join(words))
    pattern = r"(?:\s+|\n(?:.*\n)*)".join(lines).replace(r"no\s+clear\s+difference", "saves")
    return re.compile(pattern.replace("saves", r"(saves|costs\s+more|no\s+clear\s+difference)"))


class Shell:
    """A shell in a folder of its own, as somebody has it who follows a page.

    Parameters
    ----------
    folder
        Where to begin.
    environment
        Variables besides those of this process.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        beside = Path(sys.executable).parent
        self._environment = {
            **os.environ, "PATH": f"{beside}:{os.environ['PATH']}", "NO_COLOR": "1", **environment
        }  # fmt: skip
        self._exports: list[str] = []
        self.background: dict[str, subprocess.Popen[bytes]] = {}

    def run(self, command: str, seconds: float) -> tuple[int, str]:
        """Run a command to its end; its exit code and what it told."""
        if command.startswith("export "):
            self._exports.append(command)
        done = subprocess.run(
            self._words(command),
            cwd=self.folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
            check=False,
        )
        return done.returncode, done.stdout

    def begin(self, command: str) -> subprocess.Popen[bytes]:
        """Begin a command that goes on until it is ended, as in a terminal of its own."""
        with (self.folder / "told").open("ab") as told:
            process = subprocess.Popen(
                self._words(f"exec {command}"),
                cwd=self.folder,
                env=self._environment,
                stdout=told,
                stderr=told,
            )
        self.background[command] = process
        return process

    def end(self) -> dict[str, int]:
        """End what goes on, the last first; exit codes by command."""
        codes = {}
        for command, process in reversed(self.background.items()):
            process.terminate()
            codes[command] = process.wait(60)
        self.background.clear()
        return codes

    def told(self) -> str:
        """What those that go on have told."""
        path = self.folder / "told"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def _words(self, command: str) -> list[str]:
        return ["bash", "-o", "pipefail", "-c", "\n".join([*self._exports, command])]
