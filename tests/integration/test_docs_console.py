"""The commands in README and docs, run one after the other in a scratch folder, as far as that can be."""

import json
import re
import shutil
import sys
import time
from pathlib import Path

import pytest
from integration.requirements import require
from typed_blocks import Saved, Shell, Typed, loosely, steps

from quantum_control.bench.server_process import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

SECONDS = 60.0
"""For a command; on a quiet machine each takes less than ten."""

NOT_RUN = {
    r"pip install .*": "fetches from elsewhere",
    r"make \w+": "makes an environment, and takes minutes",
    r"quantum-control demo\b.*": "takes 20 s and more; the tests of the demonstration run it in short",
    r"quantum-control bench .*": "takes up to hours; each benchmark has tests that run it in short",
    r"quantum-control validate .*": "takes minutes; test_validate_threads.py runs it in short",
    r"quantum-control tune .* --engine ray": "starts a Ray, which test_fleet_ray.py does",
    r"python benchmarks/.*": "takes minutes, and a machine that does nothing else",
    r"quantum-control keda .*": "goes on for ever; test_fleet_tutorial.py and test_keda_scaler.py run it",
    r"kubectl .*": "takes a cluster; test_keda_manifests.py checks what is applied",
    r"podman .*": "takes an engine for containers, and fetches from elsewhere",
    r"quantum-control top": "goes on for ever; tests/daemon/test_top.py has it",
    r"quantum-control dashboards /etc/.*": "writes to /etc; test_dashboards.py has it write elsewhere",
    r"quantum-control plot /var/lib/.*": "reads what a daemon has left; test_plot.py has it made",
    r"quantum-control ctl mode sockets active": "takes root, and sets what the whole machine has",
    r"quantum-control ctl rollback sockets": "has nothing to put back without that; the walk-through does",
}
"""Patterns of commands that are only parsed, and why."""

ELSEWHERE = {
    "docs/daemon.md": "test_daemon_walkthrough.py, with a resource that can be steered without root",
    "docs/tutorials/fleet.md": "test_fleet_tutorial.py, with the servers that it takes",
}
"""Pages that another test follows."""

GOES_ON = re.compile(r"quantum-control run .*")

ASKS_DAEMON = re.compile(r"quantum-control (ctl|top) .*")

TUTORIAL = (ROOT / "docs" / "tutorials" / "daemon.md").read_text(encoding="utf-8")


def reason(command):
    """Why a command is not run; None if it is."""
    return next((why for pattern, why in NOT_RUN.items() if re.fullmatch(pattern, command)), None)


def typed(page):
    return [each for each in steps(page.read_text(encoding="utf-8")) if isinstance(each, Typed)]


def followed():
    """Pages with something to run."""
    return [
        page
        for page in PAGES
        if str(page.relative_to(ROOT)) not in ELSEWHERE
        and any(reason(each.command) is None for each in typed(page))
    ]


@pytest.fixture
def shell(tmp_path):
    require(
        (Path(sys.executable).parent / "quantum-control").exists(),
        "quantum-control is not beside this Python",
    )
    # Only where things are and how often: what is typed is the same.
    shell = Shell(
        tmp_path,
        {
            "QUANTUM_CONTROL_STATE_DIRECTORY": json.dumps(str(tmp_path / "state")),
            "QUANTUM_CONTROL_RUNTIME_DIRECTORY": json.dumps(str(tmp_path / "run")),
            "QUANTUM_CONTROL_SOCKET": str(tmp_path / "run" / "control.sock"),
            "QUANTUM_CONTROL_DEFAULTS__INTERVAL": "0.02",
        },
    )
    counts = "".join(f"{i},{20 + 10 * (i // 40 % 2) + i * 7 % 5}\n" for i in range(300))
    for name in ("HISTORY", "history.csv"):
        (tmp_path / name).write_text(f"time,flow\n{counts}", encoding="utf-8")
    yield shell
    shell.end()


def configure(shell):
    """Put the tutorial's configuration into the folder."""
    for name, content in [each for each in steps(TUTORIAL) if isinstance(each, Saved)]:
        (shell.folder / name).write_text(content, encoding="utf-8")


def answers(shell):
    return shell.run("quantum-control ctl status", SECONDS)[0] == 0


def begin(shell, command):
    process = shell.begin(command)
    assert wait_until(lambda: process.poll() is not None or answers(shell)), shell.told()
    assert process.poll() is None, shell.told()


@pytest.mark.parametrize("page", followed(), ids=lambda page: page.stem)
def test_the_commands_of_a_page_do_what_it_shows(page, shell):
    own = list(steps(page.read_text(encoding="utf-8")))
    commands = [each.command for each in own if isinstance(each, Typed)]
    if not any("--write config.toml" in each for each in commands):
        configure(shell)
        if any(ASKS_DAEMON.fullmatch(each) for each in commands):
            begin(shell, "quantum-control run config.toml")
    for step in own:
        if isinstance(step, Saved):
            (shell.folder / step.name).write_text(step.content, encoding="utf-8")
            continue
        if reason(step.command) is not None:
            continue
        if GOES_ON.fullmatch(step.command):
            configure(shell)  # and not with what was found here, which may be anybody's
            begin(shell, step.command)
            continue
        if "| jq" in step.command:
            require(shutil.which("jq"), "jq is not installed: apt-get install jq")
        if step.command.startswith("quantum-control restore"):
            assert set(shell.end().values()) == {0}
        check(shell, step)


def check(shell, step):
    """Run a command until it does what is shown: some have something to tell after a while only."""
    deadline = time.monotonic() + SECONDS
    while True:
        code, told = shell.run(step.command, SECONDS)
        if code == 0 and loosely(step.output).search(told):
            return
        assert time.monotonic() < deadline, (step.command, code, told, shell.told())
        time.sleep(0.5)


def test_what_is_not_run_is_on_some_page_and_pages_that_are_left_out_have_commands():
    commands = [each.command for page in PAGES for each in typed(page)]
    for pattern in NOT_RUN:
        assert any(re.fullmatch(pattern, command) for command in commands), pattern
    for page in ELSEWHERE:
        assert typed(ROOT / page), page


def test_an_output_is_compared_but_for_its_figures():
    assert loosely("size 64\n...\nSaving +35.1% saves").search("size 3\nmore\nSaving -1.0%\ncosts more")
    assert not loosely("size 64").search("sizes")
    assert not loosely("shadow -> active").search("active -> shadow")
