"""The experiment on a real queue, in small: the machinery, not the outcome."""

from __future__ import annotations

import pytest
from integration.host_network import network_left_as_found
from validation.small import small_experiment

from quantum_control.bench.pie import TARGET
from quantum_control.bench.queue_course import DEFAULT as KERNEL_DEFAULT
from quantum_control.core.errors import SensorError
from quantum_control.validation.bed import RUN, Turn
from quantum_control.validation.beds.buffer import BufferBed, carrying
from quantum_control.validation.plan import committed, read_plan

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("kernel")]

SHORTER = {
    "candidates = [8000, 64000, 6]": "candidates = [8000, 64000, 2]",
    "calibration = 40": "calibration = 1",
    "learning = 12 ": "learning = 1 ",
    "wash_in = 0.2 ": "wash_in = 0.1 ",
    "seconds = 0.45": "seconds = 0.2",
}


@pytest.fixture(autouse=True)
def _nothing_left():
    with network_left_as_found():
        yield


@pytest.fixture
def settings():
    return read_plan(committed()).of("buffer").bed


def test_a_small_experiment_runs_from_the_plan_to_the_report(tmp_path):
    found, calibration = small_experiment("buffer", SHORTER, tmp_path)
    for arm, means in found["means"].items():
        assert 0.0 < means["delay_p50"] <= means["delay_p95"], arm
        assert means["unused"] < 1.0
        assert 0.0 <= means["lost"] < 1.0
    assert found["means"]["default"]["limit"] == KERNEL_DEFAULT
    assert found["means"]["auto"]["limit"] < KERNEL_DEFAULT
    assert found["means"]["best fixed"]["limit"] == calibration["best_fixed"]
    assert 8000 <= calibration["best_fixed"] <= 64_000


def test_the_arm_that_is_told_the_rates_sets_the_product_and_all_arms_get_the_same_of_them(settings):
    turns = [Turn.of(1, RUN, pair, 1) for pair in range(8)]
    with BufferBed(settings) as bed:
        bed.prepare({"best_fixed": 20_000}, ["told"])
        course = bed._course(turns[0])
        limits = {limit for _, limit, _ in bed.run("told", turns[0]).course}
        assert limits == {12_500.0, 62_500.0}
        assert course == bed._course(turns[0])
        assert {bed._course(turn).rates for turn in turns} == {(20e6, 100e6), (100e6, 20e6)}


def test_what_is_steered_goes_on_with_its_limit_where_it_was(settings):
    with BufferBed(settings) as bed:
        bed.prepare({"best_fixed": 20_000}, ["coherent"])
        bed.run("coherent", Turn.of(1, RUN, 0, 1))
        block = bed.run("coherent", Turn.of(1, RUN, 1, 1))
        assert block.steps > 10
        # The kernel's own would be back if it had begun anew; drained, the link's rate has not changed.
        assert max(limit for _, limit, _ in block.course) < KERNEL_DEFAULT / 4
        assert block.control_cpu > 0.0


def test_the_peer_leaves_the_limit_and_drops_by_itself(settings):
    with BufferBed(settings) as bed:
        bed.prepare({"best_fixed": 20_000}, ["peer"])
        block = bed.run("peer", Turn.of(1, RUN, 0, 1))
        assert {limit for _, limit, _ in block.course} == {KERNEL_DEFAULT}
        assert block.steps > 10
        assert bed._arms["peer"]._steering._drop.dropped() > 0


def test_the_peer_aims_at_its_own_delay_or_at_that_of_what_is_steered(settings):
    with BufferBed(settings) as bed:
        bed.prepare({"best_fixed": 20_000}, ["peer", "peer, same target"])
        aims = {name: line._steering._law.target for name, line in bed._arms.items()}
        assert aims == {"peer": TARGET, "peer, same target": settings["target"]}
        assert bed.run("peer, same target", Turn.of(1, RUN, 0, 1)).steps > 10


@pytest.mark.parametrize(
    ("wanted", "limit", "within"),
    [
        pytest.param(0.75, 14_142, True, id="between two, by their ratio"),
        pytest.param(0.8, 20_000, True, id="the smallest of those that carry the same"),
        pytest.param(0.95, 80_000, True, id="as much as any"),
        pytest.param(0.97, 80_000, False, id="more than any"),
        pytest.param(0.5, 10_000, False, id="less than any"),
    ],
)
def test_the_best_fixed_limit_is_the_smallest_that_carries_so_much(wanted, limit, within):
    # Between the third and the fourth it falls: that is noise, and they are taken for the same.
    carried = [0.7, 0.8, 0.81, 0.79, 0.95, 0.95]
    limits = [10_000, 20_000, 40_000, 60_000, 80_000, 90_000]
    assert carrying(wanted, limits, carried) == (limit, within)


def test_networks_are_gone_after_a_failure(settings):
    def fail():
        with BufferBed(settings) as bed:
            bed.prepare({"best_fixed": 20_000}, ["default", "auto"])
            raise SensorError("the load has failed")

    with pytest.raises(SensorError):
        fail()
