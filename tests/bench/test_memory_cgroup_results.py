"""From raw data to the table of the control-group benchmark."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest
from click.testing import CliRunner

from quantum_control.bench import memory_cgroup
from quantum_control.bench.memory_cgroup import (
    ARMS,
    INTERVAL,
    SMALL,
    TOTAL,
    Run,
    command,
    table,
)
from quantum_control.core.errors import ConfigError

MIB = 1 << 20


def run(name="ours", small=100):
    """Six intervals; the jump back takes a fifth of one."""
    return Run(
        name,
        usage=[200 * MIB] * 2 + [small * MIB] * 2 + [200 * MIB] * 2,
        stalled=[0.0, 0.0, 0.001, 0.0, 0.2, 0.0],
        hot=[TOTAL] * 2 + [SMALL] * 2 + [TOTAL] * 2,
        slowest=[0.01, 0.01, 0.01, 0.01, 0.1, 0.01],
        control=0.001,
    )


def test_the_jump_is_told_apart_from_the_rest():
    figures = run().figures()
    assert figures["stalled"] == pytest.approx(0.201 / 6)
    assert figures["stalled_without_jump"] == pytest.approx(0.001 / 5)
    assert figures["long_stalls"] == 1.0


def test_what_the_process_waits_is_told_whatever_the_kernel_counts_as_a_stall():
    assert run().figures()["delayed"] == pytest.approx(0.09 / (6 * INTERVAL))


def test_memory_is_told_for_the_whole_and_for_the_small_working_set():
    figures = run().figures()
    assert figures["resident_small"] == 100 * MIB
    assert figures["resident"] == pytest.approx(1000 / 6 * MIB)


def test_the_table_compares_with_no_limit_in_the_same_pair(tmp_path):
    for pair in range(2):
        for name in ARMS:
            content = asdict(run(name, small=100 if name == "ours" else 200))
            (tmp_path / f"{pair:04d}-{name}.json").write_text(json.dumps(content))
    rows = table(tmp_path, 2).splitlines()
    assert "| ours | 167 | 16.7% (16.7% to 16.7%) | 50.0% (50.0% to 50.0%) |" in rows[-1]
    assert "| none | 200 | 0.0% (0.0% to 0.0%) |" in rows[2]


@pytest.mark.parametrize("wrong", [["--pairs", "0"], ["--seconds", "5"], ["--seconds", "nan"]])
def test_runs_that_are_too_few_or_too_short_are_refused(tmp_path, monkeypatch, wrong):
    monkeypatch.setattr(memory_cgroup, "run_together", lambda *_: None)
    told = CliRunner().invoke(command, ["--out", str(tmp_path), *wrong])
    assert isinstance(told.exception, ConfigError)


def test_data_of_other_settings_are_not_mixed_in(tmp_path, monkeypatch):
    monkeypatch.setattr(memory_cgroup, "run", lambda name, seconds: run(name))
    usual = ["--pairs", "1", "--out", str(tmp_path)]
    told = CliRunner().invoke(command, [*usual, "--seconds", "30"])
    assert told.exception is None
    assert "runs at the same time: 1." in told.output
    for other in ("--seconds=40", "--seed=2", "--jobs=2"):
        told = CliRunner().invoke(command, [*usual, "--seconds", "30", other])
        assert isinstance(told.exception, ConfigError)
        assert "give another folder" in str(told.exception)
    assert CliRunner().invoke(command, [*usual, "--seconds", "30"]).exception is None
