"""The second try that tests with other processes get: for want of processor time, never for a leak."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent

HEAD = """\
from pathlib import Path
import pytest
MACHINE, TRIES = Path({machine!r}), Path({tries!r})

def first_try():
    TRIES.write_text(TRIES.read_text() + "x")
    return len(TRIES.read_text()) == 1
"""

LEAKS = {
    "asserted by a fixture": """
@pytest.fixture(autouse=True)
def untouched():
    before = MACHINE.read_text()
    yield
    assert MACHINE.read_text() == before

def test_it():
    first_try()
    MACHINE.write_text("changed")
""",
    "after a failure that a second try may have": """
@pytest.fixture(autouse=True)
def untouched():
    before = MACHINE.read_text()
    yield
    assert MACHINE.read_text() == before

def test_it():
    MACHINE.write_text("changed")
    assert not first_try()
""",
    "found at the end of the session": """
@pytest.fixture(scope="session", autouse=True)
def untouched():
    before = MACHINE.read_text()
    yield
    if MACHINE.read_text() != before:
        pytest.fail("left behind on this machine")

def test_it():
    first_try()
    MACHINE.write_text("changed")
""",
    "found by two fixtures": """
@pytest.fixture(autouse=True)
def untouched():
    before = MACHINE.read_text()
    yield
    assert MACHINE.read_text() == before

@pytest.fixture(autouse=True)
def cleared():
    yield
    assert not first_try()

def test_it():
    MACHINE.write_text("changed")
""",
}


@pytest.fixture
def run(tmp_path):
    """Run a file of tests of the folder `integration` under the settings of this suite."""

    def run(text):
        machine, tries = tmp_path / "machine", tmp_path / "tries"
        machine.write_text("as found")
        tries.write_text("")
        folder = tmp_path / "integration"
        folder.mkdir()
        (tmp_path / "conftest.py").write_text((HERE / "conftest.py").read_text(encoding="utf-8"))
        (tmp_path / "pytest.ini").write_text(f"[pytest]\npythonpath = {HERE}\naddopts = --strict-markers\n")
        head = HEAD.format(machine=str(machine), tries=str(tries))
        (folder / "test_one.py").write_text(head + text)
        return subprocess.run(  # noqa: S603 - our own interpreter
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(folder)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


@pytest.mark.parametrize("text", LEAKS.values(), ids=LEAKS)
def test_what_is_left_behind_fails_the_run_and_gets_no_second_try(run, text, tmp_path):
    done = run(text)
    assert done.returncode == 1, done.stdout
    assert "LeftBehindError" in done.stdout
    assert "1 rerun" not in done.stdout
    assert len((tmp_path / "tries").read_text()) == 1


def test_another_failure_gets_one_which_is_told(run):
    done = run("\ndef test_it():\n    assert not first_try()\n")
    assert done.returncode == 0, done.stdout
    assert "1 rerun" in done.stdout
