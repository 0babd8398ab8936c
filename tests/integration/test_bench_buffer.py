"""The queue benchmark on its real network, in small."""

from __future__ import annotations

from shutil import which

import pytest
from click.testing import CliRunner
from integration.requirements import require

from quantum_control.bench.buffer import command

pytestmark = [
    pytest.mark.integration,
    pytest.mark.xdist_group("kernel"),
    pytest.mark.usefixtures("network_as_found"),
]


def test_a_benchmark_runs_goes_on_where_it_was_and_touches_nothing_of_the_host(tmp_path):
    require(which("iperf3"), "iperf3 is not installed; scripts/install-servers installs it")
    arguments = ["--out", str(tmp_path), "--pairs", "1", "--seconds", "2", "--distance", "0.002"]
    first = CliRunner().invoke(command, [*arguments, "--arm", "25000"], catch_exceptions=False)
    assert "fixed, 25000 (best at 10 Mbit/s, 100 Mbit/s)" in first.output
    stamp = (tmp_path / "0000 25000.npz").stat().st_mtime_ns
    arguments += ["--arm", "25000", "--arm", "coherent"]
    again = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert (tmp_path / "0000 25000.npz").stat().st_mtime_ns == stamp
    assert "steered, coherent" in again.output
    assert "% of one core" in again.output
