"""Balancers and servers of the benchmark's own: whatever happens, nothing of them is left."""

from __future__ import annotations

import os
import sys
import tempfile

import pytest

from quantum_control.bench.balancers import LocalBalancer
from quantum_control.bench.unequal import UnequalServers
from quantum_control.core.errors import ActuatorError


class Scripted(LocalBalancer):
    """Runs a line of Python in place of a balancer; `policy` is the line."""

    url = "nowhere"

    def _configure(self, servers, policy):
        return [sys.executable, "-c", policy.format(port=self.port)]

    def _answers_admin(self):
        return True


LISTENS = "import socket; s = socket.create_server(('127.0.0.1', {port})); [s.accept() for _ in range(99)]"


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_one_that_does_not_start_is_told_with_its_log_and_leaves_nothing(place):
    with pytest.raises(ActuatorError, match="does not listen; its log says: no such directive"):
        Scripted([], "raise SystemExit('no such directive')")
    assert list(place.iterdir()) == []


def fail_within(context):
    with context:
        raise RuntimeError("on purpose")


def test_a_failure_while_it_runs_ends_it_and_removes_its_directory(place):
    balancer = Scripted([], LISTENS)
    pid = balancer.pid
    assert is_running(pid)
    assert list(place.iterdir()) == [balancer.directory]
    with pytest.raises(RuntimeError, match="on purpose"):
        fail_within(balancer)
    assert not is_running(pid)
    assert balancer.pid == 0
    assert list(place.iterdir()) == []


def test_a_failure_ends_the_servers():
    servers = UnequalServers([10.0])
    pid = servers._process.pid
    assert is_running(pid)
    with pytest.raises(RuntimeError, match="on purpose"):
        fail_within(servers)
    assert not is_running(pid)
