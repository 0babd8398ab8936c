"""Every page about a law or a resource shows a picture, and a committed command draws it."""

import re
import shlex
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
from test_cli_help import parse

mpl = pytest.importorskip("matplotlib")

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted([*(DOCS / "models").glob("*.md"), *(DOCS / "resources").glob("*.md")])
SHOWN = re.compile(r"^!\[(?P<told>[^\]]*)\]\((?P<path>[^)]+)\)$", re.M)
COMMAND = re.compile(r"`(python docs/\w+\.py[^`]*|quantum-control [^`]*--plot[^`]*)`", re.M)

WORDS = 5
"""Of a text alternative that says what is to be seen."""


@pytest.fixture
def script(monkeypatch):
    """Give a script of the docs as a module."""
    monkeypatch.syspath_prepend(str(DOCS))

    def load(name):
        spec = spec_from_file_location(name, DOCS / f"{name}.py")
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


def drawn_by(command, script):
    """Names of the pictures that a command draws; None for one that draws what it is told to."""
    words = shlex.split(command)
    if words[0] == "quantum-control":
        parse([*words[1:], "picture.png"] if words[-1] == "--plot" else words[1:])
        return None
    drawn = set(script(Path(words[1]).stem).DRAWN)
    return drawn & set(words[2:]) if words[2:] else drawn


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_shows_a_picture_that_is_there_and_names_the_command_that_draws_it(page, script):
    text = page.read_text(encoding="utf-8")
    pictures = list(SHOWN.finditer(text))
    assert pictures, "no picture"
    commands = [drawn_by(command, script) for command in COMMAND.findall(text)]
    for picture in pictures:
        path = page.parent / picture["path"]
        assert path.is_file(), path
        assert len(picture["told"].split()) >= WORDS, picture["told"]
        assert any(names is None or path.stem in names for names in commands), f"who draws {path.name}?"


def test_the_check_finds_a_command_that_draws_something_else(script):
    assert drawn_by("python docs/figures.py auto", script) == {"auto"}
    assert drawn_by("python docs/figures.py buffer", script) == set()
    assert "buffer" in drawn_by("python docs/resource_figures.py", script)


TEXT = re.compile(r"<text [^>]*>([^<]+)</text>")


def words(svg):
    """What is written in a picture, but for the figures at its axes."""
    return {text for text in TEXT.findall(svg) if not re.fullmatch(r"[-\u2212\d.]+", text)}


def test_the_pictures_of_the_resources_are_those_that_their_script_draws(script, tmp_path, monkeypatch):
    """Curves are not compared: they move whenever what steers does; what they are called is."""
    module = script("resource_figures")
    monkeypatch.setattr(module, "PICTURES", tmp_path)
    with mpl.rc_context():
        module.main([])
    for name in module.DRAWN:
        kept, made = ((folder / f"{name}.svg").read_text() for folder in (DOCS / "pictures", tmp_path))
        assert words(kept) == words(made), name
        assert len(words(kept)) > 2, name
