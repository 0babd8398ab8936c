"""What the page of the daemon tells an operator to type, typed as it stands there."""

# ruff: noqa: S603, S607 - commands of this file's own, found as an operator finds them

import json
import subprocess
import sys
from pathlib import Path

import pytest
from integration.requirements import require
from typed_blocks import Typed, loosely, steps

sys.path.insert(0, str(Path(__file__).parents[1] / "daemon"))

from daemons import PATIENCE, Place, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

PAGE = Path(__file__).parents[2] / "docs" / "daemon.md"


def typed():
    """Commands of the walk-through, in order, each with the output that is shown below it."""
    page = PAGE.read_text(encoding="utf-8")
    part = page.partition("## From nothing to steering")[2].partition("\n## ")[0]
    return [(each.command, each.output) for each in steps(part) if isinstance(each, Typed)]


@pytest.fixture
def place(tmp_path, monkeypatch):
    command = Path(sys.executable).parent / "quantum-control"
    require(command.exists(), "the command quantum-control is not installed beside this Python")
    place = Place(tmp_path)
    place.file("web", "64")
    # Only where things are and how often: what is typed is the same.
    place.environment |= {
        "PATH": f"{command.parent}:{place.environment['PATH']}",
        "QUANTUM_CONTROL_STATE_DIRECTORY": json.dumps(str(place.state)),
        "QUANTUM_CONTROL_RUNTIME_DIRECTORY": json.dumps(str(place.folder / "run")),
        "QUANTUM_CONTROL_SOCKET": str(place.socket),
        "QUANTUM_CONTROL_DEFAULTS__INTERVAL": "0.02",
    }
    return place


def shell(place, command):
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=place.folder,
        env=place.environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


def test_the_walk_through_works_as_it_is_written(place):
    size = place.folder / "web.size"
    done, daemon = [], None
    try:
        for command, output in typed():
            word = " ".join(command.split()[1:3])
            done.append(command.split()[1])
            if done[-1] == "run":
                assert size.read_text(encoding="ascii") == "64"
                daemon = subprocess.Popen(
                    ["bash", "-c", f"exec {command}"], cwd=place.folder, env=place.environment
                )
                wait_for(place.answers)
                continue
            if done[-1] == "report":
                wait_for(lambda: loosely(output).search(shell(place, command)))  # noqa: B023 - at once
            if done[-1] == "restore":
                daemon.terminate()
                assert daemon.wait(60) == 0
            told = shell(place, command)
            assert loosely(output).search(told), (command, output, told)
            if word == "ctl mode":
                wait_for(lambda: size.read_text(encoding="ascii") != "64")
            if word == "ctl rollback":
                assert size.read_text(encoding="ascii") == "64"
            if word == "ctl explain":
                assert "decisions, the latest last:" in told
    finally:
        if daemon is not None and daemon.poll() is None:
            daemon.terminate()
            daemon.wait(60)
    assert size.read_text(encoding="ascii") == "64"
    assert set(done) == {"discover", "check", "run", "report", "ctl", "log", "replay", "restore"}
