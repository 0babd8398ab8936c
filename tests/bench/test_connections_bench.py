"""Arms of the connection-pool benchmark that are told the size."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("psycopg_pool", reason="pip install 'quantum-control[postgres]'")

from quantum_control.bench.connections import Calibration, run_arm
from quantum_control.bench.pool_arms import TOLD, Account, Arm
from quantum_control.bench.pool_load import PHASES
from quantum_control.core.errors import ActuatorError

CALIBRATION = Calibration(
    rates={phase.name: 20.0 for phase in PHASES},
    candidates={phase.name: [] for phase in PHASES},
    best={phase.name: 3 + index for index, phase in enumerate(PHASES)},
)


def run(arm, seed=5):
    return run_arm(arm, PHASES, CALIBRATION, 0.5, (seed, 0))


@pytest.mark.parametrize("late", [0.0, 0.1], ids=list(TOLD))
def test_it_is_told_the_best_size_of_every_phase_and_keeps_it(late):
    sizes = []
    runs = run(Arm(lambda _: None, 9, Account(), sizes.append, late))
    assert sizes == [CALIBRATION.best[run.phase] for run in runs]
    assert sizes == [run.size for run in runs]
    assert sorted(sizes) == [3, 4]


def test_arrivals_are_those_of_the_other_arms():
    told = run(Arm(lambda _: None, 9, Account(), lambda _: None))
    fixed = run(Arm(lambda _: None, 9, Account()))
    assert [run.size for run in fixed] == [9, 9]
    for one, other in zip(told, fixed, strict=True):
        assert one.phase == other.phase
        assert np.array_equal(one.due, other.due)


def test_a_size_that_was_not_taken_ends_the_run():
    def tell(size):
        raise ActuatorError(f"not {size}")

    with pytest.raises(ActuatorError, match="not"):
        run(Arm(lambda _: None, 9, Account(), tell))
