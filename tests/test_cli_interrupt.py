"""Ctrl-C: every long command ends with 130, says so in one line, and leaves nothing behind."""

import contextlib
import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from quantum_control import cli

PATIENCE = 120.0
"""Seconds; far more than it takes."""


def until(condition, process):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert process.poll() is None, "it ended by itself"
        assert time.monotonic() < end, "it did not begin"
        time.sleep(0.05)


def left_of(group):
    """Processes of a group that have not ended."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            _, _, rest = stat.read_text().rpartition(")")
            state, _, of = rest.split()[:3]
            if int(of) == group and state != "Z":
                found.append(stat.parent.name)
    return found


@pytest.fixture
def interrupted(tmp_path):
    """Run a command as a terminal does, in a group of its own, and press Ctrl-C when `begun` says so."""
    processes = []

    def press(arguments, begun):
        told = tmp_path / "stderr"
        with told.open("wb") as errors, (tmp_path / "stdout").open("wb") as out:
            process = subprocess.Popen(  # noqa: S603 - ours
                [sys.executable, "-m", "quantum_control", *arguments],
                stdout=out,
                stderr=errors,
                start_new_session=True,
                cwd=tmp_path,
            )
        processes.append(process)
        until(lambda: begun(process, told.read_text()), process)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(PATIENCE) == cli.EXIT_INTERRUPTED, told.read_text()
        assert "Traceback" not in told.read_text()
        assert told.read_text().splitlines()[-1].startswith("interrupted")
        end = time.monotonic() + PATIENCE  # Python's own tracker of shared memory goes last
        while left_of(process.pid):
            assert time.monotonic() < end, left_of(process.pid)
            time.sleep(0.05)

    yield press
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def progress_told(process, told):
    return " of " in told


def workers(count):
    return lambda process, told: len(left_of(process.pid)) > count


def test_the_benchmark_of_the_laws_ends_with_its_workers(interrupted):
    interrupted(["bench", "laws", "--jobs", "2", "--runs", "16"], workers(2))


def test_a_search_for_a_setting_ends(interrupted, tmp_path):
    with (tmp_path / "history.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["flow"], *([20 + step % 7] for step in range(200_000))])
    interrupted(["tune", "history.csv"], lambda process, told: cpu_seconds(process.pid) > 2.0)


def cpu_seconds(pid):
    """Processor time of a process, by which it can be told that it has done its imports."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_replay_ends(interrupted, tmp_path):
    (tmp_path / "config.toml").write_text(
        f'state_directory = "{tmp_path}"\n'
        '[resources.web]\nkind = "threads"\noptions = { pool_name = "web" }\n'
    )
    with (tmp_path / "audit.jsonl").open("w") as file:
        for step in range(300_000):
            seen = {"time": float(step), "resource": "web", "demand": 20 + step % 7, "size": 30}
            file.write(json.dumps(seen) + "\n")
    interrupted(["replay", "config.toml", "--resource", "web"], progress_told)
