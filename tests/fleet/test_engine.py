"""Heavy work in several processes: the same results, whatever happens to a worker."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from quantum_control.bench.contest import compete, pieces
from quantum_control.core.errors import ConfigError, QuantumControlError
from quantum_control.core.physics import Objective
from quantum_control.fleet.engine import engine_named
from quantum_control.fleet.processes import ATTEMPTS, Processes
from quantum_control.tuning import offline


def square(number):
    return number * number


def fail(number):
    if number == 2:
        raise ValueError("two")
    return number


def die_once(where):
    """Kill the own process at the first call for a file, and note who did the work."""
    path = Path(where)
    with path.open("a") as file:
        file.write(f"{os.getpid()}\n")
    if path.name == "die" and len(path.read_text().splitlines()) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return path.name


def die(_):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_every_piece_is_done_once(jobs):
    assert sorted(Processes(jobs).run(square, range(7))) == [0, 1, 4, 9, 16, 25, 36]


def test_no_work_is_no_work():
    assert list(Processes(2).run(square, [])) == []


def test_an_error_of_the_work_is_raised_here():
    with pytest.raises(ValueError, match="two"):
        list(Processes(2).run(fail, range(5)))


def test_a_killed_worker_costs_its_own_piece_only(tmp_path):
    names = ["a", "die", "b", "c"]
    assert sorted(Processes(2).run(die_once, [str(tmp_path / name) for name in names])) == sorted(names)
    times = {name: len((tmp_path / name).read_text().splitlines()) for name in names}
    assert times == {"a": 1, "die": 2, "b": 1, "c": 1}


def test_a_piece_that_kills_every_worker_comes_to_an_end():
    with pytest.raises(QuantumControlError, match=f"{ATTEMPTS} times, the last with exit code -9"):
        list(Processes(2).run(die, [0]))


def test_closing_the_results_ends_the_workers():
    results = Processes(2).run(square, range(100))
    next(results)
    assert multiprocessing.active_children()
    results.close()
    assert not multiprocessing.active_children()


def test_processes_give_the_costs_of_one_process_to_the_last_bit():
    work = pieces(["ewma", "optomechanical*"], ["bursts"], runs=60, steps=300, seed=3, objective=Objective())

    def costs(jobs):
        found = [each for some in compete(work, jobs) for each in some]
        return {(each.law, each.first): (each.cost.tobytes(), each.movement.tobytes()) for each in found}

    assert costs(1) == costs(2)


@pytest.mark.parametrize(
    ("name", "address", "message"), [("dask", None, "one of local, ray"), ("local", "auto", "--engine ray")]
)
def test_an_engine_that_is_not_there_is_refused(name, address, message):
    with pytest.raises(ConfigError, match=message):
        engine_named(name, 2, address)


def test_histories_are_tuned_in_processes_as_in_one(tmp_path):
    rng = np.random.default_rng(2)
    paths = []
    for number in range(2):
        paths.append(str(tmp_path / f"{number}.csv"))
        flow = rng.poisson(20.0 + 10.0 * number, 300)
        Path(paths[-1]).write_text("flow\n" + "\n".join(map(str, flow)) + "\n")

    def tuned(*options):
        done = CliRunner().invoke(offline.command, [*paths, "--json", *options])
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    together = tuned("--jobs", "2")
    assert [each["history"] for each in together] == paths
    assert together == tuned("--jobs", "1")
