"""Runs of a benchmark at the same time."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from quantum_control.bench.server_process import wait_until
from quantum_control.bench.together import run_together
from quantum_control.core.errors import ConfigError

LONG = 60.0

PROGRAM = """
import sys
from functools import partial
from pathlib import Path
from bench.test_together import last
from quantum_control.bench.together import run_together

if __name__ == "__main__":
    try:
        print("begun", flush=True)
        run_together([(name, partial(last, Path(sys.argv[1]) / name)) for name in "abcd"], 2, print)
    except KeyboardInterrupt:
        sys.exit(130)
"""


@pytest.fixture
def interrupted(tmp_path):
    """Starts a program that makes four runs, two at a time, in a session of its own, as a terminal does."""
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "runs").mkdir()
    path = os.pathsep.join([str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(  # noqa: S603 - our own
        [sys.executable, tmp_path / "program.py", tmp_path / "runs"],
        env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    yield process
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def note(path):
    path.write_text(str(os.getpid()))


def last(path):
    note(path)
    time.sleep(LONG)


def fail(path):
    raise ConfigError(f"{path.name} failed")


@pytest.mark.parametrize("jobs", [1, 3])
def test_every_run_is_made_and_told_once(tmp_path, jobs):
    told = []
    names = ["a", "b", "c", "d"]
    run_together([(name, partial(note, tmp_path / name)) for name in names], jobs, told.append)
    assert sorted(told) == names
    processes = {(tmp_path / name).read_text() for name in names}
    assert (str(os.getpid()) in processes) == (jobs == 1)
    assert len(processes) == (1 if jobs == 1 else 4), "each has a process of its own"


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_a_run_raises_is_raised(tmp_path, jobs):
    with pytest.raises(ConfigError, match="b failed"):
        run_together([("b", partial(fail, tmp_path / "b"))], jobs, lambda _: None)


def test_ctrl_c_interrupts_the_runs_under_way_and_begins_no_other(tmp_path, interrupted):
    made = tmp_path / "runs"
    assert wait_until(lambda: len(list(made.iterdir())) == 2, LONG / 2)
    os.killpg(interrupted.pid, signal.SIGINT)
    out, told = interrupted.communicate(timeout=LONG / 2)
    assert (interrupted.returncode, out, told) == (130, "begun\n", "")
    assert {path.name for path in made.iterdir()} == {"a", "b"}


def test_ctrl_c_while_the_processes_are_being_started_leaves_no_complaint_of_theirs(tmp_path, interrupted):
    assert interrupted.stdout.readline() == "begun\n"
    os.killpg(interrupted.pid, signal.SIGINT)
    out, told = interrupted.communicate(timeout=LONG / 2)
    assert (interrupted.returncode, out, told) == (130, "", "")
