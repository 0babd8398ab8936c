"""A packaged experiment in small: the machinery, not the outcome."""

from __future__ import annotations

import json

from click.testing import CliRunner

from quantum_control.validation.command import command
from quantum_control.validation.plan import committed, read_plan

PAIRS = 20

SHORTER = {"pilot = 30": "pilot = 0", "warm_up = 10": "warm_up = 1"}


def small_experiment(resource, shorter, folder):
    """Run the packaged plan with some of its lines replaced.

    Returns what `--json` prints of it, and its calibration.
    """
    text = committed()
    start = text.index(f"[resources.{resource}]")
    common, own = text[:start], text[start:]
    for line, other in SHORTER.items():
        assert line in common
        common = common.replace(line, other)
    for line, other in shorter.items():
        assert line in own
        own = own.replace(line, other, 1)
    plan = folder / "small.toml"
    plan.write_text(common + own)
    given = [resource, "--pairs", str(PAIRS), "--out", str(folder / "out"), "--plan", str(plan), "--json"]
    found = json.loads(CliRunner().invoke(command, given, catch_exceptions=False).stdout)[0]
    assert found["pairs"] == PAIRS
    of = read_plan(text).of(resource)
    assert set(found["means"]) == {of.base, of.ours, *of.others}
    steered = found["control"]["auto"]
    assert steered["step_seconds"] > 0.0
    assert 5_000 < steered["memory_bytes"] < 5_000_000
    return found, json.loads((folder / "out" / resource / "calibration.json").read_text())
