"""The experiment on a real queue, in small: the machinery, not the outcome."""

from __future__ import annotations

import pytest
from integration.host_network import children, host_network, require_namespaces
from validation.small import small_experiment

from quantum_control.bench.queue_course import DEFAULT as KERNEL_DEFAULT
from quantum_control.core.errors import SensorError
from quantum_control.validation.bed import RUN, Turn
from quantum_control.validation.beds.buffer import BufferBed
from quantum_control.validation.plan import committed, read_plan

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("kernel")]

SHORTER = {
    "candidates = [8000, 64000, 6]": "candidates = [8000, 64000, 2]",
    "calibration = 40": "calibration = 1",
    "learning = 12 ": "learning = 1 ",
    "seconds = 0.45": "seconds = 0.25",
}


@pytest.fixture(autouse=True)
def _nothing_left():
    require_namespaces()
    before, ours = host_network(), children()
    yield
    assert host_network() == before
    assert children() == ours


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


def test_networks_are_gone_after_a_failure(settings):
    def fail():
        with BufferBed(settings) as bed:
            bed.prepare({"best_fixed": 20_000}, ["default", "auto"])
            raise SensorError("the load has failed")

    with pytest.raises(SensorError):
        fail()
