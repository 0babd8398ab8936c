"""Arrivals of the connection-pool benchmark, and the clients that serve them."""

from __future__ import annotations

import threading

import numpy as np
import pytest

pytest.importorskip("psycopg", reason="pip install 'quantum-control[postgres]'")

import psycopg

from quantum_control.bench import pool_load
from quantum_control.bench.pool_load import PHASES, Timetable, serve, timetable


def test_the_same_seed_gives_every_arm_the_same_arrivals():
    first, second = (timetable(PHASES[0], 200.0, 2.0, np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(first.due, second.due)
    assert first.statements == second.statements


@pytest.mark.parametrize("phase", PHASES, ids=lambda phase: phase.name)
def test_arrivals_come_in_order_at_the_rate_and_in_the_mix_asked_for(phase):
    table = timetable(phase, 1000.0, 10.0, np.random.default_rng(5))
    assert np.all(np.diff(table.due) >= 0.0)
    assert table.due[-1] <= table.seconds == 10.0
    assert len(table.due) == pytest.approx(10_000, rel=0.05)
    assert sum(phase.mix.values()) == pytest.approx(1.0)


def test_without_traces_arrivals_are_plainly_poisson(monkeypatch, tmp_path):
    monkeypatch.setenv("QC_TRACES", str(tmp_path / "none"))
    table = timetable(PHASES[0], 1000.0, 10.0, np.random.default_rng(5))
    assert len(table.due) == pytest.approx(10_000, rel=0.05)


def test_every_transaction_is_served_once_and_in_time():
    seen = []
    table = Timetable(5.0, np.linspace(0.0, 0.05, 50), [str(number) for number in range(50)])
    latency = serve(seen.append, table)
    assert sorted(seen, key=int) == table.statements
    assert np.all(np.isfinite(latency))


def test_what_is_not_begun_before_the_end_is_never_begun(monkeypatch):
    monkeypatch.setattr(pool_load, "CLIENTS", 1)
    released = threading.Event()
    timer = threading.Timer(1.0, released.set)
    timer.start()
    latency = serve(lambda _: released.wait(20), Timetable(0.2, np.array([0.0, 0.1]), ["0", "1"]))
    timer.join()
    assert 0.2 < latency[0] < np.inf
    assert latency[1] == np.inf


def test_failures_are_marked():
    def fails(statement):
        raise psycopg.OperationalError("gone")

    latency = serve(fails, Timetable(0.1, np.array([0.0, 0.01]), ["a", "b"]))
    assert np.all(np.isnan(latency))
