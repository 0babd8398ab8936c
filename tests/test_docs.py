"""Every Python example of the documentation runs as it stands."""

import re
from pathlib import Path

import pytest

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


def test_examples_are_found_and_told_apart(tmp_path):
    page = tmp_path / "page.md"
    text = "# Title\n\n```python\na\n```\n<!-- needs: postgresql -->\n\n```python\nb\n```\n"
    page.write_text(text, encoding="utf-8")
    assert blocks(page) == [(3, "a\n", None), (8, "b\n", "postgresql")]
