"""Examples of the documentation run as they stand, its commands are taken, its links lead somewhere."""

import re
import shlex
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from test_cli_help import parse
from typed_blocks import Typed, steps

ROOT = Path(__file__).parents[1]
PAGES = sorted(path for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts)
BLOCK = re.compile(r"(<!-- needs: (?P<needs>[^>]+) -->\n+)?^```python\n(?P<code>.*?)^```$", re.M | re.S)

SERVED = {"connections", "loadbalancer"}
"""Pages all of whose examples need a server."""


def blocks(page):
    """Line, code and what it needs (None if nothing) of each example."""
    text = page.read_text(encoding="utf-8")
    return [
        (text.count("\n", 0, match.start("code")), match["code"], match["needs"])
        for match in BLOCK.finditer(text)
    ]


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda page: page.stem)
def test_the_examples_of_a_page_run_one_after_the_other(page, tmp_path, monkeypatch):
    """In one namespace, as somebody would type them; where a server is needed they are compiled only."""
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "example"}
    for line, code, needs in blocks(page):
        # So that a traceback shows the line of the page.
        compiled = compile("\n" * line + code, str(page), "exec")
        if needs is None and page.stem not in SERVED:
            exec(compiled, namespace)  # noqa: S102 - that is what is tested


def test_examples_use_no_name_that_their_page_does_not_define(tmp_path):
    """Those that are only compiled as well."""
    for page in [ROOT / "README.md", *PAGES]:
        whole = ""
        for line, code, _ in blocks(page):
            whole += "\n" * (line - whole.count("\n")) + code  # so that a message names the line of the page
        (tmp_path / f"{'.'.join(page.relative_to(ROOT).parts)}.py").write_text(whole, encoding="utf-8")
    ruff = [sys.executable, "-m", "ruff", "check", "--isolated", "--no-cache", "--select", "F821"]
    ran = subprocess.run(  # noqa: S603 - with files of our own
        [*ruff, "--output-format", "concise", tmp_path], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_examples_are_found_and_told_apart(tmp_path):
    page = tmp_path / "page.md"
    text = "# Title\n\n```python\na\n```\n<!-- needs: postgresql -->\n\n```python\nb\n```\n"
    page.write_text(text, encoding="utf-8")
    assert blocks(page) == [(3, "a\n", None), (8, "b\n", "postgresql")]


def typed(page):
    """Every command of ours, as far as it is ours."""
    for step in steps(page.read_text(encoding="utf-8")):
        if isinstance(step, Typed) and step.command.startswith("quantum-control "):
            yield re.split(r"\s[|&]|\s>\s", step.command)[0]


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda page: page.stem)
def test_the_commands_of_a_page_are_such_as_are_taken(page, tmp_path, monkeypatch):
    """They are parsed to the last option; integration/test_docs_console.py runs those that can be."""
    monkeypatch.chdir(tmp_path)
    for line in typed(page):
        words = shlex.split(line)[1:]
        if "..." not in words and "--help" not in words and "COMMAND" not in words:
            parse(words)


LINK = re.compile(r"\]\(<?([^)\s>]+)>?\)")
FENCED = re.compile(r"^```.*?^```$|`[^`\n]*`", re.M | re.S)


@pytest.mark.parametrize("page", [*sorted(ROOT.glob("*.md")), *PAGES], ids=lambda page: page.stem)
def test_the_links_of_a_page_lead_to_a_file_or_are_addresses(page):
    """Headings are checked where the site is built; whether other sites answer is not, as tests stay here."""
    for target in LINK.findall(FENCED.sub("", page.read_text(encoding="utf-8"))):
        address = urlsplit(target)
        if address.scheme:
            assert address.scheme in ("https", "http", "mailto"), target
            assert address.scheme == "mailto" or "." in address.netloc or "localhost" in address.netloc, (
                target
            )
        elif address.path:
            assert (page.parent / address.path).exists(), f"{page.name}: {target}"


FIGURE = re.compile(r"-?\d+\.\d+(?:\s?%)?(?: \[[^\]]+\])?")


def test_the_figures_of_the_comparison_are_those_of_the_pages_that_it_names():
    page = ROOT / "docs" / "comparison.md"
    section = page.read_text(encoding="utf-8").partition("## What was measured, and what not")[2]
    rows = [line.strip("|").split(" | ") for line in section.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 5
    for _, _, told, where in rows:
        (target,) = LINK.findall(where)
        source = (page.parent / target.partition("#")[0]).read_text(encoding="utf-8")
        for figure in FIGURE.findall(told):
            assert re.search(rf"(?<![\d.]){re.escape(figure)}(?![\d.])", " ".join(source.split())), figure
