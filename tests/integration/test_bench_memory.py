"""The heap benchmark, an arm of each kind for a moment."""

from __future__ import annotations

import numpy as np
import pytest
from integration.local_jvm import WAY
from integration.requirements import require

from quantum_control.bench.allocator import Allocator, java, read_latencies
from quantum_control.bench.memory import run_arm
from quantum_control.bench.memory_arms import DEFAULT, RULE, fixed
from quantum_control.core.errors import ConfigError

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("kernel")]


@pytest.fixture(autouse=True)
def _java():
    require(java(), f"java is not installed; {WAY}")


@pytest.mark.parametrize("arm", [DEFAULT, fixed(288), RULE, "coherent"])
def test_an_arm_gives_figures_of_all_its_phases(arm):
    run = run_arm(arm, 0.5, 0.11, (1, 0))
    heap, cores, p99 = run.figures()
    assert heap > 60 * 2**20
    assert cores >= 0.0
    assert p99 > 0.0
    assert sorted(set(run.requests[:, 0])) == [0, 1, 2, 3]
    assert len(run.samples) > 2
    assert 0.0 <= run.paused() < 1.0
    assert (run.control_cpu > 0.0) == (arm in (RULE, "coherent"))


def test_the_same_seed_is_the_same_requests_in_the_same_order():
    first, second = run_arm(DEFAULT, 0.3, 0.11, (5, 1)), run_arm(fixed(972), 0.3, 0.11, (5, 1))
    assert first.phases == second.phases
    np.testing.assert_array_equal(first.requests[:, :2], second.requests[:, :2])


def test_a_program_that_fails_says_why(tmp_path):
    with pytest.raises(ConfigError, match=r"did not start: .*Xnonsense"):
        Allocator([(1.0, 1.0, 1.0)], options=["-Xnonsense"])
    with Allocator([(0.2, 10.0, 10.0), (0.2, 500.0, 10.0)], options=["-XX:+UseZGC", "-Xmx64m"]) as program:
        program.go()
        with pytest.raises(ConfigError, match="OutOfMemoryError"):
            program.wait()
    with pytest.raises(ConfigError, match="no latencies"):
        read_latencies(tmp_path / "none")
