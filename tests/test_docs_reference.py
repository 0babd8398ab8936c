"""Every module of the package is on a page of the reference, as its docstrings are meant."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs" / "api").glob("*.md"))

_spec = spec_from_file_location("reference", ROOT / "docs" / "reference.py")
reference = module_from_spec(_spec)
_spec.loader.exec_module(reference)


def listed():
    """Modules of each page."""
    return {
        page.stem: [
            module
            for match in reference.BLOCK.finditer(page.read_text(encoding="utf-8"))
            for module in reference.modules(match["name"])
        ]
        for page in PAGES
    }


def public():
    """Modules by their files, but for those that a compiler has made."""
    for path in (ROOT / "quantum_control").rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if not any(part.startswith("_") for part in parts[:-1]) and not parts[-1].startswith("__main"):
            yield name, path.read_text(encoding="utf-8")


def test_every_public_module_is_on_one_page():
    on_pages = [module for modules in listed().values() for module in modules]
    made = {name for name, text in public() if text.startswith("# Made by ")}
    assert len(made) == 2, made
    wanted = {name for name, _ in public()} - made
    missing = wanted - {*on_pages, "quantum_control"}  # whose names are listed by themselves, in api.md
    assert not missing, f"on no page of docs/api: {sorted(missing)}"
    assert len(on_pages) == len(set(on_pages))
    assert set(on_pages) <= wanted


def test_every_package_has_a_page_of_its_own():
    packages = {path.parent.name for path in (ROOT / "quantum_control").glob("*/__init__.py")}
    assert {page.stem for page in PAGES} == {*packages, "command"}


def test_a_block_becomes_a_heading_and_a_directive_for_each_module():
    source = ["# The laws\n\n```{modules} quantum_control.physics\n```\n"]
    reference.expand(None, "api/physics", source)
    assert "## quantum_control.physics.coherent\n" in source[0]
    assert ".. automodule:: quantum_control.physics.coherent\n" in source[0]
    assert "{modules}" not in source[0]


def plain(text, what="function"):
    lines = text.splitlines()
    reference.plain(None, what, "name", None, None, lines)
    return lines


def test_formulae_are_verbatim_and_bars_are_no_references():
    assert plain("The way |x| of `|y|`:\n\n    |x| = a_\n      + b\n\nand a_ then.") == [
        "The way \\|x\\| of `|y|`:",
        "",
        "::",
        "",
        "    |x| = a_",
        "      + b",
        "",
        "and a\\_ then.",
    ]


def test_parameters_are_left_as_they_are():
    text = "Do it.\n\nParameters\n----------\none\n    What it is.\n\n    More of it."
    assert plain(text) == text.splitlines()


def test_what_is_before_a_colon_is_no_type():
    lines = plain("Seconds: of a step.", "attribute")
    lines[:] = ["of a step.", "", ":type: Seconds"]  # as Napoleon leaves it
    reference.whole(None, "attribute", "name", None, None, lines)
    assert lines == ["Seconds: of a step."]
