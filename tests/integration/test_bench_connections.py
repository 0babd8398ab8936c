"""The connection-pool benchmark's arms before a real PostgreSQL and PgBouncer."""

from __future__ import annotations

import numpy as np
import psycopg
import pytest

pytest.importorskip("psycopg_pool", reason="pip install 'quantum-control[postgres]'")

from integration.pool_load import installed, postgres

from quantum_control.bench.connections import Calibration, run_arm
from quantum_control.bench.pool_arms import OURS, start
from quantum_control.bench.pool_load import PHASES, SCHEMA

pytestmark = pytest.mark.integration

NAMES = [phase.name for phase in PHASES]
CALIBRATION = Calibration(dict.fromkeys(NAMES, 50.0), {name: [] for name in NAMES}, dict.fromkeys(NAMES, 4))


@pytest.fixture(scope="module")
def server():
    with postgres(max_connections=104) as running:
        with psycopg.connect(running.dsn, autocommit=True) as admin:
            admin.execute(SCHEMA)
        yield running


@pytest.mark.parametrize(
    ("backend", "name"), [("psycopg_pool", "fixed 2"), ("psycopg_pool", OURS), ("pgbouncer", OURS)]
)
def test_an_arm_serves_every_phase_and_accounts_for_it(server, backend, name):
    if backend == "pgbouncer":
        installed("pgbouncer")
    with start(name, backend, server) as arm:
        runs = run_arm(arm, PHASES, CALIBRATION, 0.5, (1, 0))
    assert {run.phase for run in runs} == {phase.name for phase in PHASES}
    for run in runs:
        assert not np.any(np.isnan(run.latency))
        assert np.any(np.isfinite(run.latency))
        assert (run.control_cpu > 0.0) == (name == OURS)
