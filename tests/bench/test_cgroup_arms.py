"""The peer in the benchmark of control groups, by figures of the published law."""

from __future__ import annotations

import pytest

from quantum_control.bench.cgroup_arms import Senpai
from quantum_control.sources.cgroups import MemoryGroup

MIB = 1 << 20


@pytest.fixture
def group(tmp_path):
    (tmp_path / "memory.current").write_text(str(200 * MIB))
    (tmp_path / "memory.high").write_text("max")
    (tmp_path / "memory.pressure").write_text("some avg10=0 avg60=0 avg300=0 total=0")
    return MemoryGroup(2, tmp_path, tmp_path / "memory.pressure")


def high(group):
    return int((group.folder / "memory.high").read_text())


def stalled(group, total):
    """Microseconds since the beginning."""
    group.pressure.write_text(f"some avg10=0 avg60=0 avg300=0 total={total}")


def test_a_quiet_group_loses_a_hundredth_every_six_intervals(group):
    senpai = Senpai(group)
    for _ in range(6):
        senpai.step()
        assert high(group) == 200 * MIB
    senpai.step()
    assert high(group) == pytest.approx(198 * MIB, rel=1e-6)
    for _ in range(5):
        senpai.step()
    assert high(group) == pytest.approx(198 * MIB, rel=1e-6)
    senpai.step()
    assert high(group) == pytest.approx(0.99 * 198 * MIB, rel=1e-6)


def test_it_grows_by_the_square_of_what_was_stalled_since_it_last_set_the_limit(group):
    senpai = Senpai(group)
    for total in (3000, 6000, 9000):
        stalled(group, total)
        senpai.step()
        assert high(group) == 200 * MIB
    stalled(group, 12_000)
    senpai.step()
    assert high(group) == pytest.approx(200 * MIB * (1.0 + (1.2 / 20.0) ** 2), rel=1e-6)
    stalled(group, 13_000)
    senpai.step()
    assert high(group) == pytest.approx(200 * MIB * (1.0 + (1.2 / 20.0) ** 2), rel=1e-6), (
        "counted from there on"
    )


def test_a_long_stall_doubles_it_at_the_most(group):
    senpai = Senpai(group)
    stalled(group, 3_000_000)
    senpai.step()
    assert high(group) == 400 * MIB


@pytest.mark.parametrize(("total", "taken"), [(500, 0.01), (2000, 0.01 * 0.25), (10_000, 0.01 * 0.01)])
def test_the_nearer_the_stalls_are_to_the_target_the_less_is_taken(group, total, taken):
    senpai = Senpai(group)
    stalled(group, total)
    for _ in range(7):
        senpai.step()
    assert high(group) == pytest.approx(200 * MIB * (1.0 - taken), rel=1e-6)


def test_what_was_found_is_put_back(group):
    senpai = Senpai(group)
    assert high(group) == 200 * MIB
    senpai.close()
    assert (group.folder / "memory.high").read_text() == "max"
