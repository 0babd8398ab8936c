"""Ctrl-C or SIGTERM in a benchmark: it ends with 130, and its servers, groups and namespaces go with it."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from importlib.resources import files
from pathlib import Path

import pytest
from integration.requirements import require

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("kernel")]

PATIENCE = 60.0
"""Seconds; far more than it takes."""


def started_by(pid):
    """Processes that a process has started, and those that these have started."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if fields[0] != "Z":
                parents[int(stat.parent.name)] = int(fields[1])
    found, new = set(), {pid}
    while new:
        new = {child for child, parent in parents.items() if parent in new} - found
        found |= new
    return found


def groups(pid):
    """Control groups that a process has made, by their names; other tests may have some meanwhile."""
    return {folder for folder, *_ in os.walk("/sys/fs/cgroup") if f"-{pid}-" in Path(folder).name}


def namespaces():
    """Network namespaces with a name."""
    return set(Path("/run/netns").glob("*"))


def alive(pids):
    """Of these processes those that have not ended."""
    found = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
                found.add(pid)
    return found


@pytest.mark.parametrize(
    ("arguments", "program", "as_root", "number"),
    [
        (["memory", "--out", "kept"], "java", False, signal.SIGINT),
        (["memory-cgroup", "--out", "kept"], None, True, signal.SIGINT),
        (["loadbalancer", "kept"], "haproxy", False, signal.SIGINT),
        (["loadbalancer", "kept"], "haproxy", False, signal.SIGTERM),
        (["buffer", "--out", "kept"], "iperf3", True, signal.SIGINT),
        (["connections", "--out", "kept"], "psql", False, signal.SIGINT),
    ],
    ids=["memory", "memory-cgroup", "loadbalancer", "loadbalancer-sigterm", "buffer", "connections"],
)
def test_nothing_is_left_behind(arguments, program, as_root, number, tmp_path):
    if program:
        require(shutil.which(program), f"{program} is not installed; scripts/install-servers installs it")
    require(not as_root or os.geteuid() == 0, "this benchmark takes root")
    before = namespaces(), set(Path("/sys/class/net").iterdir())
    told = tmp_path / "stderr"
    with told.open("wb") as errors:
        process = subprocess.Popen(  # noqa: S603 - ours
            [sys.executable, "-m", "quantum_control", "bench", *arguments],
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
            cwd=tmp_path,
        )
    try:
        until = time.monotonic() + PATIENCE
        while not (started := started_by(process.pid)):
            assert process.poll() is None, told.read_text()
            assert time.monotonic() < until, "it started no server"
            time.sleep(0.1)
        time.sleep(1.0)  # by which it is in the middle of it
        started |= started_by(process.pid)
        # A terminal sends it to all of them, a supervisor to the command alone.
        (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
        assert process.wait(PATIENCE) == 130, told.read_text()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert "Traceback" not in told.read_text()
    while alive(started):
        assert time.monotonic() < until, alive(started)
        time.sleep(0.1)
    assert groups(process.pid) == set()
    assert (namespaces(), set(Path("/sys/class/net").iterdir())) == before


SHORTER = {
    "pilot = 30": "pilot = 0",
    "warm_up = 10": "warm_up = 1",
    "trajectories = 20 ": "trajectories = 2 ",
    "seconds = 0.62": "seconds = 0.2",
}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_an_experiment_goes_on_where_it_was_with_no_pair_lost_or_twice(number, code, tmp_path):
    text = (files("quantum_control.validation") / "plan.toml").read_text(encoding="utf-8")
    for line, other in SHORTER.items():
        assert line in text
        text = text.replace(line, other, 1)
    (tmp_path / "plan.toml").write_text(text, encoding="utf-8")
    arguments = ["--pairs", "5", "--arm", "peer", "--out", "kept", "--plan", "plan.toml", "--json"]
    command = [sys.executable, "-m", "quantum_control", "validate", "threads", *arguments]
    folder, told = tmp_path / "kept" / "threads", tmp_path / "stderr"

    def pairs(name):
        path = folder / name
        lines = path.read_text(encoding="ascii").splitlines()[1:] if path.exists() else []
        return [tuple(line.split(",")[:3]) for line in lines]

    with told.open("wb") as errors:
        process = subprocess.Popen(  # noqa: S603 - ours
            command, stdout=subprocess.DEVNULL, stderr=errors, start_new_session=True, cwd=tmp_path
        )
        try:
            until = time.monotonic() + PATIENCE
            while len(pairs("blocks.csv")) < 6:
                assert process.poll() is None, told.read_text()
                assert time.monotonic() < until
                time.sleep(0.02)
            os.killpg(process.pid, number)
            assert process.wait(PATIENCE) == code, told.read_text()
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    before = pairs("blocks.csv")
    assert 6 <= len(before) < 15
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr
    after = pairs("blocks.csv")
    assert after[: len(before) // 3 * 3] == before[: len(before) // 3 * 3]
    assert [int(pair) for pair, *_ in after[::3]] == list(range(5))
    assert len(set(after)) == len(after) == 15
    courses = (folder / "courses.csv").read_text(encoding="ascii").splitlines()
    assert len(set(courses)) == len(courses)
    assert len(json.loads((folder / "machine.json").read_text())["starts"]) == 2
