"""Runs of a benchmark at the same time."""

import os
from functools import partial

import pytest

from quantum_control.bench.together import run_together
from quantum_control.core.errors import ConfigError


def note(path):
    path.write_text(str(os.getpid()))


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
