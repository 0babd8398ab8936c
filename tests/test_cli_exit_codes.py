"""Exit codes are those that docs/cli.md tells of."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from quantum_control import terminal
from quantum_control.daemon import supervisor

PAGE = Path(__file__).parents[1] / "docs" / "cli.md"


def test_the_page_lists_the_codes_that_there_are():
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", PAGE.read_text(encoding="utf-8"), re.M)}
    assert listed == {
        0,
        supervisor.DIED,
        terminal.EXIT_REFUSED,
        terminal.EXIT_NOT_RESTORED,
        terminal.EXIT_ENDED_EARLY,
        terminal.EXIT_INTERRUPTED,
    }


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--version"], 0),
        (["bench", "--help"], 0),
        (["no-such-command"], terminal.EXIT_REFUSED),
        (["tune"], terminal.EXIT_REFUSED),
        (["tune", "no-such-file.csv"], terminal.EXIT_REFUSED),
        (["run", "no-such-file.toml"], terminal.EXIT_REFUSED),
        (["top", "--socket", "no-such-socket"], terminal.EXIT_REFUSED),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_a_command_ends_with_its_code(arguments, code, tmp_path):
    done = subprocess.run(  # noqa: S603 - ours
        [sys.executable, "-m", "quantum_control", *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
