"""What a gunicorn resource says without any gunicorn; with real ones: tests/integration."""

from __future__ import annotations

import os

import pytest

from quantum_control.core.errors import ConfigError
from quantum_control.resources.find_gunicorn import find
from quantum_control.resources.gunicorn import GunicornResource


@pytest.mark.parametrize("given", [{}, {"process_id": 1, "pidfile": "x"}])
def test_it_takes_a_process_or_a_file(given):
    with pytest.raises(ConfigError, match="either process_id= or pidfile="):
        GunicornResource(**given)


@pytest.mark.parametrize("given", [{"min_workers": 0}, {"threads": 0}, {"process_id": 0}])
def test_numbers_are_checked(given):
    with pytest.raises(ConfigError, match="give a whole number, 1 or more"):
        GunicornResource(**{"process_id": 1, **given})


def test_what_it_takes_to_steer_one(tmp_path, monkeypatch):
    pidfile = tmp_path / "pid"
    pidfile.write_text(f"{os.getpid()}\n")
    ours, theirs = {"pidfile": str(pidfile)}, {"process_id": 1}
    assert GunicornResource.capabilities(ours) == frozenset()
    assert GunicornResource.capabilities({"pidfile": str(tmp_path / "nowhere")}) == frozenset()
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    assert GunicornResource.capabilities(theirs) == {"CAP_KILL", "CAP_SYS_PTRACE"}


def test_where_none_runs_none_is_found(tmp_path):
    assert list(find(tmp_path)) == []
