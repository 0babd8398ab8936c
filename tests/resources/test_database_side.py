"""A pool's server that cannot be asked what it does."""

from __future__ import annotations

from math import inf
from types import SimpleNamespace

import pytest

from quantum_control.core.errors import SensorError
from quantum_control.resources import database_side
from quantum_control.resources.database_side import RETRY_SECONDS, DatabaseSide


class Server:
    """A PostgreSQL of two processors, half of whose sessions compete."""

    def __init__(self):
        self.cores = 2
        self.down = False
        self.asked = 0

    def metrics(self):
        self.asked += 1
        if self.down:
            raise SensorError("the server's own figures: no route to host")
        return {"server_competing": 5.0}


@pytest.fixture
def side(monkeypatch):
    server, now = Server(), [0.0]
    client = SimpleNamespace(PostgresServer=lambda *_, **__: server)
    monkeypatch.setattr(database_side, "client_module", lambda *_: client)
    return DatabaseSide("host=db", None, lambda: now[0]), server, now


def test_a_server_that_does_not_answer_is_told_once_and_asked_ever_less_often(side, caplog):
    side, server, now = side
    server.down = True
    for _ in range(1000):
        assert side.ask(10.0, 100) == ({}, inf)
        now[0] += 1.0
    # At 0, 10, 30, 70, 150, 310, 610 and 910 s.
    assert server.asked == 8
    assert len(caplog.records) == 1
    assert "no route to host; steering without them" in caplog.text


def test_it_counts_again_once_it_answers_and_the_next_failure_is_told_again(side, caplog):
    side, server, now = side
    server.down = True
    side.ask(10.0, 100)
    server.down = False
    assert side.ask(10.0, 100) == ({}, inf)
    now[0] = RETRY_SECONDS[0]
    metrics, _ = side.ask(10.0, 100)
    assert metrics["server_competing"] == 5.0
    assert "answers again" in caplog.text
    server.down = True
    now[0] += 1.0
    side.ask(10.0, 100)
    assert caplog.text.count("no route to host") == 2
    now[0] += RETRY_SECONDS[0]
    side.ask(10.0, 100)
    assert server.asked == 4
