"""`quantum-control demo` from the outside, on the real server and real pools, for a few seconds."""

import json
import os
import select
import signal
import subprocess
import sys
import threading
from math import inf
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner

from quantum_control.core.errors import ConfigError
from quantum_control.core.physics import Objective
from quantum_control.demo import picture
from quantum_control.demo.command import _Shown, command
from quantum_control.demo.load import Load, Segment, default_size
from quantum_control.demo.report import BEST, LEAST_PLAYED, MEASURES
from quantum_control.demo.run import Played
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
    for arm in arms:
        assert arm["tasks"] == programmed["load"]["tasks"]
        assert arm["failed"] == 0
        assert set(arm["figures"]) == set(MEASURES)
        for figure in arm["figures"].values():
            assert figure["low"] <= figure["value"] * 1.001
            assert figure["high"] >= figure["value"] * 0.999


def test_sizes_of_the_users_are_the_best_fixed_only_if_the_sweep_finds_them(programmed):
    fixed = [arm for arm in programmed["arms"] if arm["size"] is not None]
    best = int(min(programmed["sweep"], key=programmed["sweep"].get))
    baseline = next((arm for arm in fixed if arm["size"] == best), None)
    named = BEST if baseline else LEAST_PLAYED
    baseline = baseline or min(fixed, key=lambda arm: arm["figures"]["cost"]["value"])
    assert baseline["name"].startswith(named.split()[0])
    assert [claim["text"] for claim in programmed["claims"][1:]] == [
        f"thread-seconds, steered / {named}",
        f"cost, steered / {named}",
    ]


FIRST = default_size()


def shown(best):
    """What there is to show of three fixed sizes, the second of least cost, if the sweep finds `best`."""
    segment = Segment(2.0, np.zeros(5), np.full(5, 0.03), np.ones(5, bool))
    load = Load((segment,) * 2, np.ones(2), (0.02, 0.05), "test")
    arms = [SimpleNamespace(name=f"fixed, {size}", size=size) for size in (FIRST, FIRST + 1, FIRST + 2)]
    arms.append(SimpleNamespace(name="steered", size=None))
    played = [
        [Played(np.full(5, 0.1), np.full(5, 0.03), 0, 0, 2.0, spent, 0.0, 0.0, ())] * 2
        for spent in (30.0, 10.0, 20.0, 5.0)
    ]
    costs = {FIRST: 9.0, FIRST + 1: 8.0, FIRST + 2: 7.0, best: 1.0}
    return _Shown.of(load, [np.full(5, 0.03)] * 2, costs, arms, played, Objective())


def test_the_cheapest_size_played_is_not_the_best_fixed_if_another_would_cost_less():
    without = shown(FIRST + 54)
    assert [arm.name for arm in without.arms] == [
        f"default, {FIRST}",
        f"least cost of those played: fixed, {FIRST + 1}",
        f"fixed, {FIRST + 2}",
        "steered",
    ]
    _, threads, cost = without.claims
    assert (threads.text, threads.met) == ("thread-seconds, steered / least cost of those played", None)
    assert threads.ratio.value == 0.5
    assert cost.text == "cost, steered / least cost of those played"
    told = without.text(inf, 1.0)
    assert "the best fixed has the least" not in told
    assert f"the best fixed has {FIRST + 54} threads (replayed)" in told
    assert "target at most" not in told


def test_the_best_fixed_is_the_one_that_the_sweep_finds_whatever_the_others_cost_as_they_were_played():
    dearer = shown(FIRST + 2)
    assert [arm.name for arm in dearer.arms][1:3] == [f"fixed, {FIRST + 1}", f"best fixed, {FIRST + 2}"]
    assert dearer.claims[1].ratio.value == 0.25
    assert dearer.claims[1].met
    assert f"the best fixed has {FIRST + 2} threads (replayed)" in dearer.text(inf, 1.0)
    assert "the best fixed has the least" in shown(FIRST + 1).text(inf, 1.0)


def test_claims_are_judged_by_their_own_figures(programmed):
    wait, threads, cost = programmed["claims"]
    assert wait["met"] is (
        None if wait["ratio"]["value"] is None else wait["ratio"]["value"] >= wait["least"]
    )
    assert threads["met"] is (
        None if threads["most"] is None else threads["ratio"]["value"] <= threads["most"]
    )
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
