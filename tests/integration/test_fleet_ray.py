"""The bench of laws on a real Ray, started here for the time being."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from integration.requirements import require

pytestmark = pytest.mark.integration

LIMIT = 180.0

KILLED = """
import sys
from fleet.test_engine import die_once
from quantum_control.fleet.engine import Ray

print(*sorted(Ray(2).run(die_once, sys.argv[1:])))
"""


@pytest.fixture(autouse=True)
def ray():
    require(find_spec("ray"), "Ray is not installed; pip install 'quantum-control[ray]' brings it")


def laws(*options):
    """Print the standings of a small contest as JSON."""
    command = [sys.executable, "-m", "quantum_control", "bench", "laws", "--json", "--jobs", "2"]
    command += ["--runs", "8", "--steps", "300", "--laws", "ewma,optomechanical*", "--loads", "bursts,steps"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=LIMIT)  # noqa: S603 - our own
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_bench_on_ray_equals_the_local_one():
    assert laws("--engine", "ray") == laws()


def test_an_address_where_no_cluster_is_ends_with_a_message():
    command = [sys.executable, "-m", "quantum_control", "bench", "laws", "--engine", "ray"]
    command += ["--address", "127.0.0.1:1", "--runs", "8", "--loads", "bursts"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT)  # noqa: S603 - our own
    assert done.returncode == 2
    assert "no Ray cluster at 127.0.0.1:1" in done.stderr


def test_a_killed_worker_of_ray_costs_its_own_piece_only(tmp_path):
    names = ["a", "die", "b"]
    tests = str(Path(__file__).parents[1])
    command = [sys.executable, "-c", KILLED, *(str(tmp_path / name) for name in names)]
    environment = os.environ | {"PYTHONPATH": tests}
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, env=environment)  # noqa: S603 - our own
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].split() == sorted(names)  # after what Ray says of the loss
    assert {name: len((tmp_path / name).read_text().splitlines()) for name in names} == {
        "a": 1,
        "die": 2,
        "b": 1,
    }
