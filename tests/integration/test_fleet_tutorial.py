"""The tutorial on pods, followed word for word: a service, a real Prometheus, the scaler, a call by gRPC."""

import re
import shutil
import sys
from pathlib import Path

import pytest
from integration.prometheus_server import require_prometheus
from integration.requirements import require
from typed_blocks import Saved, Shell, loosely, steps

from quantum_control.bench.balancers import free_port
from quantum_control.bench.server_process import wait_until

pytest.importorskip("grpc")

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

PAGE = Path(__file__).parents[2] / "docs" / "tutorials" / "fleet.md"

PORTS = ("8000", "9090", "9465", "9466")
"""Of the page; others are put in their place, as somebody else may have them."""

INSTALLED = "pip install '.[kubernetes]'"

GOES_ON = ("python service.py", "prometheus ", "quantum-control keda ")

SECONDS = 60.0


@pytest.fixture
def shell(tmp_path):
    require_prometheus()
    require(shutil.which("curl"), "curl is not installed: apt-get install curl")
    require(
        (Path(sys.executable).parent / "quantum-control").exists(),
        "quantum-control is not beside this Python",
    )
    shell = Shell(tmp_path, {})
    yield shell
    shell.end()


def test_the_tutorial_works_as_it_is_written(shell):
    text = PAGE.read_text(encoding="utf-8")
    ports = {port: str(free_port()) for port in PORTS}
    for port, free in ports.items():
        assert port in text
        text = text.replace(port, free)
    begun, done = [], []
    for step in steps(text):
        if isinstance(step, Saved):
            (shell.folder / step.name).write_text(step.content, encoding="utf-8")
        elif step.command == INSTALLED:
            continue
        elif step.command.startswith(GOES_ON):
            where = (
                f" --port {ports['9465']} --metrics-port {ports['9466']}" if " keda " in step.command else ""
            )
            begun.append(shell.begin(step.command + where))
        else:
            pattern, last = loosely(step.output), [(-1, "")]

            def works(step=step, pattern=pattern, last=last):
                last[0] = shell.run(step.command, SECONDS)
                return last[0][0] == 0 and pattern.search(last[0][1]) is not None

            assert wait_until(works), (step.command, last, shell.told())
            done.append(last[0][1])
    assert len(begun) == 3
    assert all(each.poll() is None for each in begun), shell.told()
    pods = [int(each) for each in re.findall(r"pods wanted: (\d+)", done[0])]
    # Of 50 to 350 requests a second, 50 for a pod, with some room.
    assert len(pods) == 3
    assert all(1 <= each <= 12 for each in pods), pods
    codes = shell.end()
    assert next(code for command, code in codes.items() if " keda " in command) == 0
