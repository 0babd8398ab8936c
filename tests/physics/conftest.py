"""Keeps the figures that were held against closed forms; `pytest tests/physics -vv` prints them."""

import pytest

FIGURES = pytest.StashKey[list[str]]()


def pytest_configure(config):
    config.stash[FIGURES] = []


@pytest.fixture
def figure(request):
    """Hold a computed figure against its closed form, with a relative tolerance (or an absolute one)."""

    def compare(what, *, formula, computed, rel=0.0, abs=0.0):
        formula, computed = float(formula), float(computed)
        bound = f"{rel:.2g} of it" if rel else f"{abs:.2g}"
        request.config.stash[FIGURES].append(
            f"| {what} | {formula:.6g} | {computed:.6g} | {bound} | `{request.node.originalname}` |"
        )
        assert computed == pytest.approx(formula, rel=rel, abs=abs)

    return compare


def pytest_terminal_summary(terminalreporter, config):
    lines = config.stash[FIGURES]
    if lines and config.get_verbosity() > 0:
        terminalreporter.section("closed forms")
        for line in ("| what | formula | computed | tolerance | test |", "|---|---|---|---|---|", *lines):
            terminalreporter.line(line)
