"""`quantum-control demo` from the outside, on the real server and real pools, for a few seconds."""

import json
import os
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

from quantum_control.core.errors import ConfigError
from quantum_control.demo import picture
from quantum_control.demo.command import command
from quantum_control.demo.report import MEASURES
from quantum_control.terminal import EXIT_INTERRUPTED

# A shell that starts the tests in the background lets their processes ignore the interrupt.
RUN = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from quantum_control.cli import run; run()"
)
SHORT = ["--seconds", "4"]


def demo(*arguments):
    """Run the command in this process."""
    return CliRunner().invoke(command, [*SHORT, *arguments])


@pytest.fixture(scope="module")
def printed():
    """Give the outcome of one run with a table, and the threads that it left."""
    before = set(threading.enumerate())
    result = demo()
    return result, set(threading.enumerate()) - before


@pytest.fixture(scope="module")
def programmed(tmp_path_factory):
    """Give the JSON of one run over a trace, with two fixed sizes of the user's."""
    trace = tmp_path_factory.mktemp("demo") / "trace.csv"
    trace.write_text("time,requests\n1,1\n2,9\n3,1\n4,1\n")
    result = demo("--trace", str(trace), "--json", "--fixed", "3", "--fixed", "9")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_the_table_and_what_it_means_go_to_standard_output(printed):
    result, _ = printed
    assert result.exit_code == 0, result.output
    for measure in MEASURES.values():
        assert measure.label in result.stdout
    for word in ("default", "best fixed", "steered", "target at least 5", "target at most 1", "cost:"):
        assert word in result.stdout
    assert "too few to rely on" in result.stdout
    assert "\x1b" not in result.output


def test_progress_goes_to_standard_error_with_what_is_compared(printed):
    result, _ = printed
    for word in ("Python's default on this machine", "sweep", "arrivals", "block 1/2"):
        assert word in result.stderr
        assert word not in result.stdout


def test_no_thread_is_left_when_it_is_over(printed):
    _, left = printed
    assert left == set()


def test_standard_output_is_json_and_nothing_else(programmed):
    assert set(programmed) == {
        "load",
        "machine",
        "control",
        "sweep",
        "fixed_size_of_equal_burst_wait",
        "arms",
        "claims",
    }
    assert set(programmed["load"]) == {"source", "seed", "tasks", "seconds", "blocks"}
    assert set(programmed["control"]["prices"]) == {"waiting", "size", "change"}
    assert "counts 1 to 4 of 4" in programmed["load"]["source"]
    assert programmed["sweep"]["1"] > 0.0


def test_the_json_has_every_figure_of_every_arm_with_its_interval(programmed):
    arms = programmed["arms"]
    assert {arm["size"] for arm in arms} >= {3, 9, None}
    assert [arm["name"] for arm in arms][-1] == "steered"
    assert sum("best" in arm["name"] for arm in arms) == 1
    for arm in arms:
        assert arm["tasks"] == programmed["load"]["tasks"]
        assert arm["failed"] == 0
        assert set(arm["figures"]) == set(MEASURES)
        for figure in arm["figures"].values():
            assert figure["low"] <= figure["value"] * 1.001
            assert figure["high"] >= figure["value"] * 0.999


def test_the_best_fixed_size_is_the_cheapest_of_those_that_were_played(programmed):
    fixed = [arm for arm in programmed["arms"] if arm["size"] is not None]
    cheapest = min(fixed, key=lambda arm: arm["figures"]["cost"]["value"])
    assert "best" in cheapest["name"]


def test_claims_are_judged_by_their_own_figures(programmed):
    wait, threads, cost = programmed["claims"]
    assert wait["met"] is (
        None if wait["ratio"]["value"] is None else wait["ratio"]["value"] >= wait["least"]
    )
    assert threads["met"] is (threads["ratio"]["value"] <= threads["most"])
    assert cost["met"] is None


def test_a_picture_that_fails_in_the_end_does_not_cost_the_table(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(picture, "draw", full)
    result = demo("--plot", str(tmp_path / "demo.svg"))
    assert "burst wait, p99" in result.stdout
    assert isinstance(result.exception, ConfigError)
    assert "No space left on device" in str(result.exception)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--seconds", "3"],
        ["--seconds", "-5"],
        ["--seconds", "soon"],
        ["--seed", "-1"],
        ["--fixed", "0"],
        ["--fixed", "-2"],
        ["--fixed", "2.5"],
    ],
    ids=" ".join,
)
def test_numbers_out_of_their_range_are_refused_before_anything_starts(arguments):
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 2
    assert arguments[0] in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--trace", "none.csv"], "No such file"),
        (["--trace", os.devnull], "is empty"),
        (["--plot", "none/demo.svg"], "No such file"),
        (["--seconds", "nan"], "give a number of seconds"),
    ],
)
def test_bad_input_is_one_line_without_a_traceback(tmp_path, arguments, message):
    done = subprocess.run(  # noqa: S603 - ours
        [sys.executable, "-c", RUN, "demo", *arguments],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=100,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert line.startswith("quantum-control: ")
    assert message in line


def children(pid):
    """Process ids of the children of a process."""
    tasks = Path(f"/proc/{pid}/task")
    return [int(child) for task in tasks.iterdir() for child in (task / "children").read_text().split()]


def test_ctrl_c_ends_the_pools_and_the_server_and_says_so():
    with subprocess.Popen(  # noqa: S603 - ours
        [sys.executable, "-c", RUN, "demo", "--seconds", "100", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        try:
            assert any("block 1/" in line for line in running.stderr)
            [server] = children(running.pid)
            ended = os.pidfd_open(server)
            running.send_signal(signal.SIGINT)
            out, err = running.communicate(timeout=60)
        finally:
            running.kill()
    try:
        assert select.select([ended], [], [], 60.0)[0], "the server is still there"
    finally:
        os.close(ended)
    assert running.returncode == EXIT_INTERRUPTED
    assert out == ""
    assert err.splitlines()[-1] == "interrupted; pools and server have ended"
    assert "Traceback" not in err
